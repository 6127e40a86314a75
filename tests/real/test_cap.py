"""The cap, as the backend itself counts it: whatever callers, the backend, the DBA or the kernel do to the pool.

The counting server is a process of its own, and its numbers are the oracle. The pool's gauges are compared with them.
"""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos.penstock.v1 import admin_pb2, admin_pb2_grpc
from tests.interaction import wire
from tests.programs import Pooler
from tests.real.callers import Load, outcome
from tests.real.relay import Relay
from tests.servers.counting import CountingServer

pytestmark = pytest.mark.anyio

CAP = 5
PATIENCE_SECONDS = 30.0
HELD = ("starting", "validating", "idle", "in_use", "draining", "resetting", "closing")


def config(server: CountingServer, **pool: Any) -> dict[str, Any]:
    pool = {"cap": CAP, "parallel_starts": CAP, "close_timeout_seconds": 60, **pool}
    operation = {"backend": "legacy", "method": "work", "arguments": {"seconds": {"type": "number"}}, "effect": "read"}
    return {
        "backends": {"legacy": {"kind": "simulated", "address": server.address, "pool": pool}},
        "operations": {"work": {**operation, "timeout_seconds": 120}},
    }


async def gauges(pooler: Pooler) -> admin_pb2.Backend:
    """What the pool says of itself."""
    async with grpc.aio.insecure_channel(pooler.address) as channel:
        reply = await admin_pb2_grpc.AdminServiceStub(channel).ListBackends(admin_pb2.ListBackendsRequest())
    (backend,) = reply.backends
    return backend


async def seen(server: CountingServer, **counts: int) -> None:
    """Until the backend counts these, while this loop's callers go on."""
    await asyncio.to_thread(server.wait, PATIENCE_SECONDS, **counts)


async def take_the_whole_cap(server: CountingServer, pooler: Pooler) -> None:
    """Every slot is there to be used: none was lost."""
    async with wire.stub(pooler.address) as stub:
        calls = [asyncio.ensure_future(outcome(stub, "work", 100)) for _ in range(CAP)]
        await seen(server, busy=CAP)
        state = await gauges(pooler)
        assert (state.in_use, sum(getattr(state, held) for held in HELD)) == (CAP, CAP)
        assert server.counts().total == CAP
        for call in calls:
            call.cancel()


@asynccontextmanager
async def reset_clients(address: str, count: int, seconds: float) -> AsyncIterator[Callable[[], None]]:
    """Callers whose connection can be reset by the network."""
    async with Relay(address) as relay, wire.stub(relay.address) as stub:
        calls = [asyncio.ensure_future(outcome(stub, "work", seconds)) for _ in range(count)]
        yield relay.reset
        assert Counter(await asyncio.gather(*calls))["UNAVAILABLE"] >= CAP


@asynccontextmanager
async def killed_clients(address: str, count: int, seconds: float) -> AsyncIterator[Callable[[], None]]:
    """Callers in a process that can be killed."""
    words = ("-m", "tests.real.callers", address, "work", str(count), str(seconds))
    process = await asyncio.create_subprocess_exec(sys.executable, *words)
    try:
        yield process.kill
        assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.promise(1, 5, 38)
@pytest.mark.parametrize("vanishing", [reset_clients, killed_clients])
async def test_callers_that_vanish_in_mid_call_never_push_a_slowly_dying_backend_past_the_cap(
    tmp_path: Path, vanishing: Any
) -> None:
    manners = {"start_seconds": 0.2, "dying_seconds": 2.0, "ignore_cancel": True, "spread": 0.3}
    with CountingServer(**manners) as server, Pooler(tmp_path, config(server)) as pooler:
        async with asyncio.timeout(60), Load(pooler.address, "work", 1, 0.02).running() as load:
            for _ in range(3):
                await load.more(3)
                async with vanishing(pooler.address, 4 * CAP, 0.7) as vanish:
                    await seen(server, busy=CAP)
                    vanish()
                    await seen(server, dying=CAP - 1)  # all but one were at work for who has vanished
        assert load.heard.keys() == {"OK"}
        assert server.peak().count == CAP, server.peak()
        server.behave(ignore_cancel=False, dying_seconds=0)
        await take_the_whole_cap(server, pooler)
        assert (await gauges(pooler)).queued == 0  # nobody waits for who has vanished
        assert server.peak().count == CAP, server.peak()


async def test_a_licence_limit_below_the_cap_fails_no_call(tmp_path: Path) -> None:
    licences = CAP - 2
    manners = {"limit": licences, "start_seconds": 0.05, "dying_seconds": 0.3}
    pool = {"idle_seconds": 0.5, "lifetime_seconds": 1.0}  # so that connections come and go
    with CountingServer(**manners) as server, Pooler(tmp_path, config(server, **pool)) as pooler:
        async with asyncio.timeout(60), Load(pooler.address, "work", 4 * CAP, 0.02).running() as load:
            await asyncio.to_thread(pooler.await_event, "start failed", kind="LIMIT")
            await load.more(300)
            await asyncio.to_thread(pooler.await_event, "start failed", kind="LIMIT")
        assert load.heard.keys() == {"OK"}
        assert server.peak().count == licences
        server.behave(limit=None)
        async with asyncio.timeout(PATIENCE_SECONDS), Load(pooler.address, "work", 2 * CAP, 0.1).running():
            await seen(server, busy=CAP)  # the pool finds out by itself that there is more room
        assert server.peak().count == CAP


@pytest.mark.promise(1, 15, 16)
async def test_a_frozen_backend_costs_each_caller_one_bounded_time_out_and_heals_when_it_thaws(tmp_path: Path) -> None:
    with CountingServer() as server, Pooler(tmp_path, config(server, cancel_timeout_seconds=0.5)) as pooler:
        async with asyncio.timeout(60), wire.stub(pooler.address) as stub:
            await take_the_whole_cap(server, pooler)
            server.freeze()
            calls = [outcome(stub, "work", 0.0, timeout_ms=1000) for _ in range(3 * CAP)]
            assert Counter(await asyncio.gather(*calls)) == {"DEADLINE_EXCEEDED": 3 * CAP}
            server.thaw()
            assert await outcome(stub, "work", 0.0) == "OK"
            await take_the_whole_cap(server, pooler)
        assert server.peak().count == CAP, server.peak()


@pytest.mark.promise(15)
async def test_a_killed_backend_is_told_of_at_once_and_served_again_when_it_is_back(tmp_path: Path) -> None:
    with CountingServer(start_seconds=0.05) as server, Pooler(tmp_path, config(server)) as pooler:
        async with asyncio.timeout(60), wire.stub(pooler.address) as stub:
            calls = [asyncio.ensure_future(outcome(stub, "work", 100)) for _ in range(CAP)]
            await seen(server, busy=CAP)
            server.kill()
            assert Counter(await asyncio.gather(*calls)) == {"UNAVAILABLE": CAP}
            await asyncio.to_thread(pooler.await_event, "not serving")
            server.start()
            await asyncio.to_thread(pooler.await_event, "serving")
            await take_the_whole_cap(server, pooler)
        assert server.peak().count == CAP, server.peak()


@pytest.mark.promise(2)
async def test_a_cap_that_is_reloaded_up_and_down_under_load_is_never_exceeded(tmp_path: Path) -> None:
    manners = {"start_seconds": 0.05, "dying_seconds": 0.3, "spread": 0.5}
    with CountingServer(**manners) as server, Pooler(tmp_path, config(server)) as pooler:
        async with asyncio.timeout(60), Load(pooler.address, "work", 4 * CAP, 0.02).running() as load:
            await seen(server, total=CAP)
            before = CAP
            for cap in (2, 7, 1, 4, CAP):
                server.forget_peak()
                await asyncio.to_thread(pooler.reload, config(server, cap=cap))
                await seen(server, total=cap)
                assert server.peak().count <= max(before, cap), server.peak()
                server.forget_peak()
                await load.more(20 * cap)
                assert server.peak().count <= cap, server.peak()
                before = cap
        assert load.heard.keys() == {"OK"}
        await take_the_whole_cap(server, pooler)


@pytest.mark.promise(1)
async def test_a_pooler_that_is_killed_and_started_again_counts_what_it_has_left(tmp_path: Path) -> None:
    left = CAP - 2  # so that there is room for a connection to ask with
    with CountingServer(dying_seconds=1.5, ignore_cancel=True) as server:
        with Pooler(tmp_path, config(server)) as doomed:
            async with wire.stub(doomed.address) as stub:
                calls = [asyncio.ensure_future(outcome(stub, "work", 1.0)) for _ in range(left)]
                await seen(server, busy=left)
                doomed.kill()
                assert Counter(await asyncio.gather(*calls)) == {"UNAVAILABLE": left}
        with Pooler(tmp_path, config(server)) as pooler:
            async with asyncio.timeout(60), Load(pooler.address, "work", 4 * CAP, 0.02).running() as load:
                await seen(server, busy=CAP)
                await load.more(50)
            assert load.heard.keys() == {"OK"}
            assert server.peak().count == CAP, server.peak()
