"""Pages of tables, as the JSON that callers see: `{"columns", "rows", "row_count", "truncated", "next_cursor"}`.

A page holds at most `rows_max` rows and `bytes_max` bytes of JSON, the whole object counted. Rows are written as they
come in, so that a page never costs more memory than it may hold, plus the batch that went over. A `Page` is the first
one of a result, and cut where it is full; a `Cutter` makes every page of one. This file fetches nothing: whoever does
asks `Page.wanted` how many rows to fetch next, and stops at 0.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pooler.backends import values
from pooler.backends.base import BackendError, Failure, FailureKind

BATCH_ROWS = 100
"""Rows to fetch at once: enough that fetching costs little per row, few enough that wide rows do not pile up."""

TRUNCATED = b',"truncated":true'
"""Ends a page behind which rows are missing that nobody can fetch."""

_FRAME = len(b'{"columns":,"rows":[],"row_count":1000000000}' + TRUNCATED)
"""What a page takes beside its columns, its rows and a cursor, at most."""


class Sheet:
    """The rows of one page, as far as they fit. A row's bytes count with the comma behind it."""

    __slots__ = ("_free", "_parts", "_rows_max", "count")

    def __init__(self, rows_max: int, free: int) -> None:
        self.count = 0
        self._parts: list[bytes] = []
        self._rows_max = rows_max
        self._free = free

    @property
    def places(self) -> int:
        """How many rows there is room for, if they are short enough."""
        return self._rows_max - self.count

    def put(self, written: bytes, count: int) -> bool:
        """Takes so many rows, written with commas between them, or none of them: whether they fit."""
        if count > self.places or len(written) + 1 > self._free:
            return False
        self._parts.append(written)
        self.count += count
        self._free -= len(written) + 1
        return True

    def rows(self) -> bytes:
        """All of them, with commas between them."""
        return b",".join(self._parts)

    def __repr__(self) -> str:
        return f"Sheet({self.count} of {self._rows_max} rows, {self._free} bytes free)"


class Cut(NamedTuple):
    """One page's rows: written with commas between them, and how many they are."""

    rows: bytes
    row_count: int


class Cutter:
    """Cuts a result into pages. A page is done when there is a row behind it, and not before."""

    __slots__ = ("_free", "_limit", "_rows_max", "_sheet", "columns")

    def __init__(self, columns: Sequence[str], rows_max: int, bytes_max: int, reserve: int = 0) -> None:
        """`reserve`: what is kept free on each page for a cursor.

        Raises BackendError (TOO_LARGE) when the names of the columns alone fill a page.
        """
        self.columns = values.encode(list(columns))
        """The names of the columns, written."""
        self._rows_max = rows_max
        self._limit = bytes_max
        self._free = _free(self.columns, len(columns), bytes_max, reserve)
        self._sheet = Sheet(rows_max, self._free)

    def __repr__(self) -> str:
        return f"Cutter({self._sheet!r})"

    @property
    def full(self) -> bool:
        """Whether the page that is being made takes no further row, however short."""
        return not self._sheet.places

    def add(self, rows: Sequence[Any]) -> Iterator[Cut]:
        """Takes the next rows; yields the pages that are done by now. To be iterated to the end.

        Raises BackendError (TOO_LARGE) at a row that fits no page: the end of the result, behind the pages before it.
        """
        start = 0
        while start < len(rows):
            if not self._sheet.places:
                yield self._turn()
            batch = rows[start : start + self._sheet.places]
            if not self._sheet.put(values.encode(batch)[1:-1], len(batch)):
                yield from self._add_one_by_one(rows[start:])
                return
            start += len(batch)

    def rest(self) -> Cut:
        """The rows on the last page; there are none only where the whole result has none."""
        return self._turn()

    def _add_one_by_one(self, rows: Sequence[Any]) -> Iterator[Cut]:
        """For batches that go over a page: each row is written once more, however many pages they fill."""
        for row in rows:
            written = values.encode(row)
            if self._sheet.put(written, 1):
                continue
            if self._sheet.count:
                yield self._turn()
            if not self._sheet.put(written, 1):
                raise _too_large(f"a row takes {len(written)} bytes", self._limit)

    def _turn(self) -> Cut:
        full, self._sheet = self._sheet, Sheet(self._rows_max, self._free)
        return Cut(full.rows(), full.count)


class Page:
    """Collects rows until the page is full."""

    __slots__ = ("_columns", "_limit", "_sheet", "_strict", "truncated")

    def __init__(self, columns: Sequence[str], rows_max: int, bytes_max: int, strict: bool = True) -> None:
        """Raises BackendError (TOO_LARGE) when the names of the columns alone fill the page.

        `strict=False` is for what a write gives back: it has happened, so a row that does not fit is no failure but is
        left out, and the page says that it was cut.
        """
        self._columns = values.encode(list(columns))
        self._limit = bytes_max
        self._strict = strict
        self._sheet = Sheet(rows_max, _free(self._columns, len(columns), bytes_max))
        self.truncated = False

    def __repr__(self) -> str:
        return f"Page({self._sheet!r}, truncated={self.truncated})"

    @property
    def wanted(self) -> int:
        """How many rows to fetch next; the last one only tells that there are more. 0: the page is complete."""
        return 0 if self.truncated else min(self._sheet.places + 1, BATCH_ROWS)

    def add(self, rows: Sequence[Any]) -> None:
        """Takes the next rows. Raises BackendError (TOO_LARGE) when the very first one does not fit a strict page."""
        fitting = rows[: self._sheet.places]
        if len(fitting) < len(rows):
            self.truncated = True
        if fitting and not self._sheet.put(values.encode(fitting)[1:-1], len(fitting)):
            self._add_one_by_one(fitting)

    def _add_one_by_one(self, rows: Sequence[Any]) -> None:
        """Only for the batch in which the page gets full."""
        self.truncated = True
        for row in rows:
            written = values.encode(row)
            if not self._sheet.put(written, 1):
                if self._sheet.count == 0 and self._strict:
                    raise _too_large(f"the first row takes {len(written)} bytes", self._limit)
                return

    def body(self) -> bytes:
        """The answer."""
        end = TRUNCATED if self.truncated else b""
        return page_body(self._columns, Cut(self._sheet.rows(), self._sheet.count), end)


def page_body(columns: bytes, cut: Cut, end: bytes = b"") -> bytes:
    """A page of written rows. `end`: TRUNCATED, or `next_cursor`, or nothing."""
    return b'{"columns":%b,"rows":[%b],"row_count":%d%b}' % (columns, cut.rows, cut.row_count, end)


def next_cursor(handle: str) -> bytes:
    """The end of a page behind which there is another one. `handle`: visible ASCII, without quotes."""
    return b',"next_cursor":"%b"' % handle.encode("ascii")


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


def _free(columns: bytes, count: int, bytes_max: int, reserve: int = 0) -> int:
    """What is left of a page for its rows, beside the names of so many columns."""
    free = bytes_max - _FRAME - len(columns) - reserve
    if free < 0:
        raise _too_large(f"the names of {count} columns take {len(columns)} bytes", bytes_max)
    return free


def _too_large(what: str, limit: int) -> BackendError:
    advice = "select fewer columns, or raise the operation's `page_bytes`"
    return BackendError(Failure(FailureKind.TOO_LARGE, f"{what}, but a page holds {limit}: {advice}"))
