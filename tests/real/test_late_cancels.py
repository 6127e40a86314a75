"""Callers who leave again and again, and others who must never notice: a cancel hits its own statement or none.

The server is the oracle of the cap as well: a cancel over a side channel is a connection like any other.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from protos.penstock.v1 import pooler_pb2_grpc
from tests.interaction import wire
from tests.programs import Pooler
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

CONNECTIONS = 3
LEAVES = 300
NAP_SECONDS = 0.03
"""Callers leave before, during and after this, so that cancels meet ends."""


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_server")


def config(server: PostgresServer | MariadbServer) -> dict[str, Any]:
    if isinstance(server, PostgresServer):
        kind, cap, sleep = "postgres", CONNECTIONS, "pg_sleep"
        answer = "SELECT 0 AS cut, :number + 0 AS number FROM pg_sleep(0.005)"
    else:
        kind, cap, sleep = "sqlalchemy", CONNECTIONS + 1, "sleep"  # one is the reserve for cancels
        answer = "SELECT sleep(0.005) AS cut, :number + 0 AS number"  # a sleep that was cut short says 1
    number = {"type": "number"}
    return {
        "backends": {"db": {"kind": kind, "url": server.url, "pool": {"cap": cap, "parallel_starts": CONNECTIONS}}},
        "operations": {
            "nap": {
                "backend": "db",
                "statement": f"SELECT {sleep}(:seconds)",
                "arguments": {"seconds": number},
                "effect": "read",
            },
            "answer": {
                "backend": "db",
                "statement": answer,
                "arguments": {"number": {"type": "integer"}},
                "effect": "read",
            },
        },
    }


async def leave_again_and_again(stub: "pooler_pb2_grpc.PoolerServiceAsyncStub", chance: random.Random) -> int:
    """Calls and leaves in mid-call; says how often it left before the answer came."""
    left = 0
    for _ in range(LEAVES // CONNECTIONS):
        try:
            async with asyncio.timeout(chance.uniform(0, 1.5 * NAP_SECONDS)):
                await stub.Call(wire.request("nap", seconds=NAP_SECONDS))
        except TimeoutError:
            left += 1
    return left


async def stay(stub: "pooler_pb2_grpc.PoolerServiceAsyncStub", numbers: range, over: asyncio.Event) -> int:
    """Calls until it is over, and gets its own answer every time; says how often."""
    answered = 0
    while not over.is_set():
        number = numbers[answered % len(numbers)]
        reply = await stub.Call(wire.request("answer", number=number))
        assert orjson.loads(reply.result)["rows"] == [[0, number]]
        answered += 1
    return answered


@asynccontextmanager
async def watched(server: PostgresServer | MariadbServer) -> AsyncIterator[list[int]]:
    """What the server counts, as often as it can be asked."""
    counts: list[int] = []
    over = asyncio.Event()

    async def watch() -> None:
        while not over.is_set():
            counts.append(await asyncio.to_thread(server.connections))

    watching = asyncio.ensure_future(watch())
    try:
        yield counts
    finally:
        over.set()
        await watching


@pytest.mark.promise(4, 19)
async def test_cancels_that_come_late_hit_nobody_else_and_count_in_the_cap(server: Any, tmp_path: Path) -> None:
    configuration = config(server)
    cap = configuration["backends"]["db"]["pool"]["cap"]
    with Pooler(tmp_path, configuration) as pooler:
        over = asyncio.Event()
        async with asyncio.timeout(60), wire.stub(pooler.address) as stub, watched(server) as counts:
            staying = [asyncio.ensure_future(stay(stub, range(k * 1000, k * 1000 + 1000), over)) for k in range(4)]
            left = await asyncio.gather(
                *(leave_again_and_again(stub, random.Random(seed)) for seed in range(CONNECTIONS))
            )
            over.set()
            answered = await asyncio.gather(*staying)
    assert sum(left) > LEAVES / 4
    assert min(answered) > 10
    assert max(counts) <= cap
