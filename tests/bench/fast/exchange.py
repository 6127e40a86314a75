"""Callers of the pooler alone, over the exchange of the frontend's own client, as a program; each answer is looked at.

`python -m tests.bench.fast.exchange ADDRESS OPERATION KEYS CALLERS SECONDS SEED` prints what it heard as wrk does here,
one JSON object.
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial

import uvloop

from frontend.auth import Caller
from frontend.errors import PoolerError
from frontend.events import Reply
from frontend.operations import Offer, Operation
from frontend.pooler_client import Call, PoolerClient
from tests.bench.fast.load import Heard

CALLER = Caller("default", "bench")
CALLS_MAX, RESULT_BYTES_MAX = 10_000, 1 << 20
PATIENCE_SECONDS = 60.0


class Loop:
    """A closed loop: whoever has his answer asks again, until it is over."""

    def __init__(self, client: PoolerClient, operation: Operation, keys: int) -> None:
        self.latencies: list[float] = []
        self.wrong = 0
        self.seconds = self.cpu_seconds = 0.0
        self._client, self._operation, self._keys = client, operation, keys
        self._under_way = 0
        self._over, self._settled = False, asyncio.Event()
        self._names = itertools.count()

    async def run(self, callers: int, seconds: float) -> None:
        """Until the last answer."""
        began, used = time.perf_counter(), time.process_time()
        for _ in range(callers):
            self._ask()
        await asyncio.sleep(seconds)
        self._over = True
        await self._settled.wait()
        self.seconds, self.cpu_seconds = time.perf_counter() - began, time.process_time() - used

    def heard(self) -> Heard:
        ordered = sorted(self.latencies)
        p50, p99 = (1e3 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        return Heard(len(ordered), self.seconds, p50, p99, self.cpu_seconds, self.wrong)

    def _ask(self) -> None:
        key = random.randint(1, self._keys)
        call = Call(self._operation, b'{"id":%d}' % key, CALLER, PATIENCE_SECONDS, f"b{next(self._names)}")
        self._under_way += 1
        self._client.begin(call, partial(self._answered, time.perf_counter(), b"[[%d," % key))

    def _answered(self, began: float, row: bytes, reply: Reply | PoolerError) -> None:
        self._under_way -= 1
        self.latencies.append(time.perf_counter() - began)
        if isinstance(reply, PoolerError) or row not in reply.body:
            self.wrong += 1
            print("not right:", reply, file=sys.stderr)
        if not self._over:
            self._ask()
        elif not self._under_way:
            self._settled.set()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[PoolerClient, Offer]]:
    """A client, and what the pooler offers."""
    offers: asyncio.Queue[Offer] = asyncio.Queue()
    client = PoolerClient(address, CALLER, CALLS_MAX, RESULT_BYTES_MAX)
    client.start(offers.put_nowait)
    try:
        yield client, await offers.get()
    finally:
        await client.close()


async def main(address: str, name: str, keys: int, callers: int, seconds: float, seed: int) -> None:
    """Asks for so long, and says what it heard."""
    random.seed(seed)
    async with connected(address) as (client, offer):
        loop = Loop(client, next(operation for operation in offer.operations if operation.name == name), keys)
        await loop.run(callers, seconds)
    print(json.dumps(asdict(loop.heard())))


if __name__ == "__main__":
    _, where, what, *numbers = sys.argv
    count, at_once, duration, chance = numbers
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(where, what, int(count), int(at_once), float(duration), int(chance)))
