"""What is MariaDB's own about large results and sessions: who ends a transaction, and how a long result is stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pooler.backends.base import FailureKind, Tag
from pooler.backends.sqlalchemy.adapter import Adapter, build
from pooler.backends.sqlalchemy.settings import Settings
from tests.contract.sql import Session
from tests.contract.windows import Reader
from tests.servers.mariadb import MariadbServer

pytestmark = pytest.mark.anyio

ENDLESS = "SELECT seq FROM seq_1_to_10000000"


@asynccontextmanager
async def opened(adapter: Adapter, slot: int) -> AsyncIterator[Session]:
    connection = await adapter.open(Tag("contract", "parts", slot))
    try:
        yield Session(adapter, connection)
    finally:
        await adapter.close(connection, force=True)


@pytest.fixture
async def pair(mariadb_server: MariadbServer) -> AsyncIterator[tuple[Session, Session]]:
    mariadb_server.run_as_owner("CREATE OR REPLACE TABLE parts (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB")
    mariadb_server.run_as_owner("INSERT INTO parts VALUES (1, 0), (2, 0)")
    adapter: Adapter = build(Settings.model_validate({"url": mariadb_server.url}))
    async with opened(adapter, 1) as one, opened(adapter, 2) as other:
        yield one, other


async def begin(*sessions: Session) -> None:
    for session in sessions:
        await session.adapter.begin(session.connection)


@pytest.mark.promise(20)
async def test_a_deadlock_ends_the_transaction_of_its_victim_and_that_is_told(pair: tuple[Session, Session]) -> None:
    one, other = pair
    await begin(one, other)
    await one.part("UPDATE parts SET n = n + 1 WHERE id = 1", "write")
    await other.part("UPDATE parts SET n = n + 10 WHERE id = 2", "write")
    ends = [
        asyncio.ensure_future(one.part("UPDATE parts SET n = n + 1 WHERE id = 2", "write")),
        asyncio.ensure_future(other.part("UPDATE parts SET n = n + 10 WHERE id = 1", "write")),
    ]
    await asyncio.wait(ends, timeout=20)
    victim, survivor = (one, other) if ends[0].exception() else (other, one)
    error = ends[0].exception() or ends[1].exception()
    assert error is not None
    assert victim.adapter.classify(error).kind is FailureKind.BUSY_RETRY
    assert (victim.connection.transaction, survivor.connection.transaction) == ("none", "open")
    kind, _ = await victim.failed_part("UPDATE parts SET n = 100", "write")
    assert kind is FailureKind.USER_ERROR  # and not outside of any transaction
    await survivor.adapter.commit(survivor.connection)
    step = 1 if survivor is one else 10
    assert (await survivor.ask("SELECT n FROM parts ORDER BY id"))["rows"] == [[step], [step]]


@pytest.mark.promise(20)
async def test_a_statement_that_ends_a_transaction_by_itself_is_told(pair: tuple[Session, Session]) -> None:
    one, other = pair
    await begin(one)
    await one.part("UPDATE parts SET n = 7 WHERE id = 1", "write")
    await one.part("CREATE OR REPLACE TABLE others (id INT)", "write")
    assert one.connection.transaction == "none"
    assert await other.value("SELECT n FROM parts WHERE id = 1") == 7
    assert await one.failed_part("SELECT 1") == (FailureKind.USER_ERROR, "none")


@pytest.mark.promise(20)
async def test_a_lock_that_cannot_be_had_leaves_the_transaction_open(pair: tuple[Session, Session]) -> None:
    one, other = pair
    await begin(one, other)
    await one.part("UPDATE parts SET n = 7 WHERE id = 1", "write")
    await other.part("UPDATE parts SET n = 8 WHERE id = 2", "write")
    await other.part("SET innodb_lock_wait_timeout = 0", "write")
    assert await other.failed_part("UPDATE parts SET n = 9 WHERE id = 1", "write") == (FailureKind.BUSY_RETRY, "open")
    await other.adapter.commit(other.connection)
    assert await other.value("SELECT n FROM parts WHERE id = 2") == 8


@pytest.mark.promise(37)
async def test_a_long_result_that_is_left_is_stopped_in_the_server(
    pair: tuple[Session, Session], mariadb_server: MariadbServer
) -> None:
    one, other = pair
    reader = Reader(rows_max=10)
    await one.read(ENDLESS, reader)
    assert reader.more is True
    query = f"SELECT count(*) FROM information_schema.processlist WHERE info = '{ENDLESS}'"
    assert await other.value(query) == 0
    assert await one.value("SELECT 'mine'") == "mine"


async def test_a_result_that_ends_by_itself_needs_no_second_connection(
    pair: tuple[Session, Session], mariadb_server: MariadbServer
) -> None:
    one, _ = pair
    before = mariadb_server.ask(
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name = %s", "Connections"
    )
    reader = Reader(batch_rows=100)
    await one.read("SELECT seq FROM seq_1_to_1000", reader)
    assert (len(reader.rows), reader.more) == (1000, False)
    after = mariadb_server.ask(
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name = %s", "Connections"
    )
    assert int(after) - int(before) <= 1  # the observer's own


async def test_the_server_is_as_patient_with_a_slow_reader_as_the_call_is(pair: tuple[Session, Session]) -> None:
    one, _ = pair
    reader = Reader()
    await one.read("SELECT @@net_write_timeout, @@sql_select_limit > 1000000000", reader)
    assert reader.rows == [[45, 1]]  # the call's 30 s, and the margin
    assert await one.value("SELECT @@sql_select_limit") == 201
