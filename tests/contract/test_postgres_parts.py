"""What is PostgreSQL's own about large results and sessions: pieces, parts of a transaction, lost commits."""

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest

from pooler.backends.base import FailureKind, Tag, Verdict
from pooler.backends.postgres.adapter import Adapter, build
from pooler.backends.postgres.settings import Settings
from pooler.backends.streams import PIECE_BYTES
from tests.contract.sql import Session
from tests.contract.subject import eventually
from tests.contract.windows import Reader
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def session(postgres_server: PostgresServer) -> AsyncIterator[Session]:
    adapter: Adapter = build(Settings.model_validate({"url": postgres_server.url}))
    connection = await adapter.open(Tag("contract", "parts", 1))
    postgres_server.run_as_owner("DROP TABLE IF EXISTS parts")
    postgres_server.run_as_owner("CREATE TABLE parts (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield Session(adapter, connection)
    await adapter.close(connection, force=True)


class Counter(Reader):
    """Counts rows without keeping them."""

    count = 0

    def add(self, rows: object) -> None:
        assert isinstance(rows, list)
        self.count += len(rows)


# Large results


async def test_a_batch_of_long_rows_is_converted_in_pieces(session: Session) -> None:
    reader = Reader(batch_rows=1000)
    await session.read("SELECT repeat('x', 1500) AS x FROM generate_series(1, 1000)", reader)
    assert sum(reader.batches) == 1000
    assert max(reader.batches) == PIECE_BYTES // 1500


@pytest.mark.promise(37)
async def test_a_million_rows_pass_through_without_being_kept(session: Session) -> None:
    await session.read("SELECT n, repeat('x', 100) AS x FROM generate_series(1, 10000) AS n", Counter(batch_rows=100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counter = Counter(batch_rows=100)
    await session.read("SELECT n, repeat('x', 100) AS x FROM generate_series(1, 1000000) AS n", counter)
    assert counter.count == 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB; the rows are 150 MB


async def test_others_have_their_turn_while_a_large_result_comes_in(session: Session) -> None:
    turns = 0
    done = asyncio.Event()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await session.read("SELECT n FROM generate_series(1, 20000) AS n", Counter(batch_rows=100))
    done.set()
    await task
    assert turns >= 200


async def test_a_statement_that_the_server_does_not_take_any_more_is_sent_again_before_any_row(
    session: Session,
) -> None:
    for _ in range(2):
        reader = Reader()
        await session.read("SELECT n FROM generate_series(1, 30) AS n", reader)
        assert len(reader.rows) == 30
        await session.write("DEALLOCATE ALL")


async def test_a_window_that_fails_itself_leaves_no_rows_to_the_next_call(session: Session) -> None:
    class Faulty(Reader):
        async def room(self) -> bool:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        await session.read("SELECT n FROM generate_series(1, 100000) AS n", Faulty())
    assert await session.value("SELECT 'mine'") == "mine"


async def test_what_a_write_gives_back_is_cut_to_a_page_and_no_window_is_asked(session: Session) -> None:
    table = await session.ask(
        "INSERT INTO parts SELECT generate_series(1, 500) RETURNING id", effect="write", page_rows=20
    )
    assert (table["row_count"], table["truncated"]) == (20, True)
    assert await session.value("SELECT count(*) FROM parts") == 500


# Parts of a session's transaction


@pytest.mark.promise(20)
async def test_a_read_in_a_transaction_cannot_write_and_a_write_after_it_can(session: Session) -> None:
    await session.adapter.begin(session.connection)
    await session.part("SELECT 1")
    await session.part("INSERT INTO parts VALUES (1)", effect="write")
    assert await session.failed_part("INSERT INTO parts VALUES (2)") == (FailureKind.USER_ERROR, "failed")
    await session.adapter.rollback(session.connection)
    await session.adapter.begin(session.connection)
    await session.part("SELECT 1")
    await session.part("INSERT INTO parts VALUES (3)", effect="write")
    await session.adapter.commit(session.connection)
    assert (await session.ask("SELECT id FROM parts"))["rows"] == [[3]]


@pytest.mark.promise(20)
async def test_a_commit_that_the_server_refuses_keeps_nothing_and_says_why(session: Session) -> None:
    await session.adapter.begin(session.connection)
    for _ in range(2):
        await session.part("INSERT INTO parts VALUES (1)", effect="write")
    with pytest.raises(Exception, match="duplicate key") as raised:
        await session.adapter.commit(session.connection)
    assert session.adapter.classify(raised.value).kind is FailureKind.USER_ERROR
    assert session.connection.transaction == "none"
    assert await session.value("SELECT count(*) FROM parts") == 0


@pytest.mark.promise(20)
async def test_a_connection_that_ends_in_the_midst_of_a_commit_says_that_it_had_begun(
    session: Session, postgres_server: PostgresServer
) -> None:
    postgres_server.run_as_owner(
        "CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$"
    )
    postgres_server.run_as_owner(
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON parts DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    await session.adapter.begin(session.connection)
    await session.part("INSERT INTO parts VALUES (1)", effect="write")
    commit = asyncio.ensure_future(session.adapter.commit(session.connection))

    async def committing() -> int:
        return postgres_server.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")

    await eventually(1, committing, "commits at work")
    pid = session.connection.link.info.backend_pid
    assert postgres_server.ask("SELECT pg_terminate_backend(%s, 10000)::int", pid) == 1
    await asyncio.wait({commit}, timeout=10)
    error = commit.exception()
    assert error is not None
    failure = session.adapter.classify(error)
    assert (failure.kind, failure.started) == (FailureKind.DEAD, True)


@pytest.mark.promise(20)
async def test_a_connection_that_ended_before_its_commit_says_that_it_was_never_begun(
    session: Session, postgres_server: PostgresServer
) -> None:
    await session.adapter.begin(session.connection)
    await session.part("INSERT INTO parts VALUES (1)", effect="write")
    pid = session.connection.link.info.backend_pid
    assert postgres_server.ask("SELECT pg_terminate_backend(%s, 10000)::int", pid) == 1
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
        await session.adapter.commit(session.connection)
    failure = session.adapter.classify(raised.value)
    assert (failure.kind, failure.started) == (FailureKind.DEAD, False)


async def test_a_cancel_that_the_server_loses_is_said_again(session: Session) -> None:
    """It loses most of those that come while it compiles the statement, which it does with an expensive one first."""
    for _ in range(3):
        statement = "SELECT count(a + b) FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b"
        task = asyncio.ensure_future(session.ask(statement))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        async with asyncio.timeout(20):
            assert await session.adapter.cancel(session.connection) is Verdict.CLEAN
        assert await session.value("SELECT 'mine'") == "mine"


async def test_a_read_that_is_cancelled_in_a_transaction_leaves_a_connection_that_can_be_rolled_back(
    session: Session,
) -> None:
    await session.adapter.begin(session.connection)
    task = asyncio.ensure_future(session.part("SELECT n FROM generate_series(1, 10000000) AS n"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert await session.adapter.cancel(session.connection) is Verdict.CLEAN
    await session.adapter.rollback(session.connection)
    assert await session.value("SELECT 'mine'") == "mine"
