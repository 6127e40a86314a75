"""One exchange stream: many calls at once over one long gRPC stream, whatever is waiting sent as one message.

Two tasks serve a stream, whatever the number of calls: one writes, one reads. A call is a future and a frame. This file
never repeats a call and never opens a second stream; it says honestly whether a call may have left.
"""

import asyncio
import contextlib
from collections import deque
from typing import TypeAlias

import grpc
import structlog
from grpc.aio import StreamStreamCall

from frontend.errors import PoolerError, result_too_large
from frontend.events import Reply
from frontend.pooler_client.calls import Interrupted
from frontend.pooler_client.convert import error_of, hello, reply_of
from frontend.pooler_client.way import describe
from protos.penstock.v1 import pooler_pb2 as pb

log = structlog.get_logger(__name__)

WINDOW_BYTES = 1024 * 1024
"""Bytes of one result that travel before the pooler waits for credit."""

BATCH_BYTES_MAX = 1024 * 1024
"""A message is closed when it reaches this; one larger call still travels alone."""

Wire: TypeAlias = StreamStreamCall[pb.ClientBatch, pb.ServerBatch]


class _Pending:
    """A call that has no answer yet."""

    __slots__ = ("future", "head", "id", "pieces", "received", "request", "sent")

    def __init__(self, id_: int, request: pb.CallRequest, future: asyncio.Future[Reply]) -> None:
        self.id = id_
        self.request = request
        self.future = future
        self.sent = False
        self.head: pb.ExchangeHead | None = None
        self.pieces: list[bytes] = []
        self.received = 0

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Exchange:
    """A stream that has been greeted. Made by `greet`; ended by `close`, by the pooler, or by the network."""

    def __init__(self, wire: Wire, greeting: pb.ServerHello, result_bytes_max: int) -> None:
        self.boot_id = greeting.boot_id
        self._wire = wire
        self._request_bytes_max = greeting.request_bytes_max
        self._result_bytes_max = result_bytes_max
        self._calls: dict[int, _Pending] = {}
        self._last_id = 0
        self._outbox: deque[_Pending | pb.ClientFrame] = deque()
        self._outbox_filled = asyncio.Event()
        self._leaving = False
        self._ended = False
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    def __repr__(self) -> str:
        state = "ended" if self._ended else "leaving" if self._leaving else "open"
        return f"<Exchange {state} with {self.boot_id}, {len(self._calls)} calls>"

    @property
    def usable(self) -> bool:
        """Whether a new call may be sent on it."""
        return not (self._leaving or self._ended)

    @property
    def ended(self) -> bool:
        return self._ended

    async def call(self, request: pb.CallRequest, silent_after: float) -> Reply:
        """Sends a call and waits for its answer; a caller that leaves takes the call back.

        `silent_after`: the loop's time at which the pooler's silence is taken for its absence.
        Raises PoolerError as the pooler said it, Interrupted when there was no answer.
        """
        loop = asyncio.get_running_loop()
        self._refuse_oversize(request)
        self._last_id += 1
        pending = _Pending(self._last_id, request, loop.create_future())
        self._calls[pending.id] = pending
        self._send(pending)
        silence = loop.call_at(silent_after, self._fall_silent, pending)
        try:
            return await pending.future
        finally:
            silence.cancel()
            if self._calls.pop(pending.id, None) is not None and pending.sent:
                self._send(pb.ClientFrame(cancel=pb.ExchangeCancel(id=pending.id)))
            self._leave_when_empty()

    async def close(self) -> None:
        """Ends the stream and, with it, every call that is under way on it."""
        self._end("this frontend is stopping")
        self._wire.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What goes out

    def _send(self, item: _Pending | pb.ClientFrame) -> None:
        if not self._ended:
            self._outbox.append(item)
            self._outbox_filled.set()
        elif isinstance(item, _Pending):
            item.fail(Interrupted("the stream to the pooler has ended", sent=False))

    async def _write(self) -> None:
        # The reader hears of a broken stream with its cause, and says so to everybody.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while not self._ended:
                await self._outbox_filled.wait()
                self._outbox_filled.clear()
                while self._outbox:
                    batch = self._gather()
                    if batch.frames:
                        await self._wire.write(batch)

    def _gather(self) -> pb.ClientBatch:
        """All that is waiting, up to the size of a message. A call whose caller has left is not sent at all."""
        batch = pb.ClientBatch()
        size = 0
        while self._outbox and size < BATCH_BYTES_MAX:
            item = self._outbox.popleft()
            if isinstance(item, _Pending):
                if item.id not in self._calls:
                    continue
                item.sent = True
                batch.frames.add(call=pb.ExchangeCall(id=item.id, request=item.request))
                size += len(item.request.arguments)
            else:
                batch.frames.append(item)
        return batch

    # What comes in

    async def _read(self) -> None:
        cause = "the pooler ended the stream"
        try:
            while isinstance(batch := await self._wire.read(), pb.ServerBatch):
                for frame in batch.frames:
                    self._take(frame)
        except grpc.RpcError as error:
            cause = describe(error)
        finally:
            self._end(cause)

    def _take(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("frame"):
            case "head":
                self._take_head(frame.head)
            case "piece":
                self._take_piece(frame.piece)
            case "go_away":
                self._go_away()
            case other:
                log.warning("frame ignored", frame=other, boot_id=self.boot_id)

    def _take_head(self, head: pb.ExchangeHead) -> None:
        if (pending := self._calls.get(head.id)) is None:
            return
        if head.HasField("error"):
            self._answered(pending).fail(error_of(head.error))
        elif head.total_bytes == len(head.result):
            self._deliver(pending, head, head.result)
        elif head.total_bytes > self._result_bytes_max:
            # Not popped from the calls: the caller's own way out takes the rest of it back.
            pending.fail(result_too_large(head.total_bytes, self._result_bytes_max))
        else:
            pending.head = head

    def _take_piece(self, piece: pb.ExchangePiece) -> None:
        if (pending := self._calls.get(piece.id)) is None or pending.head is None:
            return
        pending.pieces.append(piece.data)
        pending.received += len(piece.data)
        if pending.received < pending.head.total_bytes:
            self._send(pb.ClientFrame(credit=pb.ExchangeCredit(id=piece.id, bytes=len(piece.data))))
        elif pending.received == pending.head.total_bytes:
            self._deliver(pending, pending.head, b"".join(pending.pieces))
        else:
            sizes = f"{pending.received} bytes where {pending.head.total_bytes} were announced"
            pending.fail(PoolerError("INTERNAL", f"The pooler sent a broken result: {sizes}."))

    def _deliver(self, pending: _Pending, head: pb.ExchangeHead, body: bytes) -> None:
        if not self._answered(pending).future.done():
            pending.future.set_result(reply_of(head, body))

    def _answered(self, pending: _Pending) -> _Pending:
        """From here on there is nothing left to cancel."""
        return self._calls.pop(pending.id)

    # How it ends

    def _fall_silent(self, pending: _Pending) -> None:
        pending.fail(Interrupted("the pooler did not answer in time", pending.sent))

    def _go_away(self) -> None:
        """What has not left yet takes another stream; what has is still answered on this one."""
        self._leaving = True
        for pending in [pending for pending in self._calls.values() if not pending.sent]:
            self._answered(pending).fail(Interrupted("the pooler is going away", sent=False))
        self._leave_when_empty()

    def _leave_when_empty(self) -> None:
        """After a GoAway: a stream without calls is closed, so that the pooler can stop."""
        if self._leaving and not self._calls and not self._ended:
            self._end("the pooler is going away")
            self._wire.cancel()

    def _end(self, cause: str) -> None:
        if self._ended:
            return
        self._ended = True
        log.info("disconnected", boot_id=self.boot_id, cause=cause, calls=len(self._calls))
        self._outbox_filled.set()
        for pending in self._calls.values():
            pending.fail(Interrupted(cause, pending.sent))
        self._calls.clear()
        self._outbox.clear()

    def _refuse_oversize(self, request: pb.CallRequest) -> None:
        size, most = len(request.arguments), self._request_bytes_max
        if most and size > most:
            raise PoolerError("INVALID_ARGUMENTS", f"The arguments have {size} bytes; the pooler takes {most}.")


async def greet(wire: Wire, boot_id: str, result_bytes_max: int) -> Exchange:
    """Exchanges Hellos on a fresh stream. Until this has succeeded, no call can have left on it.

    Raises PoolerError when the pooler does not speak this wire, grpc.RpcError when it is not there.
    """
    await wire.write(hello(boot_id, WINDOW_BYTES))
    first = await wire.read()
    if not isinstance(first, pb.ServerBatch) or not first.frames or first.frames[0].WhichOneof("frame") != "hello":
        raise PoolerError("POOLER_AWAY", "What answers at the pooler's address does not greet as a pooler does.")
    greeting = first.frames[0].hello
    if greeting.version != 1:
        raise PoolerError("POOLER_AWAY", f"The pooler speaks revision {greeting.version} of the wire, not 1.")
    exchange = Exchange(wire, greeting, result_bytes_max)
    for frame in first.frames[1:]:
        exchange._take(frame)
    return exchange
