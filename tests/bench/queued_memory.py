"""What a call that waits costs the pooler in memory: ten thousand of them, queued over one exchange."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import psutil

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import Line
from tests.programs import Pooler

QUEUED = 10_000
BATCH = 100
"""How many travel as one message."""
TARGET_BYTES = 1536
CONFIG: dict[str, Any] = {
    "pooler": {"calls_max": 2 * QUEUED},
    "backends": {
        "stuck": {"kind": "simulated", "hang": ["execute"], "pool": {"cap": 1, "warm": 1, "queue_max": QUEUED}}
    },
    "operations": {
        "wait": {
            "backend": "stuck",
            "method": "echo",
            "arguments": {"value": {"type": "string"}},
            "effect": "read",
            "timeout_seconds": 3600,
        }
    },
}


def request(number: int) -> pb.CallRequest:
    """A call as a frontend sends it: a tenant, a principal, a request id of its own, a trace."""
    return pb.CallRequest(
        context=pb.CallContext(
            tenant="acme",
            principal=f"user-{number % 100}",
            timeout_ms=3_600_000,
            request_id=f"{number:032x}",
            traceparent=f"00-{number:032x}-{number:016x}-01",
        ),
        operation="wait",
        arguments=b'{"value":"customer %d"}' % number,
    )


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what). The database's url is not needed: this backend never answers."""
    del url
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), CONFIG) as pooler:
        process = psutil.Process(pooler.pid)
        async with Line.to(pooler.address) as line:
            await _fill(line, BATCH + 1)  # one is at work; and what is made only once is there now
            before = process.memory_full_info().uss
            await _fill(line, QUEUED - BATCH)
            grown = process.memory_full_info().uss - before
            refusal = asyncio.get_running_loop().create_future()
            line.ask(request(0), refusal.set_result)
            assert (await refusal).error.reason == pb.REASON_QUEUE_FULL, "not all of them wait"
    each = grown / (QUEUED - BATCH)
    return [
        (
            f"{QUEUED} calls queued over one exchange, in the pooler",
            f"{each:.0f} bytes each",
            f"{each / TARGET_BYTES:.2f} × {TARGET_BYTES} bytes",
        )
    ]


async def _fill(line: Line, count: int) -> None:
    """Queues so many calls. A call of an operation that does not exist is answered once those before it are taken."""
    for first in range(0, count, BATCH):
        for number in range(first, min(first + BATCH, count)):
            line.ask(request(number), _never)
        taken = asyncio.get_running_loop().create_future()
        line.ask(pb.CallRequest(context=pb.CallContext(timeout_ms=1000), operation="none"), taken.set_result)
        await taken


def _never(head: pb.ExchangeHead) -> None:
    raise AssertionError(f"a call that should wait was answered: {head}")
