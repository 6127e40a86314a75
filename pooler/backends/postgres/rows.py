"""What becomes of the rows of one query: a page that is cut where it is full, or pieces for a window.

A piece is what may be converted in one go: the loop has nothing else to do meanwhile. A batch of ordinary rows is one
piece, one of long rows several. Nothing here asks the server anything.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from psycopg.abc import Transformer as Reader
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult

from pooler.backends import values
from pooler.backends.base import Window
from pooler.backends.postgres.loaders import LOADERS
from pooler.backends.streams import PIECE_BYTES
from pooler.backends.tables import BATCH_ROWS, Page


class Rows(ABC):
    """Takes results, and has the answer's body in the end. What `take` raises, the exchange keeps for later."""

    __slots__ = ("_reader", "batch_rows", "full", "opened")

    def __init__(self, batch_rows: int) -> None:
        self.batch_rows = batch_rows
        """How many rows the server's answer is to be cut into."""
        self.opened = False
        """Whether the statement has answered with a table at all."""
        self.full = False
        """Whether no more rows can be taken. A window says that by itself, when it is asked."""
        self._reader: Reader = Transformer(LOADERS)

    def take(self, result: PGresult) -> bool:
        """Takes a batch, or its first piece. True: ask the window, and then for `take_next`."""
        if not self.opened:
            self._open([(result.fname(index) or b"").decode() for index in range(result.nfields)])
            self.opened = True
        if not result.ntuples:
            return False
        self._reader.set_pgresult(result)
        return self._take(result)

    def take_next(self) -> bool:
        """Takes the next piece of the same batch, if there is one; the answer means the same."""
        return False

    @abstractmethod
    def body(self, more: bool) -> bytes:
        """The answer, when all that will come has been taken."""

    @abstractmethod
    def _open(self, columns: list[str]) -> None: ...

    @abstractmethod
    def _take(self, result: PGresult) -> bool: ...


class PageRows(Rows):
    """One page; the rows behind it are dropped. A write's row that does not fit is left out, and is no failure."""

    __slots__ = ("_bounds", "_page", "_strict")

    def __init__(self, page_rows: int, page_bytes: int, strict: bool) -> None:
        super().__init__(BATCH_ROWS)
        self._bounds = (page_rows, page_bytes)
        self._strict = strict
        self._page: Page

    def _open(self, columns: list[str]) -> None:
        self._page = Page(columns, *self._bounds, strict=self._strict)

    def _take(self, result: PGresult) -> bool:
        self._page.add(self._reader.load_rows(0, result.ntuples, tuple))
        self.full = self._page.wanted == 0
        return False

    def body(self, more: bool) -> bytes:
        return self._page.body()


class Form:
    """How the rows of one prepared statement are read and written: the same for each of its results."""

    __slots__ = ("_front", "_reader")

    def __init__(self, result: PGresult) -> None:
        names = [(result.fname(index) or b"").decode() for index in range(result.nfields)]
        self._front = b'{"columns":%b,"rows":' % values.encode(names)
        self._reader: Reader = Transformer(LOADERS)
        self._reader.set_pgresult(result)

    def page(self, result: PGresult) -> bytes:
        """A result of any number of rows as one page."""
        count = result.ntuples
        self._reader.set_pgresult(result, set_loaders=False)
        rows = self._reader.load_rows(0, count, tuple)
        return b'%b%b,"row_count":%d}' % (self._front, values.encode(rows), count)


class WindowRows(Rows):
    """All rows, piece by piece."""

    __slots__ = ("_pieces", "_window")

    def __init__(self, window: Window) -> None:
        super().__init__(window.batch_rows)
        self._window = window
        self._pieces: Iterator[tuple[int, int]] = iter(())

    def _open(self, columns: list[str]) -> None:
        self._window.open(columns)

    def _take(self, result: PGresult) -> bool:
        self._pieces = _pieces(result)
        return self.take_next()

    def take_next(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._window.add(self._reader.load_rows(*piece, tuple))
        return True

    def body(self, more: bool) -> bytes:
        return self._window.close(more)


def _pieces(result: PGresult) -> Iterator[tuple[int, int]]:
    """From which row to which; judged by the longest of three rows, which is quicker than to measure them all."""
    count, cells = result.ntuples, range(result.nfields)
    longest = max(sum(len(result.get_value(row, cell) or b"") for cell in cells) for row in (0, count // 2, count - 1))
    step = max(1, min(count, PIECE_BYTES // max(1, longest)))
    return ((start, min(start + step, count)) for start in range(0, count, step))
