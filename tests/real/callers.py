"""Callers of a pooler: many at once or one after another; as a program too, so that they can be killed.

`python -m tests.real.callers ADDRESS OPERATION COUNT SECONDS` makes so many calls at once, and waits for all of them.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from protos.penstock.v1 import pooler_pb2_grpc
from tests.interaction import wire

PATIENCE_MS = 60_000


async def outcome(
    stub: "pooler_pb2_grpc.PoolerServiceAsyncStub", operation: str, seconds: float, timeout_ms: int = PATIENCE_MS
) -> str:
    """How one call of a `work`-like operation ends: OK, or the name of its status."""
    try:
        await stub.Call(wire.request(operation, timeout_ms, seconds=seconds))
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


class Load:
    """Callers who call again and again, and what they heard."""

    def __init__(self, address: str, operation: str, callers: int, seconds: float) -> None:
        self.heard: Counter[str] = Counter()
        self._progress = asyncio.Condition()
        self._address, self._operation, self._callers, self._seconds = address, operation, callers, seconds

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """For as long as the block lasts; then every call is still waited for."""
        over = asyncio.Event()
        async with wire.stub(self._address) as stub, asyncio.TaskGroup() as callers:
            for _ in range(self._callers):
                callers.create_task(self._call(stub, over))
            try:
                yield self
            finally:
                over.set()

    async def more(self, answers: int) -> None:
        """Until there are so many more good answers."""
        target = self.heard["OK"] + answers
        async with self._progress:
            await self._progress.wait_for(lambda: self.heard["OK"] >= target)

    async def _call(self, stub: "pooler_pb2_grpc.PoolerServiceAsyncStub", over: asyncio.Event) -> None:
        while not over.is_set():
            heard = await outcome(stub, self._operation, self._seconds)
            async with self._progress:
                self.heard[heard] += 1
                self._progress.notify_all()


async def main(address: str, operation: str, count: int, seconds: float) -> None:
    """Makes the calls."""
    async with wire.stub(address) as stub:
        await asyncio.gather(*(outcome(stub, operation, seconds) for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
