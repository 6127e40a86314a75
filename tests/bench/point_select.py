"""What a warm point SELECT costs the pooler: CPU per call, over unary calls and over an exchange."""

import tempfile
from pathlib import Path
from typing import Any

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import CONTEXT, Run, exchange, unary
from tests.programs import Pooler

CALLS = 4000
WARM_UP = 400


def config(url: str) -> dict[str, Any]:
    return {
        "backends": {"orders": {"kind": "postgres", "url": url, "pool": {"cap": 4, "warm": 4, "parallel_starts": 4}}},
        "operations": {
            "point": {
                "backend": "orders",
                "statement": "SELECT id, filler FROM points WHERE id = :id",
                "arguments": {"id": {"type": "integer"}},
                "effect": "read",
            },
            "shared": {
                "backend": "orders",
                "statement": "SELECT id, filler FROM points WHERE id = :id",
                "arguments": {"id": {"type": "integer"}},
                "effect": "read",
                "share": True,
            },
            "nap": {"backend": "orders", "statement": "SELECT pg_sleep(0.02)", "effect": "read"},
        },
    }


def points(count: int, operation: str = "point") -> list[pb.CallRequest]:
    return [
        pb.CallRequest(context=CONTEXT, operation=operation, arguments=b'{"id":%d}' % (1 + number % 1000))
        for number in range(count)
    ]


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what)."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), config(url)) as pooler:
        await exchange(pooler.address, points(WARM_UP), 8)
        for name, send, callers, operation in (
            ("unary, 1 caller", unary, 1, "point"),
            ("unary, 32 callers", unary, 32, "point"),
            ("exchange, 1 caller", exchange, 1, "point"),
            ("exchange, 32 callers", exchange, 32, "point"),
            ("exchange, 256 callers", exchange, 256, "point"),
            ("exchange, shared, 32 callers", exchange, 32, "shared"),
            ("exchange, shared, 256 callers", exchange, 256, "shared"),
        ):
            before = pooler.cpu_seconds()
            measured: Run = await send(pooler.address, points(CALLS, operation), callers)
            cpu = (pooler.cpu_seconds() - before) / CALLS
            figure = f"{cpu * 1e6:.0f} µs CPU a call, {CALLS / measured.seconds:.0f} calls/s"
            rows.append((f"point SELECT, {name}", figure, f"bound 1000 µs: {cpu * 1e3:.2f} ×"))
            assert measured.failures == 0, f"{measured.failures} calls failed"
    return rows
