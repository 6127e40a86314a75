"""What is PostgreSQL's own where statements share a connection: they only read, are prepared once, fill no memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import psutil
import pytest

from pooler.backends.base import Answer, BackendError, FailureKind, Operation, Tag, Verdict, Work
from pooler.backends.postgres.adapter import Adapter, build
from pooler.backends.postgres.connection import Connection
from pooler.backends.postgres.exchange import PREPARED_MAX
from pooler.backends.postgres.settings import Settings
from pooler.backends.shared import NoPageError, Result
from tests.contract.subject import CALLER, eventually
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20


class Shared:
    """One connection that calls share."""

    def __init__(self, adapter: Adapter, connection: Connection) -> None:
        self.adapter = adapter
        self.connection = connection

    def work(self, statement: str, effect: Any = "read", page_rows: int = 200, **arguments: Any) -> Work:
        operation = Operation("ask", effect, {key: {} for key in arguments}, statement, page_rows=page_rows)
        return Work(self.adapter.prepare(operation), arguments, CALLER, timeout_seconds=30)

    def send(self, work: Work) -> "asyncio.Future[Result]":
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.adapter.submit(self.connection, work, ended.set_result)
        return ended

    async def ask(self, statement: str, **arguments: Any) -> Any:
        """The rows of a shared statement. Raises how it failed."""
        result = await self.send(self.work(statement, **arguments))
        if isinstance(result, Answer):
            return orjson.loads(result.body)["rows"]
        raise result

    async def alone(self, statement: str, effect: Any = "read", **arguments: Any) -> Mapping[str, Any]:
        answer = await self.adapter.execute(self.connection, self.work(statement, effect, **arguments))
        body: Mapping[str, Any] = orjson.loads(answer.body)
        return body

    async def failure(self, statement: str, **arguments: Any) -> tuple[FailureKind, str]:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
            await self.ask(statement, **arguments)
        failure = self.adapter.classify(raised.value)
        return failure.kind, failure.message


@pytest.fixture
async def shared(postgres_server: PostgresServer) -> AsyncIterator[Shared]:
    postgres_server.run_as_owner("DROP TABLE IF EXISTS shelf CASCADE")
    postgres_server.run_as_owner("CREATE TABLE shelf (id int)")
    postgres_server.run_as_owner(
        "CREATE OR REPLACE FUNCTION put_one() RETURNS int LANGUAGE sql VOLATILE AS "
        "$$ INSERT INTO shelf VALUES (1) RETURNING id $$"
    )
    postgres_server.run_as_owner("CREATE OR REPLACE VIEW putting AS SELECT put_one() AS id")
    adapter = build(Settings.model_validate({"url": postgres_server.url}))
    connection = await adapter.open(Tag("contract", "shared", 1))
    yield Shared(adapter, connection)
    await adapter.close(connection, force=True)


async def test_a_shared_statement_cannot_write_and_be_it_through_a_view(shared: Shared) -> None:
    kind, message = await shared.failure("SELECT id FROM putting")
    assert (kind, message) == (FailureKind.USER_ERROR, "cannot execute INSERT in a read-only transaction")
    assert (await shared.failure("INSERT INTO shelf VALUES (2) RETURNING id"))[0] is FailureKind.USER_ERROR
    assert await shared.ask("SELECT count(*) FROM shelf") == [[0]]


async def test_whoever_has_the_connection_whole_writes_on_it_before_and_after(shared: Shared) -> None:
    for count in (1, 2, 3):
        await shared.alone("INSERT INTO shelf VALUES (7)", effect="write")
        assert await shared.ask("SELECT count(*) FROM shelf") == [[count]]


async def test_a_session_writes_on_a_connection_that_was_shared(shared: Shared) -> None:
    assert await shared.ask("SELECT 1") == [[1]]
    await shared.adapter.begin(shared.connection)
    work = shared.work("INSERT INTO shelf VALUES (8)", effect="write")._replace(in_transaction=True)
    await shared.adapter.execute(shared.connection, work)
    await shared.adapter.commit(shared.connection)
    await shared.adapter.reset(shared.connection)
    assert await shared.ask("SELECT id FROM shelf") == [[8]]
    assert (await shared.failure("SELECT id FROM putting"))[0] is FailureKind.USER_ERROR


async def test_a_statement_is_prepared_once_for_all_who_share_and_for_who_does_not(shared: Shared) -> None:
    statement = "SELECT :n + 1"
    assert [await shared.ask(statement, n=number) for number in (1, 2, 3)] == [[[2]], [[3]], [[4]]]
    assert (await shared.alone(statement, n=4))["rows"] == [[5]]
    prepared = await shared.ask("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE :text", text="%+ 1")
    assert prepared == [[1]]


async def test_no_more_statements_are_kept_prepared_than_a_connection_may_keep(shared: Shared) -> None:
    for number in range(PREPARED_MAX + 5):
        assert await shared.ask(f"SELECT {number} AS n") == [[number]]
    assert len(shared.connection.prepared) == PREPARED_MAX
    assert await shared.ask("SELECT count(*) FROM pg_prepared_statements") == [[PREPARED_MAX]]


async def test_a_statement_whose_table_has_changed_is_prepared_anew_for_each_who_had_sent_it(
    shared: Shared, postgres_server: PostgresServer
) -> None:
    postgres_server.run_as_owner("INSERT INTO shelf VALUES (1)")
    assert await shared.ask("SELECT * FROM shelf") == [[1]]
    postgres_server.run_as_owner("ALTER TABLE shelf ADD COLUMN colour text")
    sent = [shared.send(shared.work("SELECT * FROM shelf")) for _ in range(3)]
    answers = [await each for each in sent]
    assert [orjson.loads(answer.body)["rows"] for answer in answers if isinstance(answer, Answer)] == [[[1, None]]] * 3


async def test_a_statement_that_cannot_be_prepared_says_so_to_each_and_another_time_again(shared: Shared) -> None:
    sent = [shared.send(shared.work("SELECT nothing FROM shelf")) for _ in range(3)]
    results = [await each for each in sent]
    assert all(isinstance(result, Exception) for result in results)
    messages = {shared.adapter.classify(result).message for result in results if isinstance(result, Exception)}
    assert messages == {'column "nothing" does not exist'}
    assert await shared.ask("SELECT 1") == [[1]]


async def test_values_have_the_same_form_as_alone(shared: Shared) -> None:
    statement = (
        "SELECT null AS a, 9007199254740993 AS b, 1.50::numeric AS c, 'NaN'::float8 AS d, '2026-01-31'::date AS e, "
        "'2026-01-31 10:30+02'::timestamptz AS f, '{\"k\": [1]}'::jsonb AS g, ARRAY[1, null] AS h, "
        "'\\x00ff'::bytea AS i, interval '-1 hour' AS j FROM generate_series(1, 3)"
    )
    expected = await shared.adapter.execute(shared.connection, shared.work(statement))
    assert [await shared.send(shared.work(statement)) for _ in range(2)] == [expected, expected]


async def test_what_cannot_be_sent_is_refused_before_it_stands_in_anybodys_way(shared: Shared) -> None:
    with pytest.raises(BackendError, match=r"U\+0000"):
        shared.send(shared.work("SELECT :text", text="a\0b"))
    assert await shared.ask("SELECT :text", text="ab") == [["ab"]]


async def test_a_large_result_is_not_held_in_memory(shared: Shared) -> None:
    process = psutil.Process()
    assert isinstance(await shared.send(shared.work("SELECT repeat('x', 1000), generate_series(1, 2000)")), NoPageError)
    before = process.memory_info().rss
    large = shared.send(shared.work("SELECT repeat('x', 1000), generate_series(1, 300000)"))
    behind = shared.send(shared.work("SELECT 'behind'"))
    assert isinstance(await large, NoPageError)
    assert isinstance(await behind, Answer)
    assert process.memory_info().rss - before < 30 * MEGABYTE


async def test_a_large_result_at_the_head_is_told_at_once_when_those_behind_it_have_left(shared: Shared) -> None:
    endless = shared.send(shared.work("SELECT repeat('x', 1000), generate_series(1, 1000000000)"))

    async def hopeless() -> int:
        assert shared.connection.pipeline is not None
        return shared.connection.pipeline.hopeless

    await eventually(1, hopeless, "what is known of the head")
    shared.adapter.leave_behind(shared.connection)
    assert isinstance(await endless, NoPageError)
    assert await shared.adapter.cancel(shared.connection) is Verdict.CLEAN
    assert await shared.ask("SELECT 1") == [[1]]


async def test_a_shared_connection_that_the_server_closes_at_rest_is_known_to_be_broken(
    shared: Shared, postgres_server: PostgresServer
) -> None:
    assert await shared.ask("SELECT 1") == [[1]]
    pid = shared.connection.link.info.backend_pid
    assert postgres_server.ask("SELECT pg_terminate_backend(%s, 10000)::int", pid) == 1

    async def broken() -> int:
        return shared.connection.broken is not None

    await eventually(1, broken, "the connection's own notice")


async def test_more_is_sent_at_once_than_a_socket_holds(shared: Shared) -> None:
    texts = [chr(65 + number) * 200_000 for number in range(26)]
    sent = [shared.send(shared.work("SELECT left(:text, 1), length(:text)", text=text)) for text in texts]
    results = [await each for each in sent]
    rows = [orjson.loads(result.body)["rows"] for result in results if isinstance(result, Answer)]
    assert rows == [[[text[0], 200_000]] for text in texts]


async def test_a_connection_that_is_reset_with_its_last_words_tells_each_of_its_calls(shared: Shared) -> None:
    # What the server has not read when it ends makes the system reset the connection, beside the words of its end; the
    # loop may tell of both at once, and of neither ever again.
    for number in range(2, 10):
        dying = Shared(shared.adapter, await shared.adapter.open(Tag("contract", "shared", number)))
        async with asyncio.timeout(20):
            first = dying.send(dying.work("SELECT pg_sleep(0.2), pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"))
            unread = [dying.send(dying.work("SELECT length(:text)", text="x" * 100_000)) for _ in range(3)]
            results = [await call for call in (first, *unread)]
        kinds = {shared.adapter.classify(result).kind for result in results if isinstance(result, BaseException)}
        assert kinds == {FailureKind.DEAD}
        assert not any(isinstance(result, Answer) for result in results)
        assert dying.connection.broken is not None
        await shared.adapter.close(dying.connection, force=True)
