"""A client of the wire for tests: every frame in its hand, and nothing done that a test did not ask for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import orjson

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

HELLO = pb.ClientFrame(hello=pb.ClientHello(version=1, boot_id="test"))


def request(operation: str, timeout_ms: int = 10_000, **arguments: Any) -> pb.CallRequest:
    """A call with these arguments."""
    context = pb.CallContext(timeout_ms=timeout_ms)
    return pb.CallRequest(context=context, operation=operation, arguments=orjson.dumps(arguments))


def call(call_id: int, operation: str, timeout_ms: int = 10_000, **arguments: Any) -> pb.ClientFrame:
    """The same as a frame."""
    return pb.ClientFrame(call=pb.ExchangeCall(id=call_id, request=request(operation, timeout_ms, **arguments)))


def cancel(call_id: int) -> pb.ClientFrame:
    return pb.ClientFrame(cancel=pb.ExchangeCancel(id=call_id))


def credit(call_id: int, count: int) -> pb.ClientFrame:
    return pb.ClientFrame(credit=pb.ExchangeCredit(id=call_id, bytes=count))


class Stream:
    """An open exchange: frames out, frames in, one at a time."""

    def __init__(self, stub: "pooler_pb2_grpc.PoolerServiceAsyncStub") -> None:
        self._wire = stub.Exchange()
        self._frames: list[pb.ServerFrame] = []

    async def send(self, *frames: pb.ClientFrame) -> None:
        """Sends these frames as one message."""
        await self._wire.write(pb.ClientBatch(frames=frames))

    async def frame(self) -> pb.ServerFrame:
        """The next frame. Raises EOFError when the pooler has ended the stream."""
        while not self._frames:
            batch = await self._wire.read()
            if batch is grpc.aio.EOF:
                raise EOFError
            assert isinstance(batch, pb.ServerBatch)
            self._frames.extend(batch.frames)
        return self._frames.pop(0)

    async def head(self) -> pb.ExchangeHead:
        """The next frame, which must be a head."""
        frame = await self.frame()
        assert frame.WhichOneof("frame") == "head", frame
        return frame.head

    async def ended(self) -> grpc.StatusCode:
        """Reads to the end of the stream, and says with which status it came."""
        try:
            while True:
                await self.frame()
        except (EOFError, grpc.aio.AioRpcError):
            return await self._wire.code()

    async def half_close(self) -> None:
        """Says that no frame will follow."""
        await self._wire.done_writing()

    def leave(self) -> None:
        """Drops the stream, as a killed process would."""
        self._wire.cancel()


@asynccontextmanager
async def stub(address: str) -> AsyncIterator["pooler_pb2_grpc.PoolerServiceAsyncStub"]:
    """A pooler's data plane."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield pooler_pb2_grpc.PoolerServiceStub(channel)


@asynccontextmanager
async def stream(address: str, *, window: int = 0) -> AsyncIterator[Stream]:
    """An exchange that has exchanged its Hellos."""
    async with stub(address) as data, asyncio.timeout(20):
        opened = Stream(data)
        await opened.send(pb.ClientFrame(hello=pb.ClientHello(version=1, boot_id="test", call_window_bytes=window)))
        assert (await opened.frame()).WhichOneof("frame") == "hello"
        yield opened
        opened.leave()
