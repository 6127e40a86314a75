"""How many starts a spike causes: two hundred short calls before a backend that takes a second to log in to.

Beside it stands a pool that starts one connection for each who waits, which is the quickest there can be. The system
counts its logins itself.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import orjson

from pooler.core.starts import Starts
from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import CONTEXT, Run, exchange
from tests.programs import Pooler
from tests.servers.counting import CountingServer

CALLERS = 200
WORK_SECONDS = 0.02
START_SECONDS = 1.0
LESSONS = 20

Rows = list[tuple[str, str, str]]


def config(address: str, cap: int, parallel: int, warm: int) -> dict[str, Any]:
    pool = {"cap": cap, "parallel_starts": parallel, "warm": warm}
    return {
        "backends": {"legacy": {"kind": "simulated", "address": address, "pool": pool}},
        "operations": {
            "work": {
                "backend": "legacy",
                "method": "work",
                "arguments": {"seconds": {"type": "number"}},
                "effect": "read",
            }
        },
    }


def paid_for(cap: int, work_seconds: float) -> int:
    """How many sessions the backlog pays for by the pool's own rule, the one that is open before it included."""
    starts = Starts(cap, lambda: 0.0)
    starts.took.learn(START_SECONDS)
    starts.work.learn(work_seconds)
    return min(cap, 1 + starts.worth(CALLERS, 1, 1))


async def spike(cap: int, parallel: int, lessons: int) -> tuple[float, int, float]:
    """Seconds until the last answer, how many sessions there were, and what a call took.

    `lessons`: calls that are made before, so that the pool knows what starts and calls take.
    """
    request = pb.CallRequest(context=CONTEXT, operation="work", arguments=orjson.dumps({"seconds": WORK_SECONDS}))
    with (
        tempfile.TemporaryDirectory() as folder,
        CountingServer(start_seconds=START_SECONDS) as system,
        Pooler(Path(folder), config(system.address, cap, parallel, warm=1 if lessons else 0)) as pooler,
    ):
        before = await exchange(pooler.address, [request] * lessons, 1) if lessons else Run()
        measured = await exchange(pooler.address, [request] * CALLERS, CALLERS)
        assert measured.failures == 0
        work_seconds = before.backend_seconds / max(1, lessons)
        return measured.seconds, await asyncio.to_thread(_sessions_ever, system), work_seconds


def _sessions_ever(system: CountingServer) -> int:
    return max(session.number for session in system.sessions())


async def run(url: str) -> Rows:
    """Rows of (what, figure, beside what). The database's url is not needed: this backend counts for itself."""
    del url
    everything, most, _ = await spike(CALLERS, CALLERS, lessons=0)
    rows = [(f"{CALLERS} × 20 ms, start 1 s, a start for each", f"{everything:.2f} s, {most} starts", "")]
    for what, cap, parallel, lessons in (
        ("when starts and calls are known, cap 200", CALLERS, CALLERS, LESSONS),
        ("when starts and calls are known, cap 20", 20, 20, LESSONS),
        ("when nothing is known, cap 20", 20, 20, 0),
        ("when nothing is known, cap 20, 4 at once", 20, 4, 0),
    ):
        seconds, starts, work_seconds = await spike(cap, parallel, lessons)
        ratio = f"{seconds / everything:.2f} × the time, {starts / most:.2f} × the starts"
        if lessons:
            ratio += f"; {paid_for(cap, work_seconds)} are paid for"
        rows.append((f"  {what}", f"{seconds:.2f} s, {starts} starts", ratio))
    return rows
