"""PostgreSQL, counted by its own pg_stat_activity."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from pooler.backends.base import Adapter, Connection, Operation
from pooler.backends.postgres.adapter import build
from pooler.backends.postgres.connection import Connection as PostgresConnection
from pooler.backends.postgres.settings import Settings
from tests.contract.subject import PAGE_BYTES, PAGE_ROWS, Subject
from tests.servers.postgres import ROLE_LIMIT, PostgresServer
from tests.servers.server import free_port

SECRET = "hunter2-of-postgres"

STATEMENTS = {
    "echo": "SELECT :value AS value",
    "rows": "SELECT n, 'row ' || n AS label FROM generate_series(1, :count) AS n",
    "rows_until": "SELECT n, 1000 / (:fail_at - n) AS part FROM generate_series(1, :count) AS n",
    "rows_too_long": (
        "SELECT n, repeat('x', CASE WHEN n = :long_at THEN 100000 ELSE 3 END) FROM generate_series(1, :count) AS n"
    ),
    "put": "INSERT INTO notes VALUES (:value)",
    "count": "SELECT count(*) FROM notes WHERE note = :value",
    "slow": "SELECT pg_sleep(:seconds)",
    "wrong": "SELECT * FROM nowhere",
    "write": "INSERT INTO notes VALUES ('written')",
    "leave_trace": "SELECT set_config('penstock.trace', :value, false)",
    "see_trace": "SELECT nullif(current_setting('penstock.trace', true), '') AS value",
}


class PostgresSubject(Subject):
    """One server for all tests, so each counts from nothing and leaves nothing."""

    secret = SECRET
    listens = True

    def __init__(self, server: PostgresServer) -> None:
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
        assert isinstance(connection, PostgresConnection)
        assert self.server.ask("SELECT pg_terminate_backend(%s, 10000)::int", connection.link.info.backend_pid) == 1

    async def say(self, channel: str, payload: str) -> None:
        self.server.ask("SELECT 1 FROM pg_notify(%s, %s)", channel, payload)

    def unreachable(self) -> Adapter[Any, Any]:
        url = f"postgresql://legacy:{SECRET}@127.0.0.1:{free_port()}/legacy"
        return build(Settings.model_validate({"url": url}))

    def limited(self) -> tuple[Adapter[Any, Any], int]:
        return build(Settings.model_validate({"url": self.server.url_of("limited")})), ROLE_LIMIT


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.run_as_owner("CREATE TABLE IF NOT EXISTS notes (note text)")
    yield PostgresSubject(server)
