"""A load generator that speaks the pooler's wire and nothing else: unary calls, or one exchange stream."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import grpc

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

CONTEXT = pb.CallContext(timeout_ms=60_000)


@dataclass(slots=True)
class Run:
    """What came of a load. `seconds`: from the first call sent to the last answer; `latencies` in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    backend_seconds: float = 0.0
    """What the backend worked for all of them together, as an exchange's answers say."""

    def percentile(self, share: float) -> float:
        """The latency that this share of the calls stays within, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def unary(address: str, requests: list[pb.CallRequest], callers: int) -> Run:
    """Sends each request once, this many at a time, as a gRPC call of its own."""
    run, todo = Run(), iter(requests)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = pooler_pb2_grpc.PoolerServiceStub(channel)
        await channel.channel_ready()

        async def caller() -> None:
            for request in todo:
                began = time.perf_counter()
                try:
                    await stub.Call(request)
                except grpc.aio.AioRpcError:
                    run.failures += 1
                run.latencies.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        run.seconds = time.perf_counter() - began
    return run


class Line:
    """One exchange stream. Whatever is asked in one turn of the loop travels as one message, as from a frontend."""

    def __init__(self) -> None:
        self._answered: dict[int, Callable[[pb.ExchangeHead], None]] = {}
        self._waiting: list[pb.ClientFrame] = [pb.ClientFrame(hello=pb.ClientHello(version=1, boot_id="bench"))]
        self._wake = asyncio.Event()
        self._all_answered = asyncio.Event()
        self._ids = 0
        self._over = False

    def ask(self, request: pb.CallRequest, answered: Callable[[pb.ExchangeHead], None]) -> int:
        """Sends a call; `answered` gets its head. Returns its id."""
        self._ids += 1
        self._answered[self._ids] = answered
        self._send(pb.ClientFrame(call=pb.ExchangeCall(id=self._ids, request=request)))
        return self._ids

    def cancel(self, call_id: int) -> None:
        """Leaves a call."""
        self._send(pb.ClientFrame(cancel=pb.ExchangeCancel(id=call_id)))

    async def settled(self) -> None:
        """Until every call has its head."""
        if self._answered:
            self._all_answered.clear()
            await self._all_answered.wait()

    def _send(self, frame: pb.ClientFrame) -> None:
        self._waiting.append(frame)
        self._wake.set()

    async def _batches(self) -> AsyncIterator[pb.ClientBatch]:
        while not self._over:
            if self._waiting:
                frames, self._waiting = self._waiting, []
                yield pb.ClientBatch(frames=frames)
            await self._wake.wait()
            self._wake.clear()

    async def _read(self, batches: AsyncIterable[pb.ServerBatch]) -> None:
        async for batch in batches:
            for frame in batch.frames:
                if frame.WhichOneof("frame") == "head":
                    self._answered.pop(frame.head.id)(frame.head)
            if not self._answered:
                self._all_answered.set()

    @classmethod
    @asynccontextmanager
    async def to(cls, address: str) -> AsyncIterator["Line"]:
        """A line to a pooler. What is still under way at the end is left to the pooler to cancel."""
        line = cls()
        async with grpc.aio.insecure_channel(address) as channel:
            stub = pooler_pb2_grpc.PoolerServiceStub(channel)
            await channel.channel_ready()
            reading = asyncio.create_task(line._read(stub.Exchange(line._batches())))
            try:
                yield line
            finally:
                line._over = True
                line._wake.set()
                if line._answered:
                    reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def exchange(address: str, requests: list[pb.CallRequest], callers: int) -> Run:
    """Sends each request once over one exchange stream, this many under way at a time."""
    run, todo = Run(), iter(requests)
    left, over = len(requests), asyncio.Event()

    def send_next() -> None:
        if (request := next(todo, None)) is not None:
            line.ask(request, partial(answered, time.perf_counter()))

    def answered(began: float, head: pb.ExchangeHead) -> None:
        nonlocal left
        run.latencies.append(time.perf_counter() - began)
        run.failures += head.HasField("error")
        run.backend_seconds += head.timing.backend_us / 1e6
        left -= 1
        if not left:
            over.set()
        send_next()

    async with Line.to(address) as line:
        began = time.perf_counter()
        for _ in range(callers):
            send_next()
        await over.wait()
        run.seconds = time.perf_counter() - began
    return run
