"""One page of a table, as the JSON that callers see: `{"columns", "rows", "row_count", "truncated"}`.

A page holds at most `rows_max` rows and `bytes_max` bytes of JSON, the whole object counted. Rows are written as they
come in, so that a page never costs more memory than it may hold, plus the batch that went over. This file fetches
nothing: a cursor asks `Page.wanted` how many rows to fetch next, and stops at 0.
"""

from collections.abc import Sequence
from typing import Any

from pooler.backends import values
from pooler.backends.base import BackendError, Failure, FailureKind

BATCH_ROWS = 100
"""Rows to fetch at once: enough that fetching costs little per row, few enough that wide rows do not pile up."""

_FRAME = len(b'{"columns":,"rows":[],"row_count":1000000000,"truncated":true}')
"""What an answer takes beside its columns and rows, at most."""


class Page:
    """Collects rows until the page is full."""

    __slots__ = ("_columns", "_free", "_limit", "_parts", "_rows", "_rows_max", "_strict", "truncated")

    def __init__(self, columns: Sequence[str], rows_max: int, bytes_max: int, strict: bool = True) -> None:
        """Raises BackendError (TOO_LARGE) when the names of the columns alone fill the page.

        `strict=False` is for what a write gives back: it has happened, so a row that does not fit is no failure but is
        left out, and the page says that it was cut.
        """
        self._columns = values.encode(list(columns))
        self._parts: list[bytes] = []
        self._rows = 0
        self._rows_max = rows_max
        self._limit = bytes_max
        self._strict = strict
        self._free = bytes_max - _FRAME - len(self._columns)
        self.truncated = False
        if self._free < 0:
            raise _too_large(f"the names of {len(columns)} columns take {len(self._columns)} bytes", bytes_max)

    def __repr__(self) -> str:
        return f"Page({self._rows} of {self._rows_max} rows, {self._free} bytes free, truncated={self.truncated})"

    @property
    def wanted(self) -> int:
        """How many rows to fetch next; the last one only tells that there are more. 0: the page is complete."""
        return 0 if self.truncated else min(self._rows_max + 1 - self._rows, BATCH_ROWS)

    def add(self, rows: Sequence[Any]) -> None:
        """Takes the next rows. Raises BackendError (TOO_LARGE) when the very first one does not fit a strict page."""
        fitting = rows[: self._rows_max - self._rows]
        if len(fitting) < len(rows):
            self.truncated = True
        if not fitting:
            return
        batch = values.encode(fitting)[1:-1]
        if len(batch) + 1 <= self._free:
            self._take(batch, len(fitting))
        else:
            self._add_one_by_one(fitting)

    def _add_one_by_one(self, rows: Sequence[Any]) -> None:
        """Only for the batch in which the page gets full."""
        self.truncated = True
        for row in rows:
            encoded = values.encode(row)
            if len(encoded) + 1 > self._free:
                if self._rows == 0 and self._strict:
                    raise _too_large(f"the first row takes {len(encoded)} bytes", self._limit)
                return
            self._take(encoded, 1)

    def _take(self, encoded: bytes, rows: int) -> None:
        self._parts.append(encoded)
        self._rows += rows
        self._free -= len(encoded) + 1

    def body(self) -> bytes:
        """The answer."""
        cut = b',"truncated":true}' if self.truncated else b"}"
        return b'{"columns":%b,"rows":[%b],"row_count":%d%b' % (
            self._columns,
            b",".join(self._parts),
            self._rows,
            cut,
        )


def table_answer(
    columns: Sequence[str], rows: Sequence[Any], rows_max: int, bytes_max: int, more: bool = False
) -> bytes:
    """A page of rows that are all at hand; `more` says that the backend has others."""
    page = Page(columns, rows_max, bytes_max)
    page.add(rows)
    page.truncated = page.truncated or more
    return page.body()


def affected_answer(count: int) -> bytes:
    """The answer of a write. A backend that does not count says so with a negative number, and is not believed."""
    return b'{"rows_affected":%d}' % max(count, 0)


def _too_large(what: str, limit: int) -> BackendError:
    advice = "select fewer columns, or raise the operation's `page_bytes`"
    return BackendError(Failure(FailureKind.TOO_LARGE, f"{what}, but a page holds {limit}: {advice}"))
