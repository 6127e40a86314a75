"""SQLite through SQLAlchemy, counted by the open descriptors of its file and by the locks that others meet."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pooler.backends.base import Adapter, Connection, Operation
from pooler.backends.sqlalchemy.adapter import build
from pooler.backends.sqlalchemy.connection import Connection as SqlConnection
from pooler.backends.sqlalchemy.settings import Settings
from tests.contract.subject import PAGE_BYTES, PAGE_ROWS, Subject

ROWS_A_SECOND = 5_000_000
"""More than SQLite counts in a second, so that `slow` lasts at least as long as it is asked to."""

COUNTING = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :count)"

STATEMENTS = {
    "echo": "SELECT :value AS value",
    "rows": f"{COUNTING} SELECT n, -n FROM c WHERE n <= :count",
    "rows_until": f"{COUNTING} SELECT n, abs(CASE WHEN n = :fail_at THEN -9223372036854775807 - 1 ELSE n END) FROM c",
    "rows_too_long": f"{COUNTING} SELECT n, hex(zeroblob(CASE WHEN n = :long_at THEN 50000 ELSE 3 END)) FROM c",
    "put": "INSERT INTO notes (note) VALUES (:value)",
    "count": "SELECT count(*) FROM notes WHERE note = :value",
    "slow": (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c "
        f"WHERE n < :seconds * {ROWS_A_SECOND} AND EXISTS (SELECT 1 FROM notes WHERE rowid = 1)) SELECT count(*) FROM c"
    ),
    "wrong": "SELECT * FROM nowhere",
    "write": "INSERT INTO notes (note) VALUES ('written')",
    "leave_trace": "INSERT INTO notes (note) VALUES (:value)",
    "see_trace": "SELECT (SELECT note FROM notes WHERE rowid = last_insert_rowid()) AS value",
}


class SqliteSubject(Subject):
    """One file of its own."""

    dies_at_work = False

    def __init__(self, file: Path) -> None:
        self.file = file
        self.adapter = build(Settings.model_validate({"url": f"sqlite:///{file}"}))

    def operations(self) -> Sequence[Operation]:
        return [
            Operation(
                name,
                "write" if name in ("write", "put", "leave_trace") else "read",
                statement=statement,
                page_rows=PAGE_ROWS,
                page_bytes=PAGE_BYTES,
            )
            for name, statement in STATEMENTS.items()
        ]

    async def connections(self) -> int:
        count = 0
        for descriptor in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/self/fd/{descriptor}") == str(self.file)
        return count

    async def busy(self) -> int:
        """One when somebody reads: SQLite then gives nobody the whole file. The observer's own hold ends with it."""
        with contextlib.closing(sqlite3.connect(self.file, timeout=0, isolation_level=None)) as observer:
            try:
                observer.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return 1
            observer.execute("ROLLBACK")
        return 0

    async def kill(self, connection: Connection) -> None:
        """SQLite has no other side that could die: the handle is closed under the adapter."""
        assert isinstance(connection, SqlConnection)
        await connection.thread.submit(connection.driver.close)

    def unreachable(self) -> Adapter[Any, Any]:
        return build(Settings.model_validate({"url": f"sqlite:///{self.file}.mistyped"}))


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "notes.db"
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE notes (note TEXT)")
            connection.execute("INSERT INTO notes VALUES ('the first')")
            connection.commit()
        yield SqliteSubject(file)
