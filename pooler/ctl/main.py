"""The `penstock` command: its options and its help. Each command's work is in a module of its own.

A DBA's commands stand in `listing` and `ordering`.

Everything heavy is imported by the command that needs it: `penstock --help` must not cost a second.
"""

from pathlib import Path
from typing import Annotated

import typer

from pooler.ctl import listing, ordering
from pooler.ctl.loadtest import loadtest

app = typer.Typer(
    name="penstock",
    help="Many stateless MCP frontends, few connections to an old system behind them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", envvar="PENSTOCK_CONFIG", help="The configuration.")
]
PoolerAddress = Annotated[
    str,
    typer.Option("--pooler", metavar="ADDRESS", envvar="PENSTOCK_POOLER", help="Where it is: HOST:PORT or unix:PATH."),
]


app.command()(loadtest)


def main() -> None:
    """The console script."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def penstock(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Many stateless MCP frontends, few connections to an old system behind them."""


@app.command()
def up(config: ConfigFile = None) -> None:
    """Start pooler and frontend together; without a configuration, the embedded demo."""
    from pooler.ctl.up import up as run

    raise typer.Exit(run(config))


@app.command("pooler")
def pooler_command(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", envvar="PENSTOCK_CONFIG", help="The configuration.")
    ],
) -> None:
    """Start the pooler alone."""
    from pooler.ctl.programs import become_pooler

    become_pooler(config)


@app.command("frontend")
def frontend_command(
    config: ConfigFile = None,
    stdio: Annotated[bool, typer.Option("--stdio", help="Speak MCP on standard input and output.")] = False,
    preload: Annotated[bool, typer.Option("--preload", help="Import everything before the first request.")] = False,
) -> None:
    """Start a frontend alone; without a configuration, from PENSTOCK_FRONTEND_* variables and defaults."""
    from pooler.ctl.programs import become_frontend

    become_frontend(config, stdio=stdio, preload=preload)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", envvar="PENSTOCK_CONFIG")] = Path("penstock.yaml"),
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, for editors.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the whole configuration, secrets masked.")] = False,
) -> None:
    """Say everything that is wrong with a configuration, and start nothing."""
    from pooler.ctl import check as command

    command.print_schema() if schema else command.check(file, show=show)


@app.command()
def call(
    operation: Annotated[str, typer.Argument(help="The operation's name.")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Arguments; a value is JSON, or else a text.")
    ] = None,
    arguments: Annotated[str | None, typer.Option("--json", metavar="OBJECT", help="All arguments, as JSON.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, max=86_400, help="How long to wait.")] = 60.0,
    tenant: Annotated[str, typer.Option(help="Who pays.")] = "",
    principal: Annotated[str, typer.Option(help="Who asks.")] = "",
    pooler: PoolerAddress = "127.0.0.1:7433",
) -> None:
    """Run one operation, and say where the time went.

    Ends with 3 when it was refused, 4 when a later try may succeed, 5 when the time was up,
    6 when nobody knows whether a write happened, and 1 for anything else.
    """
    from pooler.ctl.call import call_operation

    call_operation(operation, values or [], arguments, timeout, tenant, principal, pooler)


for _commands in (listing.app, ordering.app):
    app.add_typer(_commands)
