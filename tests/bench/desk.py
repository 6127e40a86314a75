"""What an administrator waits for an answer while ten thousand calls wait for a connection, and what a watch costs.

The calls stand in the queue of one backend, of ten tenants; nobody else uses the pooler, so what is measured is what
the queue adds to an answer, and the loop that is busy with it.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from protos.penstock.v1 import admin_pb2 as pb
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.dba import Dba
from tests.servers.counting import CountingServer

CAP = 4
MANY = 10_000
ROUNDS = 200
WATCH_SECONDS = 10.0

Rows = list[tuple[str, str, str]]


async def run(url: str) -> Rows:
    """With an empty queue, then with a full one."""
    with CountingServer() as counting, tempfile.TemporaryDirectory() as folder:
        document: dict[str, Any] = {
            "pooler": {"calls_max": MANY + CAP},
            "backends": {
                "legacy": {
                    "kind": "simulated",
                    "address": counting.address,
                    "pool": {"cap": CAP, "queue_max": MANY, "queue_timeout_seconds": 3600},
                }
            },
            "operations": {
                "work": {
                    "backend": "legacy",
                    "method": "work",
                    "effect": "read",
                    "timeout_seconds": 3600,
                    "arguments": {"seconds": {"type": "number"}},
                }
            },
        }
        with Pooler(Path(folder), document) as pooler:
            return await _measured(pooler)


async def _measured(pooler: Pooler) -> Rows:
    async with dbas.at(pooler.address) as dba, wire.stub(pooler.address) as stub:
        stream = wire.Stream(stub)
        await stream.send(wire.HELLO)
        before = {name: await _times(ask) for name, ask in _questions(dba).items()}
        for first in range(1, MANY + CAP + 1, 500):
            numbers = range(first, min(first + 500, MANY + CAP + 1))
            await stream.send(*(_call(number) for number in numbers))
        await dba.until("legacy", lambda state: state.queued == MANY)
        after = {name: await _times(ask) for name, ask in _questions(dba).items()}
        rows = [
            (f"{name} with {MANY:,} calls waiting", _said(after[name]), f"with none: {_said(before[name])}")
            for name in after
        ]
        watched = await _watched(pooler, dba)
        stream.leave()
        return [*rows, ("a watch of everything, of one core", watched, "it looks every second")]


def _call(number: int) -> Any:
    frame = wire.call(number, "work", 3_600_000, seconds=3600)
    frame.call.request.context.tenant = f"tenant-{number % 10}"
    return frame


def _questions(dba: Dba) -> dict[str, Callable[[int], Awaitable[Any]]]:
    return {
        "everything, 100 of each": lambda _: dba.stub.GetSnapshot(pb.GetSnapshotRequest()),
        "everything, 1000 of each": lambda _: dba.stub.GetSnapshot(pb.GetSnapshotRequest(limit=1000)),
        "pause and resume": lambda round_: dba.order("Resume" if round_ % 2 else "Pause", "legacy"),
        "kill of a call that is not there": lambda _: _refused(dba),
    }


async def _refused(dba: Dba) -> None:
    await dba.refused("KillCall", "legacy", request_id="nobody's")


async def _times(ask: Callable[[int], Awaitable[Any]]) -> list[float]:
    taken = []
    for round_ in range(ROUNDS):
        begun = time.perf_counter()
        await ask(round_)
        taken.append(time.perf_counter() - begun)
    return taken


def _said(taken: list[float]) -> str:
    return f"{1000 * median(taken):.1f} ms, p99 {1000 * sorted(taken)[int(len(taken) * 0.99)]:.1f} ms"


async def _watched(pooler: Pooler, dba: Dba) -> str:
    """The pooler's CPU with a watcher, less what it takes without one."""
    used = []
    for watched in (False, True):
        watch = dba.stub.WatchSnapshots(pb.WatchSnapshotsRequest()) if watched else None
        begun = pooler.cpu_seconds()
        await asyncio.sleep(WATCH_SECONDS)
        used.append(pooler.cpu_seconds() - begun)
        if watch is not None:
            watch.cancel()
    return f"{100 * (used[1] - used[0]) / WATCH_SECONDS:.1f} %"
