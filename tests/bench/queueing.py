"""What queueing costs: 500 calls of 20 ms over 4 connections, beside the ideal of 2.5 s."""

import tempfile
from pathlib import Path

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.point_select import config
from tests.bench.wire import CONTEXT, exchange, unary
from tests.programs import Pooler

CALLS = 500
IDEAL_SECONDS = CALLS * 0.02 / 4


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what)."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), config(url)) as pooler:
        naps = [pb.CallRequest(context=CONTEXT, operation="nap") for _ in range(CALLS)]
        await exchange(pooler.address, naps[:8], 8)
        for name, send in (("unary", unary), ("exchange", exchange)):
            measured = await send(pooler.address, naps, CALLS)
            assert measured.failures == 0, f"{measured.failures} calls failed"
            ratio = measured.seconds / IDEAL_SECONDS
            rows.append(
                (
                    f"500 calls of 20 ms over 4 connections, {name}",
                    f"{measured.seconds:.2f} s",
                    f"{ratio:.2f} × the ideal",
                )
            )
    return rows
