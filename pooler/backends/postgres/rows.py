"""What becomes of the rows of one query: a page that is cut where it is full, or pieces for a window.

A piece is what may be converted in one go: the loop has nothing else to do meanwhile. A batch of ordinary rows is one
piece, one of long rows several. Nothing here asks the server anything.
"""

from collections.abc import Iterator

from psycopg.abc import Transformer as Reader
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult

from pooler.backends.base import Window
from pooler.backends.postgres.loaders import LOADERS
from pooler.backends.streams import PIECE_BYTES
from pooler.backends.tables import BATCH_ROWS, Page


class Rows:
    """Takes results, and has the answer's body in the end. What `take` raises, the exchange keeps for later."""

    __slots__ = ("_bounds", "_opened", "_page", "_pieces", "_reader", "_strict", "_window")

    def __init__(self, window: Window | None, page_rows: int, page_bytes: int, strict: bool) -> None:
        self._window = window
        self._bounds = (page_rows, page_bytes)
        self._strict = strict
        self._opened = False
        self._page: Page | None = None
        self._pieces: Iterator[tuple[int, int]] = iter(())
        self._reader: Reader = Transformer(LOADERS)

    @property
    def opened(self) -> bool:
        """Whether the statement has answered with a table at all."""
        return self._opened

    @property
    def batch_rows(self) -> int:
        """How many rows the server's answer is to be cut into."""
        return BATCH_ROWS if self._window is None else self._window.batch_rows

    @property
    def full(self) -> bool:
        """Whether a page has all that it can hold. A window says so by itself, when it is asked."""
        return self._page is not None and self._page.wanted == 0

    def take(self, result: PGresult) -> bool:
        """Takes a batch: all of it for a page, its first piece for a window. True: a window has had a piece."""
        if not self._opened:
            self._open([(result.fname(index) or b"").decode() for index in range(result.nfields)])
        self._reader.set_pgresult(result)
        if self._window is None:
            assert self._page is not None
            self._page.add(self._reader.load_rows(0, result.ntuples, tuple))
            return False
        self._pieces = _pieces(result)
        return self.take_next()

    def take_next(self) -> bool:
        """Takes the next piece of the batch. False: there is none."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        assert self._window is not None
        self._window.add(self._reader.load_rows(*piece, tuple))
        return True

    def body(self, more: bool) -> bytes:
        """The answer, when all that will come has been taken."""
        if self._window is not None:
            return self._window.close(more)
        assert self._page is not None
        return self._page.body()

    def _open(self, columns: list[str]) -> None:
        if self._window is None:
            self._page = Page(columns, *self._bounds, strict=self._strict)
        else:
            self._window.open(columns)
        self._opened = True


def _pieces(result: PGresult) -> Iterator[tuple[int, int]]:
    """From which row to which; judged by the longest of three rows, which is quicker than to measure them all."""
    count = result.ntuples
    looked_at = {0, count // 2, count - 1} if count else set()
    longest = max(
        (sum(len(result.get_value(row, cell) or b"") for cell in range(result.nfields)) for row in looked_at), default=0
    )
    step = max(1, min(count, PIECE_BYTES // max(1, longest)))
    return ((start, min(start + step, count)) for start in range(0, count, step))
