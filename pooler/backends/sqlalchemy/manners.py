"""What differs between databases once SQLAlchemy has done its part: how to read without writing, stop, reset, confirm.

`Manners` is for a dialect that nobody has proven here, and takes no chances: a read runs in an ordinary transaction
that is rolled back, a connection that was interrupted or that may hold traces is dropped, and a death is not confirmed
but waited for (`reap_seconds`). A database with better manners has a subclass: `sqlite.py`, `mysql.py`.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import URL

from pooler.backends.base import FailureKind, Notes, Tag, Traits, Transaction
from pooler.backends.sqlalchemy.connection import Connection

CONNECT_SECONDS = 10
"""How long a driver may take for its TCP connection, where it can be told."""


class Doors(Protocol):
    """How manners come to another connection, or to a new one in the same thread."""

    async def reopen(self, connection: Connection) -> None: ...

    def side(self, tag: Tag) -> AbstractAsyncContextManager[Connection]: ...


class Manners:
    """An unproven dialect. Methods without `async` run in the connection's thread."""

    traits = Traits(io="thread", affinity="thread", cancel="kill", reset="none", tx="local", fate="shared")

    def url(self, url: URL) -> URL:
        """The URL that SQLAlchemy gets."""
        return url

    def look(self, url: URL) -> None:
        """Looks at what must be there before a connection is tried. Raises BackendError."""

    def arguments(self, named: Mapping[str, Any], tag: Tag) -> dict[str, Any]:
        """What the driver's connect() is told besides what the URL says in `named`."""
        return {}

    def opened(self, connection: Connection) -> None:
        """Learns what must be known of a new connection."""

    def expect_alive(self, connection: Connection) -> None:
        """Raises BackendError (DEAD, not started) when the connection is known to have ended since its last use."""

    def prepare(self, connection: Connection, read: bool, rows_max: int, seconds: float) -> None:
        """Before a statement: how many rows will be looked at (0: all), and the bound on blocking reads."""
        self.expect_alive(connection)

    def begin_read(self, connection: Connection) -> None:
        """Before a read that is a transaction of its own."""

    def begin(self, connection: Connection) -> None:
        """Opens a session's transaction; a driver by the book has one open with its first statement."""

    def transaction(self, connection: Connection) -> Transaction:
        """Where a session's transaction stands after a statement that did not fail."""
        return "open"

    def transaction_after_failure(self, connection: Connection) -> Transaction:
        """The same after one that failed or was stopped. By default only its end is possible."""
        return "failed"

    def reset(self, connection: Connection) -> bool:
        """Removes what the last user left. False: nobody knows how."""
        return False

    async def renew(self, connection: Connection, doors: Doors) -> bool:
        """The same as `reset`, seen from the loop."""
        return await connection.thread.submit(lambda: self.reset(connection))

    async def stop(self, connection: Connection, doors: Doors) -> bool:
        """Stops the statement that runs in the thread, until the thread is idle. False: nobody knows how."""
        return False

    async def leave(self, connection: Connection, doors: Doors) -> bool:
        """Has the database bring no more rows of a result, while the thread is idle. False: nobody knows how.

        A driver by the book does that when its cursor is closed.
        """
        return True

    def forget(self, result: sqlalchemy.CursorResult[Any]) -> None:
        """Lets go of a result whose connection is about to be closed."""
        result.close()

    def settle(self, connection: Connection) -> None:
        """After a stop: makes sure that nothing of it can reach the next statement."""

    async def kill(self, connection: Connection, doors: Doors) -> None:
        """Ends a connection whose thread is busy, as far as that is possible from outside."""

    async def gone(self, connection: Connection, doors: Doors) -> bool:
        """After the driver has closed: whether the server has let go too."""
        return False

    def census(self, side: Connection, left: Mapping[Tag, Notes]) -> dict[Tag, bool]:
        """Whether the server still has these connections of a dead pooler. Only where orphans are `listed`."""
        raise NotImplementedError

    def kind_of(self, error: BaseException) -> FailureKind | None:
        """What the driver's own exception means; None: nothing beyond what SQLAlchemy sees in it."""
        return None

    def words_of(self, error: BaseException) -> str:
        """The database's own words in the driver's exception."""
        return str(error)
