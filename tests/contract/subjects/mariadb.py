"""MariaDB through SQLAlchemy and PyMySQL, counted by its own process list."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from pooler.backends.base import Adapter, Connection, Operation
from pooler.backends.sqlalchemy.adapter import build
from pooler.backends.sqlalchemy.connection import Connection as SqlConnection
from pooler.backends.sqlalchemy.settings import Settings
from tests.contract.subject import PAGE_BYTES, PAGE_ROWS, Subject, eventually
from tests.servers.mariadb import PASSWORD, USER_LIMIT, MariadbServer
from tests.servers.server import free_port

STATEMENTS = {
    "echo": "SELECT :value AS value",
    "rows": "SELECT seq AS n, concat('row ', seq) AS label FROM seq_1_to_10000000 WHERE seq <= :count",
    "rows_until": (
        "SELECT seq AS n, (SELECT two.seq FROM seq_1_to_2 AS two WHERE many.seq >= :fail_at) AS part "
        "FROM seq_1_to_1000 AS many WHERE seq <= :count"
    ),
    "rows_too_long": (
        "SELECT seq AS n, repeat('x', IF(seq = :long_at, 100000, 3)) AS label FROM seq_1_to_1000 WHERE seq <= :count"
    ),
    "put": "INSERT INTO notes VALUES (:value)",
    "count": "SELECT count(*) FROM notes WHERE note = :value",
    "slow": "SELECT sleep(:seconds)",
    "wrong": "SELECT * FROM nowhere",
    "write": "INSERT INTO notes VALUES ('written')",
    "leave_trace": "SET @trace = :value",
    "see_trace": "SELECT @trace AS value",
}


class MariadbSubject(Subject):
    """One server for all tests, so each counts from nothing and leaves nothing."""

    secret = PASSWORD

    def __init__(self, server: MariadbServer) -> None:
        self.server = server
        self.adapter = build(Settings.model_validate({"url": server.url}))

    def operations(self) -> Sequence[Operation]:
        return [
            Operation(
                name,
                "write" if name in ("write", "put") else "read",
                statement=statement,
                page_rows=PAGE_ROWS,
                page_bytes=PAGE_BYTES,
            )
            for name, statement in STATEMENTS.items()
        ]

    async def connections(self) -> int:
        return self.server.connections()

    async def busy(self) -> int:
        return self.server.sleeping()

    async def kill(self, connection: Connection) -> None:
        assert isinstance(connection, SqlConnection)
        self.server.kill_connection(connection.server_id)
        await eventually(0, lambda: self._listed(connection.server_id), "the killed connection")

    async def _listed(self, server_id: int) -> int:
        return self.server.ask("SELECT count(*) FROM information_schema.processlist WHERE id = %s", server_id)

    def unreachable(self) -> Adapter[Any, Any]:
        url = f"mariadb+pymysql://legacy:{PASSWORD}@127.0.0.1:{free_port()}/legacy"
        return build(Settings.model_validate({"url": url}))

    def limited(self) -> tuple[Adapter[Any, Any], int]:
        return build(Settings.model_validate({"url": self.server.url_of("limited")})), USER_LIMIT


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    server: MariadbServer = request.getfixturevalue("mariadb_server")
    server.run_as_owner("CREATE TABLE IF NOT EXISTS notes (note text)")
    yield MariadbSubject(server)
