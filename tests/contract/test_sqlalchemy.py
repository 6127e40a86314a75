"""What is the SQLAlchemy adapter's own: each dialect's manners, and the care for a dialect that has none."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from pooler.backends.base import BackendError, FailureKind, Operation, Tag, Verdict
from pooler.backends.sqlalchemy.adapter import Adapter, build
from pooler.backends.sqlalchemy.settings import Settings
from tests.contract.sql import Session
from tests.contract.subject import eventually
from tests.servers.mariadb import PASSWORD, MariadbServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

TAG = Tag("contract", "orders", 1)
THINGS = "CREATE OR REPLACE TABLE things (id INT PRIMARY KEY, name TEXT) ENGINE=InnoDB"


def adapter_of(url: str, **connect_args: Any) -> Adapter:
    return build(Settings.model_validate({"url": url, "connect_args": connect_args}))


@contextlib.asynccontextmanager
async def opened(adapter: Adapter, slot: int = 1) -> AsyncIterator[Session]:
    connection = await adapter.open(Tag("contract", "orders", slot))
    try:
        yield Session(adapter, connection)
    finally:
        await adapter.close(connection, force=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database file with one table."""
    path = tmp_path / "orders.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")
        connection.commit()
    return path


@pytest.fixture
async def lite(file: Path) -> AsyncIterator[Session]:
    async with opened(adapter_of(f"sqlite:///{file}")) as session:
        yield session


@pytest.fixture
async def maria(mariadb_server: MariadbServer) -> AsyncIterator[Session]:
    mariadb_server.run_as_owner(THINGS)
    async with opened(adapter_of(mariadb_server.url)) as session:
        yield session


# Both


@pytest.fixture(params=["sqlite", "mariadb"])
async def session(request: pytest.FixtureRequest, file: Path) -> AsyncIterator[Session]:
    """A connection of each, with an empty table."""
    url = f"sqlite:///{file}"
    if request.param == "mariadb":
        server: MariadbServer = request.getfixturevalue("mariadb_server")
        server.run_as_owner(THINGS)
        url = server.url
    async with opened(adapter_of(url)) as found:
        yield found


async def test_a_read_cannot_write(session: Session) -> None:
    kind, message = await session.failure("INSERT INTO things VALUES (1, 'a')")
    assert kind is FailureKind.USER_ERROR
    assert "read" in message.lower()
    assert await session.value("SELECT count(*) FROM things") == 0


async def test_a_read_that_lifts_its_own_ban_leaves_it_to_the_next_read(session: Session) -> None:
    lift = {"sqlite": "PRAGMA query_only = OFF", "mariadb": "SET SESSION TRANSACTION READ WRITE"}
    await session.ask(lift[session.connection.sql.dialect.name])
    assert session.connection.dirty
    assert (await session.failure("INSERT INTO things VALUES (1, 'a')"))[0] is FailureKind.USER_ERROR


async def test_a_write_is_counted_and_seen_by_the_next_read(session: Session) -> None:
    assert await session.write("INSERT INTO things VALUES (1, :a), (2, :b)", a="a", b=None) == {"rows_affected": 2}
    assert await session.write("UPDATE things SET name = 'same'") == {"rows_affected": 2}
    assert (await session.ask("SELECT * FROM things"))["rows"] == [[1, "same"], [2, "same"]]


async def test_a_write_that_gives_rows_back_answers_with_a_table(session: Session) -> None:
    answer = await session.write("INSERT INTO things VALUES (3, 'c') RETURNING id, name")
    assert answer["rows"] == [[3, "c"]]
    assert await session.value("SELECT count(*) FROM things") == 1


async def test_a_failed_write_changes_nothing_and_the_connection_serves_on(session: Session) -> None:
    await session.write("INSERT INTO things VALUES (1, 'a')")
    kind, message = await session.failure("INSERT INTO things VALUES (2, 'b'), (1, 'again')", effect="write")
    assert kind is FailureKind.USER_ERROR
    assert "INSERT" not in message
    assert await session.value("SELECT count(*) FROM things") == 1


async def test_percent_signs_are_no_places(session: Session) -> None:
    statement = "SELECT count(*) FROM things WHERE name LIKE 'a%' OR name LIKE '%(x)s'"
    assert await session.value(statement) == 0
    assert await session.value(f"{statement} OR name = :name", name="100%") == 0


async def test_lists_and_objects_reach_the_statement_as_json(session: Session) -> None:
    extract = "SELECT json_extract(:box, '$.a[1]')"
    assert int(await session.value(extract, box={"a": [1, 22]})) == 22


async def test_an_interrupted_write_leaves_nothing_behind(session: Session) -> None:
    slow = {
        "sqlite": "INSERT INTO things WITH RECURSIVE c(n) AS (VALUES (1) UNION SELECT n + 1 FROM c) SELECT n, n FROM c",
        "mariadb": "INSERT INTO things SELECT seq, sleep(0.2) FROM seq_1_to_1000",
    }
    task = asyncio.ensure_future(session.write(slow[session.connection.sql.dialect.name]))

    async def working() -> int:
        return int(session.connection.thread.busy)

    await eventually(1, working, "busy threads")
    task.cancel()
    await asyncio.wait({task})
    assert await session.adapter.cancel(session.connection) is Verdict.CLEAN
    assert await session.value("SELECT count(*) FROM things") == 0


# SQLite


async def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mistyped.db"
    with pytest.raises(BackendError) as raised:
        await adapter_of(f"sqlite:///{path}").open(TAG)
    assert raised.value.failure.kind is FailureKind.DEAD
    assert "there is no database file 'mistyped.db'" in raised.value.failure.message
    assert not path.exists()


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam, " * 100)
    async with opened(adapter_of(f"sqlite:///{path}")) as session:
        kind, message = await session.failure("SELECT * FROM things")
    assert (kind, message) == (FailureKind.DEAD, "file is not a database")


async def test_a_path_with_odd_characters_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1?.db"
    sqlite3.connect(path).close()
    async with opened(build(Settings.model_validate({"url": f"sqlite:///{str(path).replace('?', '%3F')}"}))) as session:
        assert await session.value("SELECT 1") == 1


async def test_a_locked_file_may_be_tried_again(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with opened(adapter_of(f"sqlite:///{file}", timeout=0.05)) as session:
            kind, message = await session.failure("SELECT * FROM things")
    assert (kind, message) == (FailureKind.BUSY_RETRY, "database is locked")


async def test_a_number_too_large_for_sqlite_is_the_callers_error(lite: Session) -> None:
    assert (await lite.failure("SELECT :n", n=2**70))[0] is FailureKind.USER_ERROR
    assert await lite.value("SELECT 1") == 1


async def test_text_in_an_old_encoding_costs_a_letter_and_not_the_answer(lite: Session) -> None:
    assert await lite.value("SELECT CAST(x'4dfc6c6c6572' AS TEXT)") == "M\ufffdller"


async def test_a_reset_of_sqlite_leaves_nothing_of_the_session(lite: Session) -> None:
    await lite.write("CREATE TEMP TABLE mine (n)")
    await lite.write("ATTACH DATABASE ':memory:' AS other")
    await lite.write("PRAGMA foreign_keys = ON")
    assert await lite.adapter.reset(lite.connection) is Verdict.CLEAN
    assert await lite.value("SELECT count(*) FROM sqlite_temp_master") == 0
    assert await lite.value("SELECT count(*) FROM pragma_database_list WHERE name = 'other'") == 0
    assert await lite.value("SELECT foreign_keys FROM pragma_foreign_keys") == 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///", "orders.db"])
def test_a_database_that_would_live_in_one_connection_only_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"in memory|no SQLAlchemy URL"):
        Settings.model_validate({"url": url})


# MariaDB


async def test_the_limit_of_a_user_and_of_the_server_are_limits(mariadb_server: MariadbServer) -> None:
    adapter = adapter_of(mariadb_server.url_of("limited"))
    async with contextlib.AsyncExitStack() as stack:
        for slot in range(3):
            await stack.enter_async_context(opened(adapter, slot))
        with pytest.raises(BackendError) as raised:
            await adapter.open(TAG)
    assert raised.value.failure.kind is FailureKind.LIMIT
    assert "max_user_connections" in raised.value.failure.message


@pytest.mark.parametrize(("user", "database"), [("nobody", "legacy"), ("legacy", "mysql")])
async def test_refused_credentials_are_about_credentials(
    mariadb_server: MariadbServer, user: str, database: str
) -> None:
    with pytest.raises(BackendError) as raised:
        await adapter_of(mariadb_server.url_of(user, database)).open(TAG)
    assert raised.value.failure.kind is FailureKind.AUTH
    assert PASSWORD not in raised.value.failure.message


async def test_a_reset_of_mariadb_leaves_nothing_of_the_session(maria: Session) -> None:
    fresh = "SELECT @mine, database(), @@autocommit, @@character_set_client, @@time_zone, is_free_lock('l')"
    before = (await maria.ask(fresh))["rows"]
    for change in (
        "SET @mine = 1",
        "SET time_zone = '+05:00'",
        "SET NAMES latin1",
        "CREATE TEMPORARY TABLE passing (n INT)",
        "USE information_schema",
        "SELECT get_lock('l', 1)",
    ):
        await maria.write(change)
    assert (await maria.ask(fresh))["rows"] != before
    assert await maria.adapter.reset(maria.connection) is Verdict.CLEAN
    assert (await maria.ask(fresh))["rows"] == before
    assert (await maria.failure("SELECT * FROM passing"))[0] is FailureKind.USER_ERROR


async def test_a_lock_that_cannot_be_had_may_be_tried_again(maria: Session, mariadb_server: MariadbServer) -> None:
    await maria.write("INSERT INTO things VALUES (1, 'a')")
    with pymysql.connect(
        host="127.0.0.1",
        port=mariadb_server.port,
        user="legacy",
        password=PASSWORD,
        database="legacy",
        ssl_disabled=True,
    ) as other:
        other.begin()
        other.cursor().execute("UPDATE things SET name = 'held'")
        await maria.write("SET innodb_lock_wait_timeout = 0")
        kind, _ = await maria.failure("UPDATE things SET name = 'b'", effect="write")
    assert kind is FailureKind.BUSY_RETRY


async def test_a_bound_of_the_servers_own_is_a_timeout(maria: Session) -> None:
    await maria.write("SET max_statement_time = 0.05")
    assert (await maria.failure("SELECT sleep(20)"))[0] is FailureKind.TIMEOUT


async def test_a_result_longer_than_its_page_is_not_read_to_its_end(maria: Session) -> None:
    answer = await maria.ask("SELECT seq FROM seq_1_to_1000000000", page_rows=3)
    assert (answer["rows"], answer["truncated"]) == ([[1], [2], [3]], True)
    assert (await maria.ask("SELECT seq FROM seq_1_to_10 LIMIT 5", page_rows=3))["truncated"] is True
    assert (await maria.ask("SELECT seq FROM seq_1_to_3", page_rows=3)).get("truncated") is None


async def test_side_channel_work_takes_one_connection_at_a_time(mariadb_server: MariadbServer) -> None:
    adapter = adapter_of(mariadb_server.url)
    most = 0

    async def count() -> int:
        nonlocal most
        most = max(most, mariadb_server.connections())
        return most

    connections = [await adapter.open(Tag("contract", "orders", slot)) for slot in range(6)]
    closing = asyncio.gather(*(adapter.close(connection, force=False) for connection in connections))
    while not closing.done():
        await count()
        await asyncio.sleep(0)
    assert await closing == [True] * 6
    assert 6 <= most <= 7
    assert mariadb_server.connections() == 0


async def test_a_cancel_that_is_itself_given_up_at_any_step_leaves_no_connection_behind(
    mariadb_server: MariadbServer,
) -> None:
    adapter = adapter_of(mariadb_server.url)

    async def count() -> int:
        return await asyncio.to_thread(mariadb_server.connections)

    for steps in (0, 1, 2, 3, 5, 8, 13, 100, 1_000):
        async with opened(adapter) as session:
            work = asyncio.ensure_future(session.ask("SELECT sleep(20)"))
            await eventually(1, lambda: asyncio.to_thread(mariadb_server.sleeping), "sleeping connections")
            work.cancel()
            await asyncio.wait({work})
            cancel = asyncio.ensure_future(adapter.cancel(session.connection))
            for _ in range(steps):
                await asyncio.sleep(0)
            cancel.cancel()
            await asyncio.wait({cancel})
            await eventually(1, count, f"connections after {steps} steps")
        assert await count() == 0


async def test_no_closed_connection_is_still_listed(mariadb_server: MariadbServer) -> None:
    adapter = adapter_of(mariadb_server.url)
    listed = []
    for slot in range(30):
        connection = await adapter.open(Tag("contract", "orders", slot))
        assert await adapter.close(connection, force=False)
        query = "SELECT count(*) FROM information_schema.processlist WHERE id = %s"
        listed.append(mariadb_server.ask(query, connection.server_id))
    assert listed == [0] * 30


async def test_a_server_that_went_away_while_idle_was_never_asked_and_one_that_is_back_serves(
    mariadb_server: MariadbServer,
) -> None:
    adapter = adapter_of(mariadb_server.url)
    connection = await adapter.open(TAG)
    await asyncio.to_thread(mariadb_server.restart)
    with pytest.raises(BackendError) as raised:
        await Session(adapter, connection).write("INSERT INTO things VALUES (1, 'a')")
    assert (raised.value.failure.kind, raised.value.failure.started) == (FailureKind.DEAD, False)
    assert await adapter.close(connection, force=False)
    async with opened(adapter) as successor:
        assert await successor.value("SELECT 1") == 1


# A dialect without manners: PostgreSQL through SQLAlchemy has none here, since it has a kind of its own.


@pytest.fixture
async def plain(postgres_server: PostgresServer) -> AsyncIterator[Session]:
    postgres_server.run_as_owner("DROP TABLE IF EXISTS things")
    postgres_server.run_as_owner("CREATE TABLE things (id int, name text)")
    connection = await (adapter := adapter_of(postgres_server.url.replace("postgresql:", "postgresql+psycopg:"))).open(
        TAG
    )
    yield Session(adapter, connection)
    await adapter.close(connection, force=False)


async def test_an_unproven_dialect_takes_no_chances(plain: Session) -> None:
    traits = plain.adapter.traits
    assert (traits.cancel, traits.reset) == ("kill", "none")
    assert await plain.adapter.reset(plain.connection) is Verdict.DISCARD


async def test_a_read_on_an_unproven_dialect_is_rolled_back(plain: Session) -> None:
    await plain.ask("INSERT INTO things VALUES (1, 'a')")
    assert await plain.value("SELECT count(*) FROM things") == 0
    await plain.write("INSERT INTO things VALUES (1, :name)", name="50% of\u20ac")
    assert (await plain.ask("SELECT * FROM things"))["rows"] == [[1, "50% of\u20ac"]]


async def test_an_unproven_dialect_tells_wrong_from_dead(plain: Session, postgres_server: PostgresServer) -> None:
    assert (await plain.failure("SELECT * FROM nowhere"))[0] is FailureKind.USER_ERROR
    pid = await plain.value("SELECT pg_backend_pid()")
    assert postgres_server.ask("SELECT pg_terminate_backend(%s, 10000)::int", pid) == 1
    assert (await plain.failure("SELECT 1"))[0] is FailureKind.DEAD


async def test_the_death_of_an_unproven_connection_is_not_claimed(plain: Session) -> None:
    assert await plain.adapter.close(plain.connection, force=False) is False


# Settings


def test_secrets_are_masked_wherever_the_settings_are_shown() -> None:
    settings = Settings.model_validate({"url": "mysql+pymysql://ann:hunter2@db/orders"})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_url_whose_dialect_is_not_there_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="dialect") as raised:
        adapter_of("nosuch://ann:hunter2@db/orders")
    assert "hunter2" not in str(raised.value)


def test_a_driver_that_is_missing_is_named() -> None:
    with pytest.raises(ImportError, match="needs the package 'MySQLdb'"):
        adapter_of("mysql+mysqldb://ann:hunter2@db/orders")


def test_a_statement_is_read_as_its_dialect_would() -> None:
    statement = r"SELECT 'it\'s :a'"
    mysql = Settings.model_validate({"url": "mysql+pymysql://db/orders"})
    assert mysql.check(Operation("find", "read", {}, statement)) == []
    (fault,) = Settings.model_validate({"url": "sqlite:///orders.db"}).check(Operation("find", "read", {}, statement))
    assert "never closed" in fault
