"""Callers who leave at random moments, and most of all when their turn comes: what is lost, swallowed or exceeded.

For real, the backend is a process that counts for itself; in simulation its sessions are watched one by one, and the
moments are drawn from a grid, so that a cancel often falls into the very step of a hand-over.
"""

import asyncio
import random
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import Line
from tests.programs import Pooler
from tests.servers.counting import CountingServer
from tests.simulation import virtual
from tests.simulation.rig import Rig, finished

CAP = 4
UNDER_WAY = 32
ENDLESS_SECONDS = 600.0
"""The work of those who must be cancelled: an answer to one of them would be a cancel that was swallowed."""
GRID_SECONDS = 0.001
CALLS_A_WORLD = 10_000
PATIENCE_SECONDS = 60.0

Rows = list[tuple[str, str, str]]


class Leavers:
    """Callers on one exchange who keep so many calls under way; half of the calls are left, at a random moment."""

    def __init__(self, line: Line, cancels: int, seed: int) -> None:
        self.sent = 0
        self.cancelled = 0
        self.heard: Counter[str] = Counter()
        self._cancels = cancels
        self._line = line
        self._chance = random.Random(seed)
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Until so many have left, and every call has had its one answer."""
        for _ in range(UNDER_WAY):
            self._come()
        async with asyncio.timeout(PATIENCE_SECONDS + self._cancels / 100):
            await self._line.settled()

    def _come(self) -> None:
        if self.cancelled >= self._cancels:
            return
        leaves = self._chance.random() < 0.5
        endless = leaves and self._chance.random() < 0.5
        seconds = ENDLESS_SECONDS if endless else self._chance.choice([0, 1, 2, 5]) * GRID_SECONDS
        call_id = self._line.ask(work(seconds), partial(self._heard, endless, leaves))
        self.sent += 1
        if leaves:
            self.cancelled += 1
            self._loop.call_later(self._chance.uniform(0, 20) * GRID_SECONDS, self._line.cancel, call_id)

    def _heard(self, endless: bool, leaves: bool, head: pb.ExchangeHead) -> None:
        reason = pb.Reason.Name(head.error.reason).removeprefix("REASON_") if head.HasField("error") else "ANSWER"
        self.heard[f"{'endless' if endless else 'left' if leaves else 'stayed'} {reason}"] += 1
        self._come()


def work(seconds: float) -> pb.CallRequest:
    """A call that takes so long."""
    context = pb.CallContext(timeout_ms=round(2 * ENDLESS_SECONDS * 1000))
    return pb.CallRequest(context=context, operation="work", arguments=orjson.dumps({"seconds": seconds}))


def config(address: str) -> dict[str, Any]:
    pool = {"cap": CAP, "parallel_starts": CAP, "queue_timeout_seconds": ENDLESS_SECONDS}
    return {
        "backends": {"legacy": {"kind": "simulated", "address": address, "pool": pool}},
        "operations": {
            "work": {
                "backend": "legacy",
                "method": "work",
                "arguments": {"seconds": {"type": "number"}},
                "effect": "read",
                "timeout_seconds": ENDLESS_SECONDS,
            }
        },
    }


async def for_real(cancels: int) -> Rows:
    """A pooler, a counting system, one exchange."""
    with (
        tempfile.TemporaryDirectory() as folder,
        CountingServer() as system,
        Pooler(Path(folder), config(system.address)) as pooler,
    ):
        async with Line.to(pooler.address) as line:
            leavers, began = Leavers(line, cancels, seed=1), time.perf_counter()
            await leavers.run()
            seconds = time.perf_counter() - began
            await asyncio.to_thread(system.wait, PATIENCE_SECONDS, busy=0)  # whatever was left has been stopped
            last = [line.ask(work(ENDLESS_SECONDS), lambda head: None) for _ in range(CAP)]
            whole = await asyncio.to_thread(system.wait, PATIENCE_SECONDS, busy=CAP)
            for call_id in last:
                line.cancel(call_id)
            await line.settled()
        peak = system.peak().count
    swallowed = leavers.heard["endless ANSWER"]
    strange = {what: n for what, n in leavers.heard.items() if what.split()[1] not in ("ANSWER", "CANCELLED")}
    return [
        (
            f"{leavers.cancelled} cancels of {leavers.sent} calls, for real",
            f"{CAP - whole.busy} slots lost, {swallowed} swallowed, {max(0, peak - CAP)} over the cap of {CAP}",
            f"{leavers.sent / seconds:.0f} calls/s; heard beside answers and CANCELLED: {strange or 'nothing'}",
        )
    ]


async def _world(seed: int, calls: int) -> tuple[int, int, int, list[str]]:
    """Cancels, those that were swallowed, slots lost, and whatever the rig found wrong."""
    rig, chance = Rig({"cap": CAP, "parallel_starts": CAP, "queue_max": calls}, seed=seed), random.Random(seed)
    loop = asyncio.get_running_loop()
    rig.driver.run()
    for _ in range(calls):
        call = rig.submit(chance.choice([0, 1, 2, 5]) * GRID_SECONDS, timeout=ENDLESS_SECONDS)
        if chance.random() < 0.9:
            loop.call_later(chance.randint(0, 10) * GRID_SECONDS, rig.cancel, call)
        if chance.random() < 0.5:
            await asyncio.sleep(GRID_SECONDS)
    await finished(rig.calls)
    cancelled = [call for call in rig.calls if call.cancelled_at is not None]
    whole = [rig.submit(ENDLESS_SECONDS, timeout=2 * ENDLESS_SECONDS) for _ in range(CAP)]
    await asyncio.sleep(ENDLESS_SECONDS / 2)
    lost = CAP - rig.busy()
    swallowed = sum(call.answered for call in cancelled)
    strange = [f"call {call.number}: {call.outcomes}" for call in rig.calls[:calls] if len(call.outcomes) != 1]
    await finished(whole)
    await rig.driver.drain(60)
    return len(cancelled), swallowed, lost, rig.violations + strange


def in_simulation(cancels: int) -> Rows:
    """Worlds of a seed each, until so many have left."""
    seed = done = swallowed = lost = 0
    wrong: list[str] = []
    began = time.perf_counter()
    while done < cancels:
        left, late, gone, strange = virtual.run(_world(seed, CALLS_A_WORLD))
        seed, done, swallowed, lost = seed + 1, done + left, swallowed + late, lost + gone
        wrong += strange
    return [
        (
            f"{done} cancels in simulation, {seed} seeds",
            f"{lost} slots lost, {swallowed} swallowed, {len(wrong)} promises broken",
            f"{done / (time.perf_counter() - began):.0f} cancels/s",
        )
    ]


async def run(url: str) -> Rows:
    """Rows of (what, figure, beside what). The database's url is not needed: these backends count for themselves."""
    del url
    return await for_real(2_000) + await asyncio.to_thread(in_simulation, 5_000)


async def soak(url: str) -> Rows:
    """The same, 10⁵ times for real and 10⁶ times in simulation; it takes some ten minutes."""
    del url
    return await for_real(100_000) + await asyncio.to_thread(in_simulation, 1_000_000)
