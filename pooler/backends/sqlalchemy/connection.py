"""One connection of a blocking driver, which lives in a thread of its own. `doors.py` opens and closes it."""

from dataclasses import dataclass
from socket import socket
from typing import Any

import sqlalchemy

from pooler.backends import base
from pooler.runtime.threads import PinnedThread


@dataclass(slots=True, kw_only=True)
class Connection(base.Connection):
    """A thread, SQLAlchemy's connection in it, and what the dialect's manners remember of it."""

    thread: PinnedThread
    sql: sqlalchemy.Connection | None = None
    """Belongs to the thread; None before it is open and after it is closed."""
    duplicate: socket | None = None
    """Of the driver's socket, where its manners know how to find it."""
    server_id: int = 0
    """What the server calls this connection, where that is known."""
    read_only: bool | None = None
    """What the session was told last; None: nothing, or nobody knows."""
    limits: str = ""
    """The bounds on results that the session was told last; empty: none."""
    result: sqlalchemy.CursorResult[Any] | None = None
    """What is being fetched. Belongs to the thread; others may look whether there is one while the thread is idle."""
    severed: bool = False
    """The socket was cut on our side, so that its end says nothing about the server's."""

    @property
    def driver(self) -> Any:
        """The DB-API connection. Only for its own thread, or for what a driver allows from others."""
        assert self.sql is not None, "used before it was open"
        return self.sql.connection.dbapi_connection
