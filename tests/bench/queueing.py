"""What queueing costs: 500 calls of 20 ms over 4 connections, beside the ideal of 2.5 s.

And beside the least that can be had here: psycopg, each connection asking for its next nap as soon as the last is over.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import psycopg

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.point_select import config
from tests.bench.wire import CONTEXT, exchange, unary
from tests.programs import Pooler

CALLS = 500
CONNECTIONS = 4
IDEAL_SECONDS = CALLS * 0.02 / CONNECTIONS


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what)."""
    floor = await _back_to_back(url)
    rows = [("500 calls of 20 ms over 4 connections, psycopg and nothing else", f"{floor:.2f} s", "")]
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), config(url)) as pooler:
        naps = [pb.CallRequest(context=CONTEXT, operation="nap") for _ in range(CALLS)]
        await exchange(pooler.address, naps[:8], 8)
        for name, send in (("unary", unary), ("exchange", exchange)):
            measured = await send(pooler.address, naps, CALLS)
            assert measured.failures == 0, f"{measured.failures} calls failed"
            ratio = measured.seconds / IDEAL_SECONDS
            rows.append(
                (
                    f"  through the pooler, {name}",
                    f"{measured.seconds:.2f} s",
                    f"{ratio:.2f} × the ideal, {measured.seconds / floor:.2f} × psycopg alone",
                )
            )
    return rows


async def _back_to_back(url: str) -> float:
    """Seconds for as many naps without a queue, a hand-over or a wire."""

    async def naps() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for _ in range(CALLS // CONNECTIONS):
                await connection.execute("SELECT pg_sleep(0.02)", prepare=True)

    began = time.perf_counter()
    await asyncio.gather(*(naps() for _ in range(CONNECTIONS)))
    return time.perf_counter() - began
