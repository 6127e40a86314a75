"""What a simulated system keeps for good, what a session's transaction has not kept yet, and a result that is read in
batches. Plain state; `system.py` says when anything of it happens."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pooler.backends.simulated.census import Session


class DoomedError(Exception):
    """What a request does kills its session."""


class Batch(NamedTuple):
    """Some rows of a result. The last one may be empty."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool


class Cursor:
    """The rest of a result."""

    def __init__(self, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
        self._columns = columns
        self._rows = rows

    def read(self, count: int) -> Batch:
        """The next rows. Raises what the making of a row raises."""
        rows = list(islice(self._rows, count))
        return Batch(self._columns, rows, more=len(rows) == count)


class Ledger:
    """Values that were put, in the order in which they were kept."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def put(self, session: "Session", value: Any) -> None:
        """Keeps a value at once, or when the session's transaction is committed."""
        (self.kept if session.transaction == "none" else session.pending).append(value)

    def count(self, session: "Session", value: Any) -> int:
        """How often the session sees a value."""
        return self.kept.count(value) + session.pending.count(value)

    def begin(self, session: "Session") -> None:
        """Opens a transaction."""
        session.transaction = "open"

    def end(self, session: "Session", keep: bool) -> None:
        """Ends a session's transaction, if there is one."""
        if keep:
            self.kept += session.pending
        session.pending.clear()
        session.transaction = "none"
