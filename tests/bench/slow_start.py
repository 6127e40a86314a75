"""Two hundred callers before a backend that takes a second to log in to, and the same shape at twenty, in virtual time.

The callers come at once, to a pool that has nothing open. The server is PostgreSQL behind a slow door, the same for the
pooler and for psycopg_pool; the ideal is what nobody can beat: all start at once, and none of them is ever idle.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from psycopg_pool import AsyncConnectionPool

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.doors import slow_door
from tests.bench.wire import CONTEXT, exchange
from tests.programs import Pooler
from tests.simulation import virtual
from tests.simulation.rig import Rig, finished

CALLERS = 200
CAP = 20
WORK_SECONDS = 0.5
START_SECONDS = 1.0
LONG_START_SECONDS = 20.0
BESIDE = {
    "cold, as it comes": (0, 3),
    "filling itself, with 3 workers as it comes": (CAP, 3),
    "filling itself, with 20 workers": (CAP, CAP),
}
"""Sizes kept and workers, by name. The three are measured side by side: they hardly do anything but wait."""

Rows = list[tuple[str, str, str]]


def ideal(start_seconds: float, parallel: int = CAP) -> float:
    """The least time: the starts come in waves, each wave works from its own opening on, and nobody is ever idle."""
    opened = [start_seconds * (1 + number // parallel) for number in range(CAP)]
    ends = []
    for _ in range(CALLERS):
        first = min(range(CAP), key=opened.__getitem__)
        opened[first] += WORK_SECONDS
        ends.append(opened[first])
    return max(ends)


def config(url: str) -> dict[str, Any]:
    return {
        "backends": {"legacy": {"kind": "postgres", "url": url, "pool": {"cap": CAP, "parallel_starts": CAP}}},
        "operations": {
            "work": {"backend": "legacy", "statement": f"SELECT pg_sleep({WORK_SECONDS})", "effect": "read"}
        },
    }


async def through_penstock(url: str) -> float:
    """Seconds until the last answer. (The pooler makes its first start by itself, some hundredths before they come.)"""
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), config(url)) as pooler:
        calls = [pb.CallRequest(context=CONTEXT, operation="work")] * CALLERS
        measured = await exchange(pooler.address, calls, CALLERS)
        await asyncio.to_thread(pooler.stop)  # it says goodbye through the door, which this loop keeps
        assert measured.failures == 0
        return measured.seconds


async def through_psycopg_pool(url: str, min_size: int, workers: int) -> float:
    """The same callers, who ask psycopg_pool for a connection themselves."""
    pool = AsyncConnectionPool(url, min_size=min_size, max_size=CAP, num_workers=workers, timeout=120, open=False)

    async def caller() -> None:
        async with pool.connection() as connection:
            await connection.execute(f"SELECT pg_sleep({WORK_SECONDS})")

    began = time.perf_counter()
    await pool.open()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    seconds = time.perf_counter() - began
    await pool.close()
    return seconds


def _in_virtual_time(parallel: int) -> float:
    return virtual.run(_before_a_simulated_system(parallel))


async def _before_a_simulated_system(parallel: int) -> float:
    rig = Rig({"cap": CAP, "parallel_starts": parallel}, start_seconds=LONG_START_SECONDS)
    rig.driver.run()
    began = rig.now
    await finished([rig.submit(WORK_SECONDS) for _ in range(CALLERS)])
    assert rig.violations == []
    return rig.now - began


def _row(what: str, seconds: float, best: float) -> tuple[str, str, str]:
    return (what, f"{seconds:.2f} s", f"{seconds / best:.3f} × the ideal {best:.2f} s")


async def run(url: str) -> Rows:
    """Rows of (what, figure, beside what)."""
    best = ideal(START_SECONDS)
    async with slow_door(url, START_SECONDS) as door:
        rows = [_row(f"start 1 s, cap {CAP}, {CALLERS} × 0.5 s", await through_penstock(door.url), best)]
        seconds = await asyncio.gather(*(through_psycopg_pool(door.url, *sizes) for sizes in BESIDE.values()))
        rows += [_row(f"  psycopg_pool, {what}", took, best) for what, took in zip(BESIDE, seconds, strict=True)]
    for parallel in (CAP, CAP // 4):
        what = f"start 20 s, {parallel} at once, in virtual time"
        took = await asyncio.to_thread(_in_virtual_time, parallel)
        rows.append(_row(what, took, ideal(LONG_START_SECONDS, parallel)))
    return rows
