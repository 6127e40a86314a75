"""`penstock check`: every fault of a configuration with its place, the frontend's section included. Starts nothing."""

import sys
from pathlib import Path

import orjson

from pooler.config import Config, ConfigError
from pooler.config.document import Document
from pooler.config.load import build
from pooler.config.schema import file_schema
from pooler.config.show import shown
from pooler.ctl import frontend
from pooler.ctl.exits import Exit, fail


def check(file: Path, *, show: bool) -> None:
    """Says that a configuration is sound, or ends with all of its faults."""
    try:
        config, document, judged = judge(file)
    except ConfigError as error:
        fail(f"{error}\n{file}: {_counted(len(error.faults), 'fault')}", Exit.FAILED)
    if show:
        import yaml

        sys.stdout.write(yaml.safe_dump(shown(config, document), sort_keys=False, allow_unicode=True))
        return
    parts = [
        _counted(len(config.backends), "backend"),
        _counted(len(config.operations), "operation"),
        _counted(len(config.prompts), "prompt"),
    ]
    print(f"{file} is sound: {', '.join(parts)}")
    if not judged:
        print("its frontend section was not checked: the extra `frontend` is not installed here", file=sys.stderr)


def print_schema() -> None:
    """Prints the JSON Schema of the whole file."""
    sys.stdout.write(orjson.dumps(file_schema(frontend.schema()), option=orjson.OPT_INDENT_2).decode() + "\n")


def judge(file: Path) -> tuple[Config, Document, bool]:
    """A configuration, its document, and whether the frontend could judge its own section.

    Raises ConfigError with the faults of both programs.
    """
    document = Document(file)
    config = build(document)
    found = _frontend_faults(document)
    for fault in found or []:
        document.fault(("frontend", *fault.location), fault.message)
    if config is None or document.faults:
        raise ConfigError(document.faults)
    return config, document, found is not None


def _frontend_faults(document: Document) -> list[frontend.FrontendFault] | None:
    """What the frontend says about its section, unless that is faulty already and it would only repeat it."""
    section = document.data.get("frontend") or {}
    if not isinstance(section, dict) or any(fault.path[:1] == ("frontend",) for fault in document.faults):
        return []
    return frontend.faults(section)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
