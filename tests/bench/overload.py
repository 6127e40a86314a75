"""What becomes of the useful work when far more is asked than there is room for, and of a modest tenant beside a greedy
one. The capacity that all shares are of is measured in the same run, with callers who wait for their answers."""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.load import Load
from tests.bench.point_select import config
from tests.bench.wire import Line, exchange
from tests.programs import Pooler

OFFERED = (1.5, 3, 10)
"""In multiples of the capacity."""
TIMEOUT_MS = 1000
SECONDS = 3.0
WARM_UP_SECONDS = 1.0
MODEST = 0.3
"""What the modest tenant asks for, as a share of the capacity; half of it is his."""

Rows = list[tuple[str, str, str]]


async def run(url: str) -> Rows:
    """Rows of (what, figure, beside what)."""
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), config(url)) as pooler:
        naps = [pb.CallRequest(context=pb.CallContext(timeout_ms=60_000), operation="nap")] * 500
        await exchange(pooler.address, naps[:100], 16)
        capacity = len(naps) / (await exchange(pooler.address, naps, 16)).seconds
        async with Line.to(pooler.address) as line:
            rows = [("capacity: 4 connections, calls of 20 ms", f"{capacity:.0f} calls/s", "")]
            for times in OFFERED:
                rows += await _offer(line, capacity, times)
            rows += await _modest_beside_greedy(line, capacity)
    return rows


async def _offer(line: Line, capacity: float, times: float) -> Rows:
    load, began = Load(line, "nap", times * capacity, TIMEOUT_MS), time.perf_counter()
    await load.run(SECONDS)
    over = time.perf_counter()
    good = load.good_per_second(began + WARM_UP_SECONDS, over)
    recovery = await _recovery(line, capacity, over)
    await line.settled()
    reasons = Counter(pb.Reason.Name(a.reason).removeprefix("REASON_") for a in load.answers if a.reason)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(4))
    return [
        (f"offered {times:g} × the capacity, goodput", f"{good:.0f} calls/s", f"{good / capacity:.2f} × the capacity"),
        (f"  refused of {len(load.answers)}", told, ""),
        ("  until a light load is served as ever", f"{recovery:.2f} s", f"{recovery / 3:.2f} × 3 s"),
    ]


async def _recovery(line: Line, capacity: float, over: float) -> float:
    """How long after the overload the last call of a light load was refused, or took five times its own 20 ms."""
    light = Load(line, "nap", capacity / 2, TIMEOUT_MS, seed=2)
    await light.run(2.5)
    await line.settled()
    slow = [answer.sent_at for answer in light.answers if answer.reason or answer.seconds > 0.1]
    return max(slow, default=over) - over


async def _modest_beside_greedy(line: Line, capacity: float) -> Rows:
    """The same calls at the same moments, alone and beside a tenant who asks for ten times what there is."""
    alone = Load(line, "nap", MODEST * capacity, TIMEOUT_MS, "modest", seed=3)
    await alone.run(SECONDS)
    greedy = Load(line, "nap", 10 * capacity, TIMEOUT_MS, "greedy", seed=4)
    beside = Load(line, "nap", MODEST * capacity, TIMEOUT_MS, "modest", seed=3)
    began = time.perf_counter()
    await asyncio.gather(greedy.run(SECONDS + WARM_UP_SECONDS), _later(beside))
    together = greedy.good_per_second(began + WARM_UP_SECONDS, began + WARM_UP_SECONDS + SECONDS)
    await line.settled()
    own, shared = alone.percentile(0.99) * 1e3, beside.percentile(0.99) * 1e3
    return [
        (f"a tenant at {MODEST:g} × the capacity, alone: p99", f"{own:.1f} ms", ""),
        ("  beside one who offers 10 ×: p99", f"{shared:.1f} ms", f"{shared / own:.2f} × alone"),
        ("  what the other gets", f"{together:.0f} calls/s", f"{together / capacity:.2f} × the capacity"),
    ]


async def _later(load: Load) -> None:
    await asyncio.sleep(WARM_UP_SECONDS)
    await load.run(SECONDS)
