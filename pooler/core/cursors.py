"""Cursors: where a result goes on, as bytes to be sealed, and which of its pages can still be fetched.

There are two kinds. A `Spooled` one names a result that the pooler keeps, and a page of it. A `Keyed` one needs nothing
to be kept: it holds the keys of the last row, behind which the statement is run anew. Either carries a digest of its
call, so that nobody goes on with other arguments than he began with. Nothing here seals, waits or keeps rows.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FIRST_PAGE = 1
DIGEST_BYTES = 8
"""It tells a caller's own calls apart, and nobody gains by forging one: what is sealed cannot be chosen."""
BOOT_BYTES = 4
ARGUMENTS_BYTES_MAX = 128
"""A keyed cursor takes its call's arguments along up to here, for those who only have the cursor. Models read cursors,
and pay for each character of one."""

_SPOOLED, _KEYED = b"p", b"k"
_PLACE = struct.Struct(f">{BOOT_BYTES}sQI{DIGEST_BYTES}s")


class Spooled(NamedTuple):
    """A page of a result that is kept."""

    boot: bytes
    """Of the process that keeps it."""
    result: int
    page: int
    digest: bytes


class Keyed(NamedTuple):
    """The rows behind one row."""

    digest: bytes
    operation: str
    keys: Sequence[Any]
    """JSON, as the adapters' key codec writes them."""
    arguments: Mapping[str, Any] | None
    """None: they were too long to be taken along."""


Cursor = Spooled | Keyed


def encode(cursor: Cursor) -> bytes:
    """The cursor as it is sealed."""
    if isinstance(cursor, Spooled):
        return _SPOOLED + _PLACE.pack(*cursor)
    return _KEYED + cursor.digest + _json([cursor.operation, cursor.keys, cursor.arguments])


def decode(data: bytes) -> Cursor:
    """What `encode` wrote."""
    kind, rest = data[:1], data[1:]
    if kind == _SPOOLED:
        return Spooled(*_PLACE.unpack(rest))
    return Keyed(rest[:DIGEST_BYTES], *json.loads(rest[DIGEST_BYTES:]))


def digest(operation: str, arguments: Mapping[str, Any]) -> bytes:
    """The same for the same call, whatever order its arguments stand in."""
    return hashlib.blake2b(_json([operation, arguments]), digest_size=DIGEST_BYTES).digest()


def taken_along(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The arguments, where a cursor has room for them."""
    return arguments if len(_json(arguments)) <= ARGUMENTS_BYTES_MAX else None


@dataclass(slots=True)
class Progress:
    """Which pages of a result can be fetched: all from the one before the last that was asked for.

    Pages stand one behind the other in a log; a page that was fetched once says where the next one begins. The first
    one is never here: its caller has had it, and can call again.
    """

    asked: int = FIRST_PAGE
    """The furthest page that anybody has asked for."""
    _begin: dict[int, int] = field(default_factory=lambda: {FIRST_PAGE + 1: 0})

    def offset(self, page: int) -> int | None:
        """Where a page begins in the log; None when it is gone."""
        return self._begin.get(page)

    def ask(self, page: int) -> int:
        """Takes note that a page is asked for, one that `offset` knows. Returns the offset before which all is free."""
        self.asked = max(self.asked, page)
        for number in [number for number in self._begin if number < self.asked - 1]:
            del self._begin[number]
        return min(self._begin.values())

    def read(self, page: int, end: int) -> None:
        """A page was read, and ends here: the next one begins."""
        if page in self._begin:
            self._begin[page + 1] = end


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
