"""The record of what was ordered: by whom, when, from where, before and after. It only grows, and is bounded.

A file in the pooler's own folder, one JSON object a line, so that it is still there after a restart and can be read
without the pooler; when it is full it becomes the one before it, and the one before that goes. An order is never held
up or taken back because it cannot be written down: the log has it as well. Nothing here gives an order.
"""

import os
from collections import deque
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from pooler.clock import Clock

log = structlog.get_logger(__name__)

FILE_BYTES_MAX = 1 << 20
"""About four thousand orders; with the file before it, months of a busy administrator."""
KNOWN_MAX = 2000
"""How many can be asked for; the files may have more."""


@dataclass(frozen=True, slots=True)
class Change:
    """An order that was carried out. `facts`: which one of many, where there are many."""

    order: str
    backend: str
    before: str
    after: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who orders, and from where."""

    who: str
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A change on record. `at`: Unix time in seconds."""

    at: float
    actor: Actor
    change: Change


class Record:
    """`folder`: the pooler's own, which it has taken. `wall`: Unix time; it is read and written down, nothing more."""

    def __init__(self, folder: Path, wall: Clock) -> None:
        self._file = folder / "changes.jsonl"
        self._before = folder / "changes.1.jsonl"
        self._wall = wall
        self._entries: deque[Entry] = deque(maxlen=KNOWN_MAX)
        """The latest last."""
        for file in (self._before, self._file):
            self._read(file)

    def __repr__(self) -> str:
        return f"<record of {len(self._entries)} changes in {self._file}>"

    def note(self, actor: Actor, change: Change) -> None:
        """Puts a change on record, and into the log."""
        entry = Entry(self._wall(), actor, change)
        self._entries.append(entry)
        told = {"backend": change.backend} if change.backend else {}
        places = {"before": change.before, "after": change.after}
        log.info(
            "order carried out",
            order=change.order,
            who=actor.who,
            source=actor.source,
            **told,
            **places,
            **change.facts,
        )
        try:
            self._write(_line(entry))
        except OSError as error:
            log.warning("an order could not be put on record", file=str(self._file), reason=error.strerror)

    def latest(self, limit: int, backends: Set[str] = frozenset()) -> tuple[list[Entry], int]:
        """The latest changes first, of these backends or of all; and how many there are."""
        found = [entry for entry in reversed(self._entries) if not backends or entry.change.backend in backends]
        return found[:limit], len(found)

    def _write(self, line: bytes) -> None:
        if self._file.exists() and self._file.stat().st_size + len(line) > FILE_BYTES_MAX:
            self._file.replace(self._before)
        descriptor = os.open(self._file, os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # by an end in the midst of a line
            os.write(descriptor, b"\n" + line if torn else line)
        finally:
            os.close(descriptor)

    def _read(self, file: Path) -> None:
        try:
            lines = file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the record of orders cannot be read", file=str(file), reason=error.strerror)
            return
        damaged = 0
        for line in lines[-KNOWN_MAX:]:
            try:
                self._entries.append(_entry(orjson.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError):
                damaged += bool(line)
        if damaged:
            log.warning("the record of orders has lines that cannot be read", file=str(file), lines=damaged)


def _line(entry: Entry) -> bytes:
    """Flat, for whoever reads the file with nothing but a text editor."""
    return orjson.dumps(
        {"at": entry.at, "who": entry.actor.who, "source": entry.actor.source, **asdict(entry.change)},
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _entry(line: Mapping[str, Any]) -> Entry:
    order, backend, before, after = (str(line[key]) for key in ("order", "backend", "before", "after"))
    facts = {str(name): str(text) for name, text in line["facts"].items()}
    change = Change(order, backend, before, after, facts)
    return Entry(float(line["at"]), Actor(str(line["who"]), str(line["source"])), change)
