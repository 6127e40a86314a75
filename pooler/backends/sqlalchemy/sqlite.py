"""SQLite's manners, through Python's own sqlite3.

The file must exist: SQLite would make an empty one for a mistyped path. A read sets `query_only`. A statement is
stopped by `interrupt()`, repeated until the thread is idle, since one that comes between two steps is lost. A reset
opens the file anew, which takes 50 µs and leaves nothing of temporary tables, attached files, settings and row ids.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import URL

from pooler.backends.base import BackendError, Failure, FailureKind, Tag, Traits, Transaction
from pooler.backends.sqlalchemy.connection import Connection
from pooler.backends.sqlalchemy.manners import Doors, Manners

BUSY_SECONDS = 2.0
"""How long a statement waits for another's lock. It cannot be interrupted meanwhile, so a cancel must have longer."""

INTERRUPT_EVERY_SECONDS = 0.02
STOP_SECONDS = 5.0

_KINDS = {
    sqlite3.SQLITE_BUSY: FailureKind.BUSY_RETRY,
    sqlite3.SQLITE_LOCKED: FailureKind.BUSY_RETRY,
    sqlite3.SQLITE_INTERRUPT: FailureKind.CANCELLED,
    sqlite3.SQLITE_CANTOPEN: FailureKind.DEAD,
    sqlite3.SQLITE_CORRUPT: FailureKind.DEAD,
    sqlite3.SQLITE_IOERR: FailureKind.DEAD,
    sqlite3.SQLITE_NOTADB: FailureKind.DEAD,
}


class SqliteManners(Manners):
    """A file that several connections share, one writer at a time."""

    traits = Traits(
        io="thread", affinity="thread", cancel="native", reset="full", tx="local", fate="shared", orphans="none"
    )

    def url(self, url: URL) -> URL:
        """Asks SQLite not to make the file, unless the URL is one of SQLite's own and says what it wants."""
        if url.query.get("uri"):
            return url
        path = quote(str(Path(url.database or "").absolute()))
        return url.set(database=f"file:{path}", query={**url.query, "mode": "rw", "uri": "true"})

    def look(self, url: URL) -> None:
        path = Path(unquote((url.database or "").removeprefix("file:")))
        if url.query.get("mode") == "rw" and not path.exists():
            words = f"there is no database file {path.name!r}: create it, or correct `url`"
            raise BackendError(Failure(FailureKind.DEAD, words))

    def arguments(self, named: Mapping[str, Any], tag: Tag) -> dict[str, Any]:
        # interrupt() comes from the loop's thread, everything else from the connection's own.
        return {"timeout": named.get("timeout", BUSY_SECONDS), "check_same_thread": False}

    def opened(self, connection: Connection) -> None:
        connection.read_only = None
        # Old files hold text in other encodings; a letter lost is better than the whole answer.
        connection.driver.text_factory = _text

    def prepare(self, connection: Connection, read: bool, rows_max: int, seconds: float) -> None:
        if connection.read_only is not read or connection.dirty:
            connection.driver.execute(f"PRAGMA query_only = {'ON' if read else 'OFF'}")
            connection.read_only = read

    def begin(self, connection: Connection) -> None:
        connection.driver.execute("BEGIN")

    def transaction(self, connection: Connection) -> Transaction:
        return "open" if connection.driver.in_transaction else "none"

    def transaction_after_failure(self, connection: Connection) -> Transaction:
        return self.transaction(connection)  # an interrupted write, or a full disk, ends it

    async def renew(self, connection: Connection, doors: Doors) -> bool:
        await doors.reopen(connection)
        return True

    async def stop(self, connection: Connection, doors: Doors) -> bool:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while connection.thread.busy and connection.sql is not None:
                    connection.driver.interrupt()
                    await _idle_or_later(connection)
        except TimeoutError:
            return False
        return True

    async def kill(self, connection: Connection, doors: Doors) -> None:
        await self.stop(connection, doors)

    async def gone(self, connection: Connection, doors: Doors) -> bool:
        return True  # the driver has closed the file, and there is no other side

    def kind_of(self, error: BaseException) -> FailureKind | None:
        if isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error):
            return FailureKind.DEAD
        code = getattr(error, "sqlite_errorcode", None)
        return None if code is None else _KINDS.get(code & 0xFF)


async def _idle_or_later(connection: Connection) -> None:
    try:
        async with asyncio.timeout(INTERRUPT_EVERY_SECONDS):
            await connection.thread.idle()
    except TimeoutError:
        pass


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
