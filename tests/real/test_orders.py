"""A DBA's orders to a running pooler, over gRPC and under load. What the backends themselves count is the oracle."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.penstock.v1 import admin_pb2
from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.callers import Load, outcome
from tests.real.dba import PATIENCE_SECONDS, Dba, named, reason_of
from tests.real.test_adoption import Sampler
from tests.real.test_faults import eventually
from tests.servers.counting import CountingServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

CAP = 4
SESSIONS = "SELECT application_name, pid FROM pg_stat_activity WHERE application_name LIKE 'penstock/%'"
POOL = {"cap": CAP, "parallel_starts": CAP, "queue_timeout_seconds": 600}


def config(postgres: PostgresServer, counting: CountingServer) -> dict[str, Any]:
    seconds = {"seconds": {"type": "number"}}
    ours = {"backend": "db", "effect": "read", "timeout_seconds": 120}
    arrive = "INSERT INTO arrivals (who) VALUES (:who)"
    return {
        "backends": {
            "db": {"kind": "postgres", "url": postgres.url, "pool": POOL},
            "legacy": {"kind": "simulated", "address": counting.address, "pool": POOL},
        },
        "operations": {
            "nap": {**ours, "statement": "SELECT pg_sleep(:seconds)", "arguments": seconds},
            "pid": {**ours, "statement": "SELECT pg_backend_pid() AS pid"},
            "arrive": {**ours, "statement": arrive, "arguments": {"who": {"type": "string"}}, "effect": "write"},
            "work": {**ours, "backend": "legacy", "method": "work", "arguments": seconds},
        },
    }


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL with a table that numbers whoever comes."""
    postgres_server.run_as_owner("CREATE TABLE arrivals (place serial, who text)")
    yield postgres_server
    postgres_server.run_as_owner("DROP TABLE arrivals")


@pytest.fixture
def pooler(server: PostgresServer, counting_server: CountingServer, tmp_path: Path) -> Iterator[Pooler]:
    """A pooler before both."""
    with Pooler(tmp_path, config(server, counting_server)) as program:
        yield program
    eventually(0, server.connections)


@pytest.fixture
async def dba(pooler: Pooler) -> AsyncIterator[Dba]:
    async with dbas.at(pooler.address) as admin, asyncio.timeout(90):
        yield admin


async def seen(expected: object, measure: Any) -> None:
    """Until a measurement of a server comes out as expected, while this loop's callers go on."""
    await asyncio.to_thread(eventually, expected, measure)


def sessions(server: PostgresServer) -> dict[str, int]:
    """The pid of each of the pool's sessions by its tag, as PostgreSQL shows them."""
    with psycopg.connect(server.admin_url) as connection:
        return dict(connection.execute(SESSIONS).fetchall())


def arrivals(server: PostgresServer) -> list[str]:
    """Who was served, in order."""
    with psycopg.connect(server.admin_url) as connection:
        return [who for (who,) in connection.execute("SELECT who FROM arrivals ORDER BY place").fetchall()]


@pytest.mark.promise(2)
async def test_a_cap_set_down_and_up_under_load_is_kept_as_the_backend_counts(
    pooler: Pooler, dba: Dba, counting_server: CountingServer
) -> None:
    counting_server.behave(start_seconds=0.05, dying_seconds=0.3, spread=0.5)
    counting_server.forget_peak()
    async with Load(pooler.address, "work", 5 * CAP, 0.02).running() as load:
        await asyncio.to_thread(counting_server.wait, PATIENCE_SECONDS, total=CAP)
        before = CAP
        for cap in (2, 6):
            reply = await dba.order("SetCap", "legacy", cap=cap)
            assert (reply.cap_before, reply.backend.cap) == (before, cap)
            await asyncio.to_thread(counting_server.wait, PATIENCE_SECONDS, total=cap)
            assert counting_server.peak().count <= max(before, cap), counting_server.peak()
            counting_server.forget_peak()
            await load.more(200)
            assert counting_server.peak().count <= cap, counting_server.peak()
            before = cap
    assert load.heard.keys() == {"OK"}


@pytest.mark.promise(2)
async def test_postgresql_never_sees_more_than_a_cap_that_was_set_down_and_up(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    async with Load(pooler.address, "nap", 5 * CAP, 0.01).running() as load:
        await seen(CAP, server.connections)
        for cap in (2, 6):
            with Sampler(server.connections).running() as settling:
                await dba.order("SetCap", "db", cap=cap)
                await seen(cap, server.connections)
            with Sampler(server.connections).running() as settled:
                await load.more(200)
            assert settling.peak <= max(CAP, cap)
            assert settled.peak == cap
            assert settled.samples > 3
    assert load.heard.keys() == {"OK"}


@pytest.mark.promise(33)
async def test_a_pause_holds_everybody_without_an_error_and_a_resume_serves_them_as_they_came(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    await dba.order("SetCap", "db", cap=1)  # so that PostgreSQL itself can tell the order
    assert (await dba.order("Pause", "db")).backend.paused
    names = [f"call-{number}" for number in range(40)]
    async with wire.stream(pooler.address) as stream, wire.stub(pooler.address) as stub:
        calls = enumerate((named(name, "arrive", who=name) for name in names), start=1)
        await stream.send(*(pb.ClientFrame(call=pb.ExchangeCall(id=number, request=call)) for number, call in calls))
        state = await dba.until("db", lambda state: state.queued == len(names))
        assert (state.serving, state.in_use) == (True, 0)
        listed = await dba.order("ListWaiting", "db", limit=3)
        assert ([call.request_id for call in listed.calls], listed.waiting) == (names[:3], len(names))
        assert {admin_pb2.CallState.Name(call.state) for call in listed.calls} == {"CALL_STATE_WAITING"}
        with pytest.raises(grpc.aio.AioRpcError) as impatient:
            await stub.Call(wire.request("pid", timeout_ms=200))
        assert reason_of(impatient.value) == "UNAVAILABLE PAUSED"
        assert arrivals(server) == []
        assert not (await dba.order("Resume", "db")).backend.paused
        heads = [await stream.head() for _ in names]
    assert [head.error.message for head in heads if head.HasField("error")] == []
    assert arrivals(server) == names


@pytest.mark.promise(33)
async def test_a_killed_statement_is_gone_from_postgresql_and_nobody_else_notices(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    async with wire.stub(pooler.address) as stub:
        victim = asyncio.ensure_future(stub.Call(named("victim", "nap", seconds=100)))
        beside = asyncio.ensure_future(stub.Call(named("beside", "nap", seconds=2)))
        await seen(2, server.sleeping)
        async with Load(pooler.address, "nap", 4, 0.01).running() as load:
            await load.more(10)
            pids = await asyncio.to_thread(sessions, server)
            reply = await dba.order("KillCall", "db", request_id="victim")
            assert reply.killed == 1
            with pytest.raises(grpc.aio.AioRpcError) as killed:
                await victim
            assert reason_of(killed.value) == "ABORTED KILLED"
            assert "nap was ended by an administrator of backend db" in (killed.value.details() or "")
            await load.more(10)
        await beside
        await seen(0, server.sleeping)
    assert load.heard.keys() == {"OK"}
    assert pids.items() <= (await asyncio.to_thread(sessions, server)).items()  # a statement was ended, no connection


@pytest.mark.promise(33)
async def test_a_call_that_is_killed_in_the_queue_never_reaches_the_backend(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    await dba.order("SetCap", "db", cap=1)
    async with wire.stub(pooler.address) as stub:
        at_work = asyncio.ensure_future(stub.Call(named("first", "nap", seconds=1)))
        await dba.until("db", lambda state: state.in_use == 1)
        calls = {who: asyncio.ensure_future(stub.Call(named(who, "arrive", who=who))) for who in ("a", "b", "c")}
        await dba.until("db", lambda state: state.queued == 3)
        await dba.order("KillCall", "db", request_id="b")
        with pytest.raises(grpc.aio.AioRpcError) as killed:
            await calls["b"]
        assert reason_of(killed.value) == "ABORTED KILLED"
        assert not at_work.done()
        await asyncio.gather(at_work, calls["a"], calls["c"])
    assert sorted(arrivals(server)) == ["a", "c"]


@pytest.mark.promise(4, 33)
async def test_a_killed_connection_is_gone_from_postgresql_and_its_caller_is_told(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    async with wire.stub(pooler.address) as stub:
        victim = asyncio.ensure_future(stub.Call(named("victim", "nap", seconds=100)))
        beside = asyncio.ensure_future(stub.Call(named("beside", "nap", seconds=1)))
        await seen(2, server.sleeping)
        connections = await dba.connections("db")
        (doomed,) = [each for each in connections if [call.request_id for call in each.calls] == ["victim"]]
        pid = (await asyncio.to_thread(sessions, server))[doomed.tag]
        await dba.order("KillConnection", "db", number=doomed.number)
        with pytest.raises(grpc.aio.AioRpcError) as killed:
            await victim
        assert reason_of(killed.value) == "ABORTED KILLED"
        await seen(False, lambda: pid in sessions(server).values())
        await beside
        state = await dba.until("db", lambda state: not state.draining + state.closing)
        assert state.unconfirmed_total == 0
        told = await dba.refused("KillConnection", "db", number=doomed.number)
        assert told[0] == "NOT_FOUND CONNECTION_NOT_FOUND"
        assert f"has no connection {doomed.number}; it has " in told[1]


@pytest.mark.promise(34)
async def test_a_retire_under_load_fails_no_call_and_leaves_no_session_from_before(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    async with (
        wire.stub(pooler.address) as stub,
        Load(pooler.address, "nap", 3 * CAP, 0.02).running() as load,
    ):
        await seen(CAP, server.connections)
        await load.more(20)
        old = set((await asyncio.to_thread(sessions, server)).values())
        generation = (await dba.backend("db")).generation
        assert (await dba.order("Retire", "db")).backend.generation == generation + 1
        for _ in range(20):
            table = orjson.loads((await stub.Call(wire.request("pid"))).result)
            assert table["rows"][0][0] not in old
        await load.more(50)
        await seen(set(), lambda: old & set(sessions(server).values()))
        assert {each.generation for each in await dba.connections("db")} == {generation + 1}
    assert load.heard.keys() == {"OK"}


@pytest.mark.promise(33)
async def test_one_backend_is_drained_while_the_other_one_serves(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    health: Any = health_pb2_grpc.HealthStub(dba.channel).Check  # type: ignore[attr-defined]  # absent from the stubs

    async def healthy(backend: str) -> bool:
        reply = await health(health_pb2.HealthCheckRequest(service=backend))
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async with wire.stub(pooler.address) as stub, Load(pooler.address, "work", CAP, 0.01).running() as load:
        at_work = asyncio.ensure_future(stub.Call(wire.request("nap", seconds=1)))
        await seen(1, server.sleeping)
        state = (await dba.order("Drain", "db")).backend
        assert (state.refusing_calls, state.serving, state.failure) == (True, False, "it takes no new calls")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Call(wire.request("pid"))
        assert reason_of(refused.value) == "UNAVAILABLE DRAINING"
        assert not at_work.done()
        await at_work
        await seen(0, server.connections)
        assert [await healthy(name) for name in ("db", "legacy", "")] == [False, True, True]
        await load.more(20)
        assert await outcome(stub, "nap", 0) == "UNAVAILABLE"
        assert not (await dba.order("Resume", "db")).backend.refusing_calls
        assert await outcome(stub, "nap", 0) == "OK"
        assert await healthy("db")
    assert load.heard.keys() == {"OK"}


async def test_the_listed_connections_are_those_that_postgresql_shows(
    pooler: Pooler, dba: Dba, server: PostgresServer
) -> None:
    async with wire.stub(pooler.address) as stub:
        request = named("mine", "nap", seconds=100)
        request.context.tenant, request.context.principal = "shop", "assistant"
        calls = [asyncio.ensure_future(stub.Call(call)) for call in (request, wire.request("nap", seconds=100))]
        await seen(2, server.sleeping)
        listed = await dba.connections("db")
        assert {each.tag for each in listed} == (await asyncio.to_thread(sessions, server)).keys()
        (own,) = [each for each in listed if [call.request_id for call in each.calls] == ["mine"]]
        (call,) = own.calls
        assert (call.tenant, call.principal, call.operation) == ("shop", "assistant", "nap")
        assert (own.state, call.state) == (admin_pb2.CONNECTION_STATE_IN_USE, admin_pb2.CALL_STATE_RUNNING)
        assert own.uses >= 1
        assert 0 <= call.since_ms <= own.age_ms
        assert own.tag.endswith(f"/db/{own.number}")
        for each in calls:
            each.cancel()


@pytest.mark.promise(2, 39)
@pytest.mark.parametrize(
    ("order", "facts", "expected"),
    [
        ("SetCap", {"backend": "legacy", "cap": 0}, "INVALID_ARGUMENT INVALID_ORDER"),
        ("SetCap", {"backend": "legacy", "cap": 1_000_001}, "INVALID_ARGUMENT INVALID_ORDER"),
        ("SetCap", {"backend": "legasy", "cap": 1}, "NOT_FOUND BACKEND_NOT_FOUND"),
        ("Pause", {"backend": ""}, "NOT_FOUND BACKEND_NOT_FOUND"),
        ("KillConnection", {"backend": "legacy", "number": 1 << 60}, "NOT_FOUND CONNECTION_NOT_FOUND"),
        ("KillCall", {"backend": "legacy", "request_id": "nobody's"}, "NOT_FOUND CALL_NOT_FOUND"),
        ("KillCall", {"backend": "legacy"}, "INVALID_ARGUMENT INVALID_ORDER"),
        ("ListConnections", {"backend": "legasy"}, "NOT_FOUND BACKEND_NOT_FOUND"),
        ("ListWaiting", {"backend": "legasy"}, "NOT_FOUND BACKEND_NOT_FOUND"),
    ],
)
async def test_an_order_that_cannot_be_carried_out_says_why(
    dba: Dba, order: str, facts: dict[str, Any], expected: str
) -> None:
    reason, sentence = await dba.refused(order, **facts)
    assert reason == expected
    assert sentence
    assert (await dba.backend("legacy")).cap == CAP
