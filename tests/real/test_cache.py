"""Shared answers of a real PostgreSQL, at the wire of a pooler: what they spare it, and what makes them wrong."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests.interaction import wire
from tests.interaction.line import eventually
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

PENSTOCK = str(Path(sys.executable).parent / "penstock")
TABLE = """
CREATE TABLE kept (id int PRIMARY KEY, state text);
INSERT INTO kept VALUES (1, 'new'), (2, 'new');
GRANT ALL ON kept TO PUBLIC;
CREATE FUNCTION tell_of_kept() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_notify('kept changed', 'told:' || NEW.id); RETURN NEW; END $$;
CREATE TRIGGER tell AFTER UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION tell_of_kept();
"""
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
END_LISTENERS = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"

GATE_NUMBER = 4711
GATE = f"pg_advisory_xact_lock_shared({GATE_NUMBER}) IS NOT NULL"
"""A statement with it waits until a test lets it go on."""
AT_GATE = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"

HIT, MISS, STALE, JOINED = pb.Reuse.HIT, pb.Reuse.MISS, pb.Reuse.STALE, pb.Reuse.JOINED


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A table whose trigger tells of its changes."""
    postgres_server.run_as_owner(TABLE)
    yield postgres_server
    postgres_server.run_as_owner("DROP TABLE kept; DROP FUNCTION tell_of_kept")


def config(url: str, statement: str = "SELECT state FROM kept WHERE id = :id") -> dict[str, Any]:
    row = {"backend": "db", "arguments": {"id": {"type": "integer"}}, "effect": "read"}
    change = {
        "backend": "db",
        "statement": "UPDATE kept SET state = :state WHERE id = :id",
        "arguments": {"id": {"type": "integer"}, "state": {"type": "string"}},
        "effect": "write",
        "invalidates": ["row:{id}"],
    }
    kept = {"ttl_seconds": 3600, "tags": ["row:{id}"]}
    pool = {"cap": 4, "warm": 1}
    return {
        "backends": {
            "db": {"kind": "postgres", "url": url, "sessions": True, "pool": pool},
            "telling": {"kind": "postgres", "url": url, "pool": pool, "invalidate": {"channel": "kept changed"}},
        },
        "operations": {
            "state": {**row, "statement": statement, "cache": kept},
            "strict_state": {**row, "statement": statement, "cache": {"ttl_seconds": 3600, "strict": True}},
            "near_state": {**row, "statement": statement, "cache": {**kept, "near": True}},
            "old_state": {**row, "statement": statement, "cache": {"ttl_seconds": 0.2, "stale_if_down": True}},
            "quick_state": {**row, "statement": statement, "share": True, "cache": kept},
            "told_state": {
                **row,
                "backend": "telling",
                "statement": statement,
                "cache": {**kept, "tags": ["told:{id}"]},
            },
            "slow_state": {**row, "statement": f"{statement} AND {GATE}", "flight": True},
            "change": change,
            "change_quietly": {key: value for key, value in change.items() if key != "invalidates"},
        },
    }


class Caller:
    """Somebody at the wire."""

    def __init__(self, stub: "pooler_pb2_grpc.PoolerServiceAsyncStub") -> None:
        self.stub = stub

    async def read(self, operation: str = "state", **arguments: Any) -> tuple[str, pb.Reuse.State.ValueType]:
        """The state of a row, and whose answer that was."""
        given: dict[str, Any] = {"id": 1, **arguments}
        reply = await self.stub.Call(wire.request(operation, **given))
        ((state,),) = orjson.loads(reply.result)["rows"]
        return state, reply.reuse.state

    async def change(self, state: str, operation: str = "change", **arguments: Any) -> None:
        given: dict[str, Any] = {"id": 1, "state": state, **arguments}
        await self.stub.Call(wire.request(operation, **given))

    async def session(self) -> str:
        reply = await self.stub.OpenSession(
            pb.OpenSessionRequest(context=pb.CallContext(timeout_ms=10_000), backend="db")
        )
        return reply.session

    async def close(self, session: str, commit: bool) -> None:
        context = pb.CallContext(timeout_ms=10_000)
        await self.stub.CloseSession(pb.CloseSessionRequest(context=context, session=session, commit=commit))


@pytest.fixture
async def pooler(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Pooler]:
    with await asyncio.to_thread(Pooler, tmp_path, config(server.url)) as program:
        yield program


@asynccontextmanager
async def caller(pooler: Pooler) -> AsyncIterator[Caller]:
    async with wire.stub(pooler.address) as stub, asyncio.timeout(60):
        yield Caller(stub)


@pytest.mark.promise(26)
async def test_what_a_write_through_the_pooler_has_changed_is_read_by_whoever_comes_after_it(pooler: Pooler) -> None:
    async with caller(pooler) as ann:
        assert await ann.read() == ("new", MISS)
        assert await ann.read() == ("new", HIT)
        assert await ann.read(id=2) == ("new", MISS)
        await ann.change("paid")
        assert await ann.read() == ("paid", MISS)
        assert await ann.read(id=2) == ("new", HIT)


@pytest.mark.promise(25, 26)
async def test_so_it_is_where_reads_share_their_connections_too(pooler: Pooler) -> None:
    async with caller(pooler) as ann:
        for state in ("new", "paid", "sent"):
            if state != "new":
                await ann.change(state)
            told = await asyncio.gather(*(ann.read("quick_state", id=1 + number % 2) for number in range(40)))
            assert {answer for answer, _ in told[::2]} == {state}
            assert [reuse for _, reuse in told].count(MISS) == (2 if state == "new" else 1)


@pytest.mark.promise(26)
async def test_a_strict_operation_sees_a_write_that_does_not_say_what_it_changes(pooler: Pooler) -> None:
    async with caller(pooler) as ann:
        assert await ann.read("strict_state") == ("new", MISS)
        assert await ann.read("strict_state") == ("new", HIT)
        assert await ann.read() == ("new", MISS)
        await ann.change("paid", "change_quietly")
        assert await ann.read("strict_state") == ("paid", MISS)
        assert await ann.read() == ("new", HIT)  # for its time: nobody has said anything


@pytest.mark.promise(26)
async def test_a_transaction_makes_answers_wrong_with_its_commit_and_reads_its_own_writes_all_the_while(
    pooler: Pooler,
) -> None:
    async with caller(pooler) as ann:
        assert await ann.read() == ("new", MISS)
        session = await ann.session()
        await ann.change("paid", session=session)
        assert (await ann.read(session=session))[0] == "paid"
        assert await ann.read() == ("new", HIT)
        await ann.close(session, commit=False)
        assert await ann.read() == ("new", HIT)
        session = await ann.session()
        await ann.change("paid", session=session)
        await ann.close(session, commit=True)
        assert await ann.read() == ("paid", MISS)


@pytest.mark.promise(25)
async def test_a_first_caller_who_is_killed_leaves_the_others_their_answer_and_the_server_one_statement(
    pooler: Pooler, server: PostgresServer
) -> None:
    async def joined(count: int) -> bool:
        async with aiohttp.ClientSession(f"http://{pooler.http}") as session, session.get("/metrics") as answer:
            return f'{{backend="db",from="joined",operation="slow_state"}} {count}.0' in await answer.text()

    async with wire.stream(pooler.address) as doomed, caller(pooler) as ann, dbas.at(pooler.address) as dba:
        with psycopg.connect(server.admin_url) as keeper:
            keeper.execute(f"SELECT pg_advisory_lock({GATE_NUMBER})")
            await doomed.send(wire.call(1, "slow_state", id=1))
            await eventually(lambda: server.ask(AT_GATE) == 1)
            others = [asyncio.ensure_future(ann.read("slow_state")) for _ in range(20)]
            await until(lambda: joined(20))
            doomed.leave()
            assert server.ask(AT_GATE) == 1
        assert [await other for other in others] == [("new", JOINED)] * 20
        assert (await dba.backend("db")).calls_total == 1


@pytest.mark.promise(27)
async def test_what_a_trigger_says_makes_answers_wrong_and_so_does_not_hearing_it(
    pooler: Pooler, server: PostgresServer
) -> None:
    async with caller(pooler) as ann:
        await eventually(lambda: server.ask(LISTENERS) == 1)

        async def reads(state: str, reuse: int, **arguments: Any) -> bool:
            return await ann.read("told_state", **arguments) == (state, reuse)

        await until(lambda: reads("new", HIT))
        await until(lambda: reads("new", HIT, id=2))
        await asyncio.to_thread(server.run_as_owner, "UPDATE kept SET state = 'paid' WHERE id = 1")
        await until(lambda: reads("paid", HIT))
        assert await reads("new", HIT, id=2)

        assert server.ask(END_LISTENERS) == 1
        await until(lambda: reads("new", MISS, id=2))
        await eventually(lambda: server.ask(LISTENERS) == 1)


async def until(condition: Any) -> None:
    """Waits until a read is as a test wants it."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - another process tells no event
            await asyncio.sleep(0.02)


@pytest.mark.promise(27)
async def test_an_old_answer_is_given_while_the_backend_is_paused_and_a_new_one_afterwards(
    pooler: Pooler, server: PostgresServer
) -> None:
    async with caller(pooler) as ann, dbas.at(pooler.address) as dba:
        assert await ann.read("old_state") == ("new", MISS)
        server.run_as_owner("UPDATE kept SET state = 'paid' WHERE id = 1")
        await dba.order("Pause", "db")

        async def old() -> bool:
            return await ann.read("old_state") == ("new", STALE)

        await until(old)
        await dba.order("Resume", "db")
        assert await ann.read("old_state") == ("paid", MISS)


async def test_another_statement_is_another_operation(pooler: Pooler, server: PostgresServer) -> None:
    async with caller(pooler) as ann:
        assert await ann.read() == ("new", MISS)
        document = config(server.url)
        await asyncio.to_thread(pooler.reload, document | {"tenants": {"shop": {"weight": 2}}})
        assert await ann.read() == ("new", HIT)
        other = "SELECT upper(state) FROM kept WHERE id = :id"
        await asyncio.to_thread(pooler.reload, config(server.url, other))
        assert await ann.read() == ("NEW", MISS)


async def test_a_dba_makes_answers_wrong_from_the_command_line_and_a_call_says_whose_its_answer_is(
    pooler: Pooler,
) -> None:
    async def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            [PENSTOCK, *arguments, "--pooler", pooler.address],
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert "cache miss" in (await penstock("call", "state", "id=1")).stderr
    assert "cache hit" in (await penstock("call", "state", "id=1")).stderr
    assert "cache" not in (await penstock("call", "change_quietly", "id=2", "state=paid")).stderr
    done = await penstock("invalidate", "row:1", "--json")
    assert orjson.loads(done.stdout) == {"answers": 1}
    assert "cache miss" in (await penstock("call", "state", "id=1")).stderr
    assert (await penstock("invalidate", "--operation", "state")).stdout.startswith("1 answer")
    assert (await penstock("invalidate", "--all")).returncode == 0
    assert (await penstock("invalidate")).returncode == 2
    assert "share" in (await penstock("invalidate", "--operation", "change")).stderr


@pytest.mark.promise(26)
async def test_a_client_that_keeps_answers_is_told_of_a_write_before_its_writer_is(pooler: Pooler) -> None:
    async with wire.stub(pooler.address) as data, asyncio.timeout(20):
        near = wire.Stream(data)
        await near.send(pb.ClientFrame(hello=pb.ClientHello(version=1, boot_id="near", near=True)))
        await near.frame()
        await near.send(wire.call(1, "near_state", id=1))
        head = await near.head()
        assert list(head.reuse.tags) == ["row:1"]
        assert 0 < head.reuse.near_ms <= 3_600_000
        await near.send(wire.call(2, "change", id=1, state="paid"))
        told: list[str] = []
        while (frame := await near.frame()).WhichOneof("frame") == "invalidate":
            told += frame.invalidate.tags
        assert "row:1" in told
        assert frame.head.id == 2
        near.leave()


async def test_a_client_that_keeps_nothing_is_granted_nothing_and_told_of_nothing(pooler: Pooler) -> None:
    async with wire.stream(pooler.address) as plain:
        await plain.send(wire.call(1, "near_state", id=1))
        head = await plain.head()
        assert (head.reuse.state, head.reuse.near_ms, list(head.reuse.tags)) == (MISS, 0, [])
        await plain.send(wire.call(2, "change", id=1, state="paid"))
        assert (await plain.head()).id == 2


async def test_the_catalogue_says_among_whom_frontends_may_share(pooler: Pooler) -> None:
    async with wire.stub(pooler.address) as stub:
        catalogue = await stub.GetCatalogue(pb.GetCatalogueRequest())
    scopes = {operation.name: operation.near for operation in catalogue.operations}
    assert scopes["near_state"] == pb.NEAR_SCOPE_TENANT
    assert scopes["state"] == pb.NEAR_SCOPE_UNSPECIFIED
