"""`python -m frontend`: the MCP frontend, configured by environment variables `PENSTOCK_FRONTEND_<KEY>`.

Exits with 1 when the settings are wrong, after naming every fault, and with 3 when the address cannot be had.
"""

import argparse
import sys

import orjson

from frontend.config import Settings, SettingsInvalid, load


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and runs what it asks for. Nothing heavy is imported before that is known."""
    parser = argparse.ArgumentParser(prog="python -m frontend", description="Penstock's MCP frontend.")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--stdio", action="store_true", help="speak MCP on standard input and output")
    parser.add_argument("--preload", action="store_true", help="import everything before the first request")
    modes.add_argument("--check", action="store_true", help="print the faults of the settings as JSON lines, and end")
    modes.add_argument("--schema", action="store_true", help="print the JSON Schema of the settings, and end")
    mode = parser.parse_args(arguments)
    if mode.schema:
        print(orjson.dumps(Settings.model_json_schema(), option=orjson.OPT_INDENT_2).decode())
        return 0
    try:
        settings = load()
    except SettingsInvalid as invalid:
        _print_faults(invalid, as_json=mode.check)
        return 1
    if not mode.check:
        _serve(settings.model_copy(update={"preload": True}) if mode.preload else settings, mode.stdio)
    return 0


def _print_faults(invalid: SettingsInvalid, as_json: bool) -> None:
    for fault in invalid.faults:
        if as_json:
            print(orjson.dumps({"loc": fault.loc, "message": fault.message}).decode())
        else:
            print(f"frontend: {'.'.join(map(str, fault.loc))}: {fault.message}", file=sys.stderr)


def _serve(settings: Settings, stdio: bool) -> None:
    # Not at the top: --check needs none of it.
    from frontend import logs, server

    logs.configure(settings.log_level, settings.log_format)
    if stdio:
        server.serve_stdio(settings)
    else:
        server.serve(settings)


if __name__ == "__main__":
    sys.exit(main())
