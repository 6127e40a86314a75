"""An exchange stream as a load generator uses it: whatever is begun in one turn of the loop travels as one message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

import grpc

from pooler.service.load import (
    GOOD,
    INPUT_REQUIRED,
    WAY_BROKEN,
    Done,
    Leave,
    LoadAnswer,
    LoadCall,
    LoadWay,
    connected,
    request_of,
    shared_of,
    timed,
)
from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1.pooler_pb2_grpc import PoolerServiceStub

if TYPE_CHECKING:
    # A class that exists for type checkers only.
    from protos.penstock.v1.pooler_pb2_grpc import PoolerServiceAsyncStub

WINDOW_BYTES = 1 << 20
"""As frontends have it: so many bytes of a result travel without credit."""


class StreamWay(LoadWay):
    """Calls over one stream at a time. A stream that ends takes its calls along; the next call opens another one."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._streams: list[_Stream] = []

    async def open(self) -> None:
        """Connects. Raises LoadError."""
        self._channel = await connected(self._address)

    def begin(self, call: LoadCall, done: Done) -> Leave:
        """Sends a call. Leaving takes it back, over the same stream."""
        assert self._channel is not None, "not open"
        if not self._streams or not self._streams[-1].usable:
            self._streams = [stream for stream in self._streams if not stream.ended]
            self._streams.append(_Stream(PoolerServiceStub(self._channel)))
        return self._streams[-1].begin(call, done)

    async def close(self) -> None:
        """Ends what is under way."""
        for stream in self._streams:
            await stream.close()
        if self._channel is not None:
            await self._channel.close()


class _Pending:
    """A call without its whole answer."""

    __slots__ = ("answer", "done", "left")

    def __init__(self, done: Done) -> None:
        self.done = done
        self.left = 0
        """Bytes of the result that are still to come."""
        self.answer: LoadAnswer | None = None


class _Stream:
    def __init__(self, stub: "PoolerServiceAsyncStub") -> None:
        self.usable = True
        self.ended = False
        self._calls: dict[int, _Pending] = {}
        self._last_id = 0
        hello = pb.ClientHello(version=1, boot_id="loadtest", call_window_bytes=WINDOW_BYTES)
        self._outbox = [pb.ClientFrame(hello=hello)]
        self._filled = asyncio.Event()
        self._filled.set()
        self._wire = stub.Exchange(self._batches())
        self._reading = asyncio.ensure_future(self._read())

    def begin(self, call: LoadCall, done: Done) -> Leave:
        self._last_id += 1
        number = self._last_id
        self._calls[number] = _Pending(done)
        self._send(pb.ClientFrame(call=pb.ExchangeCall(id=number, request=request_of(call))))

        def leave() -> None:
            if self._calls.pop(number, None) is not None:
                self._send(pb.ClientFrame(cancel=pb.ExchangeCancel(id=number)))

        return leave

    async def close(self) -> None:
        self._calls.clear()
        self._end()
        self._wire.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    def _send(self, frame: pb.ClientFrame) -> None:
        self._outbox.append(frame)
        self._filled.set()

    async def _batches(self) -> AsyncIterator[pb.ClientBatch]:
        while not self.ended:
            await self._filled.wait()
            self._filled.clear()
            frames, self._outbox = self._outbox, []
            if frames:
                yield pb.ClientBatch(frames=frames)

    async def _read(self) -> None:
        try:
            async for batch in self._wire:
                for frame in batch.frames:
                    self._take(frame)
        except grpc.RpcError:
            pass  # whatever broke it, its calls say that it broke
        finally:
            self._end()

    def _take(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("frame"):
            case "head":
                self._take_head(frame.head)
            case "piece":
                self._take_piece(frame.piece)
            case "go_away":
                self.usable = False

    def _take_head(self, head: pb.ExchangeHead) -> None:
        if (pending := self._calls.get(head.id)) is None:
            return
        answer = timed(_outcome(head), head.timing, shared_of(head))
        pending.left = head.total_bytes - len(head.result)
        if pending.left and not head.HasField("error"):
            pending.answer = answer
        else:
            del self._calls[head.id]
            pending.done(answer)

    def _take_piece(self, piece: pb.ExchangePiece) -> None:
        if (pending := self._calls.get(piece.id)) is None or pending.answer is None:
            return
        pending.left -= len(piece.data)
        if pending.left > 0:
            self._send(pb.ClientFrame(credit=pb.ExchangeCredit(id=piece.id, bytes=len(piece.data))))
        else:
            del self._calls[piece.id]
            pending.done(pending.answer)

    def _end(self) -> None:
        self.usable, self.ended = False, True
        self._filled.set()
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            pending.done(LoadAnswer(WAY_BROKEN))


def _outcome(head: pb.ExchangeHead) -> str:
    if head.HasField("error"):
        return _reason(head.error.reason)
    return INPUT_REQUIRED if head.kind == pb.RESULT_KIND_INPUT_REQUIRED else GOOD


@lru_cache(maxsize=128)
def _reason(reason: "pb.Reason.ValueType") -> str:
    try:
        return pb.Reason.Name(reason).removeprefix("REASON_")
    except ValueError:
        return f"REASON_{int(reason)}"  # a newer pooler's
