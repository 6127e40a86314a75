"""A load generator that speaks the pooler's wire and nothing else: unary calls, or one exchange stream."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

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


async def exchange(address: str, requests: list[pb.CallRequest], callers: int) -> Run:
    """Sends each request once over one exchange stream, this many under way at a time."""
    run, todo = Run(), iter(enumerate(requests, 1))
    sent: dict[int, float] = {}
    waiting: list[pb.ClientFrame] = []
    wake = asyncio.Event()

    def send_next() -> None:
        if (numbered := next(todo, None)) is not None:
            number, request = numbered
            waiting.append(pb.ClientFrame(call=pb.ExchangeCall(id=number, request=request)))
            sent[number] = time.perf_counter()
            wake.set()

    def answered(head: pb.ExchangeHead) -> None:
        run.latencies.append(time.perf_counter() - sent.pop(head.id))
        run.failures += head.HasField("error")
        send_next()
        wake.set()

    async def batches() -> AsyncIterator[pb.ClientBatch]:
        yield pb.ClientBatch(frames=[pb.ClientFrame(hello=pb.ClientHello(version=1, boot_id="bench"))])
        while sent or waiting:
            await wake.wait()
            wake.clear()
            frames, waiting[:] = waiting[:], []
            if frames:
                yield pb.ClientBatch(frames=frames)

    async with grpc.aio.insecure_channel(address) as channel:
        stub = pooler_pb2_grpc.PoolerServiceStub(channel)
        await channel.channel_ready()
        began = time.perf_counter()
        for _ in range(callers):
            send_next()
        async for batch in stub.Exchange(batches()):
            for frame in batch.frames:
                if frame.WhichOneof("frame") == "head":
                    answered(frame.head)
        run.seconds = time.perf_counter() - began
    return run
