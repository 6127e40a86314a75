"""What is PostgreSQL's own: one round trip, SQLSTATEs, parameters as a user expects, cancels, and death confirmed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import psycopg
import pytest

from pooler.backends.base import BackendError, Connection, FailureKind, Operation, Tag, Verdict, Work
from pooler.backends.postgres import connection as connections
from pooler.backends.postgres import exchange
from pooler.backends.postgres.adapter import Adapter, build
from pooler.backends.postgres.connection import NAME_BYTES_MAX, name
from pooler.backends.postgres.exchange import PREPARED_MAX
from pooler.backends.postgres.settings import Settings
from tests.contract.sql import Session
from tests.contract.subject import CALLER, eventually
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

TAG = Tag("contract", "orders", 1)


def adapter_of(url: str) -> Adapter:
    return build(Settings.model_validate({"url": url}))


@pytest.fixture
async def session(postgres_server: PostgresServer) -> AsyncIterator[Session]:
    adapter = adapter_of(postgres_server.url)
    connection = await adapter.open(TAG)
    postgres_server.run_as_owner("DROP TABLE IF EXISTS things")
    postgres_server.run_as_owner(
        "CREATE TABLE things (id int, placed_on date, price numeric(10, 2), tags text[], j jsonb)"
    )
    yield Session(adapter, connection)
    await adapter.close(connection, force=True)


async def test_a_connection_carries_its_tag(session: Session, postgres_server: PostgresServer) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    assert postgres_server.ask(query, "penstock/contract/orders/1") == 1


async def test_a_tag_too_long_for_the_server_keeps_its_slot() -> None:
    text = name(Tag("p" * 40, "b" * 40, 123))
    assert len(text) <= NAME_BYTES_MAX
    assert text.endswith("/123")


async def test_a_read_cannot_write(session: Session) -> None:
    kind, message = await session.failure("INSERT INTO things (id) VALUES (1)")
    assert (kind, message) == (FailureKind.USER_ERROR, "cannot execute INSERT in a read-only transaction")
    assert await session.value("SELECT count(*) FROM things") == 0


async def test_a_write_is_seen_by_others_at_once(session: Session, postgres_server: PostgresServer) -> None:
    assert await session.write("INSERT INTO things (id) VALUES (1), (2)") == {"rows_affected": 2}
    assert postgres_server.ask("SELECT count(*) FROM things") == 2


async def test_a_write_that_gives_rows_back_answers_with_a_table(session: Session) -> None:
    answer = await session.write("INSERT INTO things (id) VALUES (:id) RETURNING id, price", id=7)
    assert answer == {"columns": ["id", "price"], "rows": [[7, None]], "row_count": 1}


async def test_a_write_whose_rows_fit_no_page_has_happened_and_says_truncated(session: Session) -> None:
    operation = Operation(
        "big", "write", {}, "INSERT INTO things (id) VALUES (1) RETURNING repeat('x', 5000)", page_bytes=1_000
    )
    work = Work(session.adapter.prepare(operation), {}, CALLER, timeout_seconds=30)
    body = orjson.loads((await session.adapter.execute(session.connection, work)).body)
    assert (body["row_count"], body["truncated"]) == (0, True)
    assert await session.value("SELECT count(*) FROM things") == 1


async def test_arguments_take_the_type_that_the_statement_gives_them(session: Session) -> None:
    written = await session.write(
        "INSERT INTO things VALUES (:id, :day, :price, :tags, :j)",
        id=1,
        day="2026-01-31",
        price="12.50",
        tags=["a", 'b"c\\', None, "NULL", ""],
        j={"deep": [1, None]},
    )
    assert written == {"rows_affected": 1}
    found = "SELECT * FROM things WHERE placed_on >= :since AND price < :most AND id = ANY(:ids) AND j @> :part"
    answer = await session.ask(found, since="2026-01-01", most=12.51, ids=[1, 2], part={"deep": [1]})
    assert answer["rows"] == [[1, "2026-01-31", "12.50", ["a", 'b"c\\', None, "NULL", ""], {"deep": [1, None]}]]


@pytest.mark.parametrize(
    ("value", "kind", "form"),
    [
        (5, "integer", 5),
        (-(2**31), "integer", -(2**31)),
        (2**31, "bigint", 2**31),
        (2**63, "numeric", str(2**63)),
        (1.5, "numeric", "1.5"),
        (True, "boolean", True),
        ({"a": 1}, "jsonb", {"a": 1}),
        ([{"a": 1}], "jsonb", [{"a": 1}]),
    ],
)
async def test_an_argument_alone_has_the_type_of_the_same_literal(
    session: Session, value: Any, kind: str, form: Any
) -> None:
    answer = await session.ask("SELECT pg_typeof(:value)::text, :value", value=value)
    assert answer["rows"] == [[kind, form]]


async def test_one_statement_takes_values_of_different_types_in_turn(session: Session) -> None:
    seen = [await session.value("SELECT :value", value=value) for value in (1, "one", None, True, 2**40, 1)]
    assert seen == [1, "one", None, True, 2**40, 1]


async def test_a_character_that_postgresql_cannot_store_is_the_callers_error(session: Session) -> None:
    kind, message = await session.failure("SELECT :value", value="a\0b")
    assert kind is FailureKind.USER_ERROR
    assert "U+0000" in message
    assert await session.value("SELECT 1") == 1


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELEC 1", FailureKind.USER_ERROR),
        ("SELECT 1 / 0", FailureKind.USER_ERROR),
        ("SELECT 'x'::int", FailureKind.USER_ERROR),
        ("SELECT pg_read_file('/etc/passwd')", FailureKind.USER_ERROR),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$", FailureKind.BUSY_RETRY),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$", FailureKind.BUSY_RETRY),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '53300'; END $$", FailureKind.LIMIT),
        ("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '57P03'; END $$", FailureKind.DEAD),
    ],
)
async def test_a_failure_is_classified_by_its_sqlstate(session: Session, statement: str, kind: FailureKind) -> None:
    assert (await session.failure(statement, effect="write"))[0] is kind
    assert await session.value("SELECT 1") == 1


async def test_a_bound_of_the_servers_own_is_a_timeout_and_no_cancel(session: Session) -> None:
    await session.write("SET statement_timeout = '50ms'")
    kind, message = await session.failure("SELECT pg_sleep(20)")
    assert kind is FailureKind.TIMEOUT
    assert "statement timeout" in message


async def test_a_lock_that_cannot_be_had_may_be_tried_again(session: Session, postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url) as other:
        other.execute("LOCK TABLE things")
        await session.write("SET lock_timeout = '50ms'")
        assert (await session.failure("SELECT * FROM things"))[0] is FailureKind.BUSY_RETRY


async def test_a_wrong_password_is_about_credentials_and_is_not_repeated(postgres_server: PostgresServer) -> None:
    url = postgres_server.url_of("locked").replace("locked@", "locked:hunter2@")
    adapter = adapter_of(url)
    with pytest.raises(psycopg.OperationalError) as raised:
        await adapter.open(TAG)
    failure = adapter.classify(raised.value)
    assert failure.kind is FailureKind.AUTH
    assert "password authentication failed" in failure.message
    assert "hunter2" not in failure.message


async def test_a_url_that_libpq_cannot_read_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="connection string") as raised:
        adapter_of("postgresql://ann:hunter2@db/orders?no_such_key=1")
    assert "hunter2" not in str(raised.value)


async def test_a_changed_table_does_not_fail_the_statement_that_was_prepared_before(
    session: Session, postgres_server: PostgresServer
) -> None:
    before = await session.ask("SELECT * FROM things")
    postgres_server.run_as_owner("ALTER TABLE things ADD COLUMN more int")
    after = await session.ask("SELECT * FROM things")
    assert [*before["columns"], "more"] == after["columns"]


async def test_statements_that_somebody_deallocated_are_prepared_anew(session: Session) -> None:
    await session.value("SELECT 1")
    await session.write("DEALLOCATE ALL")
    assert await session.value("SELECT 1") == 1


async def test_a_connection_keeps_no_more_statements_prepared_than_its_bound(session: Session) -> None:
    for n in range(PREPARED_MAX + 20):
        assert await session.value(f"SELECT {n}") == n
    assert await session.value("SELECT count(*) FROM pg_prepared_statements") == PREPARED_MAX


@pytest.mark.promise(18)
async def test_a_reset_leaves_nothing_of_the_session(session: Session) -> None:
    await session.write("SET search_path = pg_catalog")
    await session.write("CREATE TEMP TABLE mine (n int)")
    await session.write("SELECT pg_advisory_lock(1)")
    await session.write("LISTEN news")
    assert await session.adapter.reset(session.connection) is Verdict.CLEAN
    left = (
        "SELECT current_setting('search_path'), current_setting('IntervalStyle'), to_regclass('pg_temp.mine'), "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), "
        "(SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements)"
    )
    assert (await session.ask(left))["rows"] == [['"$user", public', "iso_8601", None, 0, 0, 1]]


@pytest.mark.promise(18)
async def test_a_plain_query_costs_no_reset_and_a_query_that_calls_something_does(session: Session) -> None:
    await session.ask("SELECT * FROM things WHERE id = :id", id=1)
    assert not session.connection.dirty
    await session.ask("SELECT set_config('a.b', 'c', false)")
    assert session.connection.dirty


async def test_a_long_result_is_stopped_in_the_server_when_its_page_is_full(session: Session) -> None:
    statement = "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) AS n"
    answer = await session.ask(statement, page_rows=5)
    assert (answer["row_count"], answer["truncated"]) == (5, True)
    assert session.connection.syncs == 0
    assert await session.value("SELECT 1") == 1


async def test_an_interrupted_statement_lets_go_of_its_task_at_once_and_stops_in_the_server(
    session: Session, postgres_server: PostgresServer
) -> None:
    task = asyncio.ensure_future(session.ask("SELECT pg_sleep(60)"))
    await eventually(1, lambda: asyncio.to_thread(postgres_server.sleeping), "sleeping connections")
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.cancelled()
    assert postgres_server.sleeping() == 1
    assert await session.adapter.cancel(session.connection) is Verdict.CLEAN
    assert postgres_server.sleeping() == 0


async def test_a_statement_can_be_interrupted_at_any_step_and_the_connection_serves_on(session: Session) -> None:
    for steps in range(12):
        task = asyncio.ensure_future(session.ask("SELECT n FROM generate_series(1, 3000) AS n"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert await session.adapter.cancel(session.connection) is Verdict.CLEAN
        assert await session.value("SELECT :step", step=steps) == steps


async def test_no_closed_connection_is_still_listed(postgres_server: PostgresServer) -> None:
    adapter = adapter_of(postgres_server.url)
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as observer:
        listed = []
        for slot in range(100):
            connection = await adapter.open(Tag("contract", "orders", slot))
            assert await adapter.close(connection, force=False)
            row = observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'penstock/%'"
            ).fetchone()
            listed.append(row[0] if row else None)
    assert listed == [0] * 100


async def test_a_server_that_went_away_while_idle_was_never_asked_and_one_that_is_back_serves(
    postgres_server: PostgresServer,
) -> None:
    adapter = adapter_of(postgres_server.url)
    connection: Connection = await adapter.open(TAG)
    session = Session(adapter, connection)
    postgres_server.restart()
    with pytest.raises(BackendError) as raised:
        await session.write("INSERT INTO things (id) VALUES (1)")
    assert (raised.value.failure.kind, raised.value.failure.started) == (FailureKind.DEAD, False)
    assert await adapter.close(session.connection, force=False)
    successor = await adapter.open(TAG)
    assert await Session(adapter, successor).value("SELECT 1") == 1
    assert await adapter.close(successor, force=False)


async def test_a_server_that_is_starting_or_stopped_is_down_and_not_full(postgres_server: PostgresServer) -> None:
    adapter = adapter_of(postgres_server.url)
    postgres_server.stop()
    try:
        with pytest.raises(psycopg.OperationalError) as raised:
            await adapter.open(TAG)
        assert adapter.classify(raised.value).kind is FailureKind.DEAD
    finally:
        postgres_server.start()


def test_the_url_is_masked_wherever_the_settings_are_shown() -> None:
    settings = Settings.model_validate({"url": "postgresql://ann:hunter2@db/orders"})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("url", ["orders", "mysql://db/orders", ""])
def test_what_is_no_connection_string_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no PostgreSQL connection string"):
        Settings.model_validate({"url": url})


def test_a_statement_that_streams_to_the_client_is_refused() -> None:
    settings = Settings.model_validate({"url": "host=db dbname=orders"})
    (fault,) = settings.check(Operation("dump", "read", {}, "COPY things TO STDOUT"))
    assert "COPY streams to the client" in fault


async def test_a_server_that_cannot_watch_its_clients_is_used_all_the_same(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WATCHING", "no_such_setting")  # as to a server before PostgreSQL 14
    monkeypatch.setattr(connections, "WATCH", "-c no_such_setting=1000")
    adapter = adapter_of(postgres_server.url)

    opened = await asyncio.gather(*(adapter.open(replace(TAG, slot=slot)) for slot in range(3)))

    assert postgres_server.connections() == 3
    for connection in opened:
        assert await adapter.close(connection, force=False)


async def test_a_server_watches_its_clients_unless_the_url_says_otherwise(postgres_server: PostgresServer) -> None:
    for options, expected in (("", "1s"), ("?options=-c%20client_connection_check_interval%3D5000", "5s")):
        adapter = adapter_of(postgres_server.url + options)
        connection = await adapter.open(TAG)
        query = exchange.column(connection, b"SHOW client_connection_check_interval", None)
        assert await connection.run(query) == [expected]
        await adapter.close(connection, force=False)
