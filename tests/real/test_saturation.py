"""A pooler whose connections are all taken and whose queue is full: who is answered, and whose place gets free."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.penstock.v1 import admin_pb2, admin_pb2_grpc, pooler_pb2, pooler_pb2_grpc
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.callers import outcome
from tests.real.relay import Relay
from tests.servers.counting import CountingServer

pytestmark = pytest.mark.anyio

CAP = 2
QUEUE_MAX = 20
VANISHED_SECONDS = 1.5
PATIENCE_SECONDS = 30.0
FOR_LONG = 600.0


def config(server: CountingServer, **changes: Any) -> dict[str, Any]:
    """`changes`: of the pool."""
    pool = {"cap": CAP, "parallel_starts": CAP, "warm": CAP, "queue_max": QUEUE_MAX, "queue_timeout_seconds": 600}
    operation = {"backend": "legacy", "method": "work", "arguments": {"seconds": {"type": "number"}}, "effect": "read"}
    return {
        "pooler": {"vanished_seconds": VANISHED_SECONDS, "drain_grace_seconds": 3},
        "backends": {"legacy": {"kind": "simulated", "address": server.address, "pool": {**pool, **changes}}},
        "operations": {"work": {**operation, "timeout_seconds": FOR_LONG}},
    }


@pytest.fixture
def pooler(counting_server: CountingServer, tmp_path: Path) -> Any:
    """A pooler that is all there, and idle."""
    with Pooler(tmp_path, config(counting_server)) as program:
        counting_server.wait(open=CAP)
        yield program


async def backend(pooler: Pooler) -> admin_pb2.Backend:
    """What the pool says of itself."""
    async with grpc.aio.insecure_channel(pooler.address) as channel:
        reply = await admin_pb2_grpc.AdminServiceStub(channel).ListBackends(
            admin_pb2.ListBackendsRequest(), timeout=PATIENCE_SECONDS
        )
    return reply.backends[0]


async def queued(pooler: Pooler, expected: int) -> None:
    """Until so many wait."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await backend(pooler)).queued != expected:  # noqa: ASYNC110 - another process tells no event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def saturated(pooler: Pooler) -> AsyncIterator["pooler_pb2_grpc.PoolerServiceAsyncStub"]:
    """While the block lasts, every connection is at work, and nobody waits yet."""
    async with wire.stub(pooler.address) as stub:
        at_work = [asyncio.ensure_future(outcome(stub, "work", FOR_LONG, 600_000)) for _ in range(CAP)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await backend(pooler)).in_use < CAP:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        yield stub
        for call in at_work:
            call.cancel()


async def unary(address: str) -> Callable[[], Awaitable[None]]:
    """Callers of their own each, who fill the queue."""
    channel = grpc.aio.insecure_channel(address)
    stub = pooler_pb2_grpc.PoolerServiceStub(channel)
    calls = [asyncio.ensure_future(outcome(stub, "work", 0, 600_000)) for _ in range(QUEUE_MAX)]

    async def heard() -> None:
        assert set(await asyncio.gather(*calls)) == {"UNAVAILABLE"}
        await channel.close()

    return heard


async def exchange(address: str) -> Callable[[], Awaitable[None]]:
    """One frontend, whose calls share a stream and fill the queue."""
    channel = grpc.aio.insecure_channel(address)
    stream = wire.Stream(pooler_pb2_grpc.PoolerServiceStub(channel))
    await stream.send(wire.HELLO)
    await stream.send(*(wire.call(number, "work", 600_000, seconds=0) for number in range(1, QUEUE_MAX + 1)))

    async def heard() -> None:
        assert await stream.ended() is grpc.StatusCode.UNAVAILABLE
        await channel.close()

    return heard


@pytest.mark.promise(38)
@pytest.mark.parametrize("callers", [unary, exchange])
async def test_callers_who_vanish_by_reset_while_they_wait_free_their_places_at_once(
    pooler: Pooler, callers: Callable[[str], Awaitable[Callable[[], Awaitable[None]]]]
) -> None:
    async with saturated(pooler) as stub, Relay(pooler.address) as relay:
        heard = await callers(relay.address)
        await queued(pooler, QUEUE_MAX)
        assert await outcome(stub, "work", 0) == "RESOURCE_EXHAUSTED"
        relay.reset()
        await queued(pooler, 0)
        await heard()
        assert await outcome(stub, "work", 0, timeout_ms=300) == "DEADLINE_EXCEEDED"  # it found a place to wait in


@pytest.mark.promise(38)
async def test_callers_who_are_frozen_while_they_wait_free_their_places_after_a_while(pooler: Pooler) -> None:
    async with saturated(pooler) as stub:
        words = ("-m", "tests.real.callers", pooler.address, "work", str(QUEUE_MAX), "0")
        frozen = await asyncio.create_subprocess_exec(sys.executable, *words)
        try:
            await queued(pooler, QUEUE_MAX)
            frozen.send_signal(signal.SIGSTOP)  # the kernel goes on acknowledging for it, and no FIN is ever sent
            await queued(pooler, 0)
            assert await outcome(stub, "work", 0, timeout_ms=300) == "DEADLINE_EXCEEDED"
        finally:
            frozen.kill()
            await frozen.wait()


@pytest.mark.promise(39)
async def test_health_and_administrators_are_answered_while_everything_is_taken_and_the_queue_is_full(
    pooler: Pooler,
) -> None:
    async with saturated(pooler) as stub, grpc.aio.insecure_channel(pooler.address) as channel:
        waiting = [asyncio.ensure_future(outcome(stub, "work", 0, 600_000)) for _ in range(QUEUE_MAX)]
        await queued(pooler, QUEUE_MAX)
        storm = [asyncio.ensure_future(outcome(stub, "work", 0)) for _ in range(500)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            check: Any = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # absent from the stubs
            for service in ("", "legacy"):
                reply = await check(health_pb2.HealthCheckRequest(service=service))
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
            state = await backend(pooler)
            assert (state.in_use, state.queued, state.queue_max) == (CAP, QUEUE_MAX, QUEUE_MAX)
            catalogue = await stub.GetCatalogue(pooler_pb2.GetCatalogueRequest())
            assert [operation.name for operation in catalogue.operations] == ["work"]
            async with aiohttp.ClientSession(f"http://{pooler.http}") as pages:
                for page in ("/healthz", "/readyz"):
                    async with pages.get(page) as answer:
                        assert answer.status == 200
        assert set(await asyncio.gather(*storm)) == {"RESOURCE_EXHAUSTED"}
        assert not any(call.done() for call in waiting)
        for call in waiting:
            call.cancel()


@pytest.mark.promise(39)
async def test_orders_are_obeyed_while_ten_thousand_wait(counting_server: CountingServer, tmp_path: Path) -> None:
    many = 10_000
    document = config(counting_server, queue_max=many)
    document["pooler"]["calls_max"] = many + CAP
    with Pooler(tmp_path, document) as program:
        async with wire.stub(program.address) as stub, dbas.at(program.address) as dba, asyncio.timeout(90):
            stream = wire.Stream(stub)
            await stream.send(wire.HELLO)
            assert (await stream.frame()).hello.calls_max == many + CAP
            for first in range(1, many + CAP + 1, 500):
                last = min(first + 500, many + CAP + 1)
                await stream.send(*(wire.call(number, "work", 600_000, seconds=600) for number in range(first, last)))
            state = await dba.until("legacy", lambda state: state.queued == many)
            assert state.in_use == CAP
            listed = await dba.order("ListWaiting", "legacy", limit=5000)
            assert (len(listed.calls), listed.waiting) == (1000, many)
            (seen,) = (await dba.stub.GetSnapshot(admin_pb2.GetSnapshotRequest(limit=1000))).backends
            assert (len(seen.waiting), seen.waiting_total, len(seen.connections)) == (1000, many, CAP)
            assert [(tenant.waiting, tenant.at_work) for tenant in seen.tenants] == [(many, CAP)]
            assert (await dba.order("KillCall", "legacy", request_id=listed.calls[-1].request_id)).killed == 1
            head = await stream.head()  # the first that anybody has heard
            assert (head.id, head.error.reason) == (CAP + 1000, pooler_pb2.REASON_KILLED)
            assert (await dba.order("SetCap", "legacy", cap=CAP + 2)).backend.cap == CAP + 2
            await asyncio.to_thread(counting_server.wait, PATIENCE_SECONDS, busy=CAP + 2)
            assert (await dba.order("Pause", "legacy")).backend.paused
            number = (await dba.connections("legacy"))[0].number
            assert (await dba.order("KillConnection", "legacy", number=number)).backend.queued == many - 3
            head = await stream.head()
            assert head.error.reason == pooler_pb2.REASON_KILLED
            assert head.id <= CAP + 2  # one of those at work
            assert (await dba.order("Resume", "legacy")).backend.queued >= many - 4
            assert (await dba.order("Retire", "legacy")).backend.generation == state.generation + 1
            assert (await dba.order("Drain", "legacy")).backend.refusing_calls
            stream.leave()
            assert (await dba.until("legacy", lambda state: state.queued == 0)).calls_total == many + CAP
