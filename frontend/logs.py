"""What this process logs, and how: lines of an event and its facts on stderr, the libraries' own ones in the same form.

Standard output stays free: on stdio it carries the protocol. On the standard library alone: the import of a library for
structured logs would be a fifth of a cold start.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

Format = Literal["console", "json"]

_PLAIN = re.compile(r"[^\s\"'=\\]+")
"""Values that can be told from their neighbours without quotes."""


class Logger:
    """Logs under one name: an event in a few words, and facts by name."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **facts: Any) -> None:
        self._say(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._say(logging.WARNING, event, facts)

    def error(self, event: str, exc_info: BaseException | bool | None = None, **facts: Any) -> None:
        """`exc_info`: the exception whose stack belongs to it; True: the one that is being handled."""
        self._say(logging.ERROR, event, facts, exc_info)

    def exception(self, event: str, **facts: Any) -> None:
        """An error, with the stack of the exception that is being handled."""
        self.error(event, exc_info=True, **facts)

    def _say(self, level: int, event: str, facts: dict[str, Any], exc_info: BaseException | bool | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, exc_info=exc_info, extra={"facts": facts})


def configure(level: str, form: Format) -> None:
    """Sets up logging for the whole process; called once, before anything is logged."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else ConsoleLines())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    if level != "debug":
        # What it says at INFO is about its own insides.
        logging.getLogger("mcp").setLevel(logging.WARNING)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": _timestamp(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=repr).decode()


class ConsoleLines(logging.Formatter):
    """Lines for people; a stack stands below its own."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={_shown(value)}" for name, value in getattr(record, "facts", {}).items())
        said = f"{_timestamp(record)} [{record.levelname.lower():<9}] {record.getMessage()} [{record.name}]{facts}"
        return f"{said}\n{self.formatException(record.exc_info)}" if record.exc_info else said


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else repr(text)
