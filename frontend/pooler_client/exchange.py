"""One exchange: many calls at once over one line, whatever is waiting sent as one message.

There is no task for a stream and none for a call: a call is an entry and a frame. This file never repeats a call and
never opens a second stream; it says honestly whether a call may have left. What carries the messages is a `Line`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import DecodeError

from frontend.errors import PoolerError, result_too_large
from frontend.events import Reply
from frontend.logs import Logger
from frontend.pooler_client.calls import Call, Interrupted, Sent
from frontend.pooler_client.convert import error_of, fill_request, hello, reply_of
from frontend.pooler_client.line import Line
from frontend.pooler_client.pending import Awaited, Ending, Pending
from protos.penstock.v1 import pooler_pb2 as pb

log = Logger(__name__)

WINDOW_BYTES = 1024 * 1024
"""Bytes of one result that travel before the pooler waits for credit."""

BATCH_BYTES_MAX = 1024 * 1024
"""A message is closed when it reaches this; one larger call still travels alone."""

SILENCE_SECONDS = 2.0
"""How long after a call's time a pooler may still answer, before its silence is taken for its absence."""

SILENCE_CHECK_SECONDS = 0.5
"""How often it is looked for calls that are answered with silence. One timer for all costs a call nothing."""

Invalidated: TypeAlias = Callable[[Collection[str], bool], None]
"""Gets the tags that were invalidated, and whether everything was."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a frontend says of itself, and what it holds an exchange to."""

    boot_id: str
    reached_as: str
    result_bytes_max: int
    on_invalidate: Invalidated | None = None
    """For a frontend that gives answers again; None: it does not."""


class Exchange:
    """One stream; takes calls once it was greeted. Ended by `close`, by the pooler, or by the network."""

    def __init__(self, line: Line, terms: Terms, on_end: Callable[[], None] = lambda: None) -> None:
        self.boot_id = ""
        self.local_address = ""
        """Where the same pooler serves exchanges at less cost; or empty."""
        self._line = line
        self._terms = terms
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[pb.ServerHello] = self._loop.create_future()
        self._request_bytes_max = 0
        self._remembers = False
        self._calls: dict[int, Pending] = {}
        self._last_id = 0
        self._outbox: deque[Pending | pb.ClientFrame] = deque()
        self._flush_is_due = False
        self._silence: asyncio.TimerHandle | None = None
        self._leaving = False
        self._ended = False

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

    async def greet(self) -> None:
        """Exchanges Hellos. Until this has succeeded, no call can have left on it. Raises PoolerError, Interrupted."""
        self._line.listen(self)
        terms = self._terms
        near = terms.on_invalidate is not None
        self._line.write(hello(terms.boot_id, WINDOW_BYTES, near, terms.reached_as))
        greeting = await self._greeting
        if greeting.version != 1:
            raise PoolerError("POOLER_AWAY", f"The pooler speaks revision {greeting.version} of the wire, not 1.")
        self.boot_id = greeting.boot_id
        self.local_address = greeting.local_address
        self._request_bytes_max = greeting.request_bytes_max
        self._remembers = greeting.remembers_ms > 0

    def begin(self, pending: Pending) -> None:
        """Sends a call; `pending` hears how it ended, later.

        Raises PoolerError when it cannot be sent at all, Interrupted when not on this stream.
        """
        size, most = len(pending.call.arguments), self._request_bytes_max
        if most and size > most:
            raise PoolerError("INVALID_ARGUMENTS", f"The arguments have {size} bytes; the pooler takes {most}.")
        if self._ended:
            raise Interrupted("the stream to the pooler has ended", sent=False)
        self._last_id += 1
        pending.id = self._last_id
        pending.exchange = self
        self._calls[pending.id] = pending
        self._outbox.append(pending)
        self._flush_soon()
        if self._silence is None:
            self._silence = self._loop.call_later(SILENCE_CHECK_SECONDS, self._look_for_silence)

    async def call(self, call: Call, deadline: float, known_to: Sent | None = None) -> Reply:
        """The same for a task. Raises PoolerError as the pooler said it, Interrupted when there was no answer.

        A task that is cancelled takes its call back.
        """
        pending = Awaited(call, deadline, known_to)
        self.begin(pending)
        return await pending.answer()

    def leave(self, pending: Pending) -> bool:
        """A caller takes its call back. Returns whether it was under way; else nothing happens."""
        if self._calls.pop(pending.id, None) is None:
            return False
        if pending.sent:
            self._send(pb.ClientFrame(cancel=pb.ExchangeCancel(id=pending.id)))
        self._leave_when_empty()
        return True

    def retire(self) -> None:
        """Takes no further call, and closes with the answer to its last one."""
        self._leaving = True
        self._leave_when_empty()

    async def close(self) -> None:
        """Ends the stream and, with it, every call that is under way on it."""
        self.end("this frontend is stopping")
        await self._line.gone()

    # What goes out

    def flush(self) -> None:
        """Sends what waits, for as long as the line has room."""
        self._flush_is_due = False
        while self._outbox and not self._ended and self._line.ready:
            if message := self._gather():
                self._line.write(message)

    def _send(self, frame: pb.ClientFrame) -> None:
        self._outbox.append(frame)
        self._flush_soon()

    def _flush_soon(self) -> None:
        """At the end of this turn of the loop, so that whatever happens in it travels as one message."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self.flush)

    def _gather(self) -> bytes:
        """All that is waiting, up to the size of a message. A call whose caller has left is not sent at all."""
        batch = pb.ClientBatch()
        add, now = batch.frames.add, self._loop.time()
        size = 0
        while self._outbox and size < BATCH_BYTES_MAX:
            item = self._outbox.popleft()
            if isinstance(item, pb.ClientFrame):
                batch.frames.append(item)
            elif item.id in self._calls:
                item.sent = True
                call = add().call
                call.id = item.id
                ago = now - item.known_to.at if item.known_to is not None else 0.0
                fill_request(call.request, item.call, item.deadline - now, ago)
                size += len(item.call.arguments)
        return batch.SerializeToString()

    # What comes in

    def receive(self, message: bytes) -> None:
        """A message of the pooler's. One that is none is the end of the stream."""
        try:
            for frame in pb.ServerBatch.FromString(message).frames:
                self._take(frame)
        except DecodeError:
            self.end("a message that is none of a pooler's")

    def _take(self, frame: pb.ServerFrame) -> None:
        # Heads first, and by a field that every head has: `WhichOneof` makes a text of each frame's kind.
        head = frame.head
        if head.id:
            self._take_head(head)
            return
        match frame.WhichOneof("frame"):
            case "piece":
                self._take_piece(frame.piece)
            case "invalidate":
                if self._terms.on_invalidate is not None:
                    self._terms.on_invalidate(frame.invalidate.tags, frame.invalidate.everything)
            case "hello" if not self._greeting.done():
                self._greeting.set_result(frame.hello)
            case "go_away":
                self._go_away()
            case other if self._greeting.done():
                log.warning("frame ignored", frame=other, boot_id=self.boot_id)
            case _:
                sentence = "What answers at the pooler's address does not greet as a pooler does."
                self._greeting.set_exception(PoolerError("POOLER_AWAY", sentence))

    def _take_head(self, head: pb.ExchangeHead) -> None:
        pending = self._calls.pop(head.id, None)
        if pending is None:
            return
        result = head.result
        if head.HasField("error"):
            self._tell(pending, error_of(head.error))
        elif head.total_bytes == len(result):
            self._tell(pending, reply_of(head, result))
        elif head.total_bytes > self._terms.result_bytes_max:
            self._send(pb.ClientFrame(cancel=pb.ExchangeCancel(id=head.id)))
            self._tell(pending, result_too_large(head.total_bytes, self._terms.result_bytes_max))
        else:
            pending.head = head
            self._calls[head.id] = pending

    def _take_piece(self, piece: pb.ExchangePiece) -> None:
        if (pending := self._calls.get(piece.id)) is None or (head := pending.head) is None:
            return
        pending.pieces.append(piece.data)
        pending.received += len(piece.data)
        if pending.received < head.total_bytes:
            self._send(pb.ClientFrame(credit=pb.ExchangeCredit(id=piece.id, bytes=len(piece.data))))
            return
        del self._calls[piece.id]
        if pending.received == head.total_bytes:
            self._tell(pending, reply_of(head, b"".join(pending.pieces)))
        else:
            sizes = f"{pending.received} bytes where {head.total_bytes} were announced"
            self._tell(pending, PoolerError("INTERNAL", f"The pooler sent a broken result: {sizes}."))

    def _tell(self, pending: Pending, ending: Ending) -> None:
        """Tells a caller how its call ended; from here on there is nothing left to cancel."""
        try:
            pending.ended(ending)
        except Exception:
            # One caller's defect must not end the stream under all others.
            log.exception("an answer could not be passed on: a bug", request_id=pending.call.request_id)
        self._leave_when_empty()

    # How it ends

    def _look_for_silence(self) -> None:
        self._silence = None
        now = self._loop.time()
        for pending in [each for each in self._calls.values() if now > each.deadline + SILENCE_SECONDS]:
            ending = Interrupted("the pooler did not answer in time", pending.sent)
            self.leave(pending)
            self._tell(pending, ending)
        if self._calls:
            self._silence = self._loop.call_later(SILENCE_CHECK_SECONDS, self._look_for_silence)

    def _go_away(self) -> None:
        """What has not left yet takes another stream; what has is still answered on this one."""
        self._leaving = True
        for pending in [pending for pending in self._calls.values() if not pending.sent]:
            del self._calls[pending.id]
            self._tell(pending, Interrupted("the pooler is going away", sent=False))
        self._leave_when_empty()

    def _leave_when_empty(self) -> None:
        """A stream that takes no more calls is closed with the last one, so that the pooler can stop."""
        if self._leaving and not self._calls:
            self.end("no more calls on this stream")

    def end(self, cause: str) -> None:
        """The line is gone, or is not wanted any more. Harmless when it has ended already."""
        if self._ended:
            return
        self._ended = True
        if self._silence is not None:
            self._silence.cancel()
        self._line.close()
        if not self._greeting.done():
            self._greeting.set_exception(Interrupted(cause, sent=False))
        log.info("disconnected", boot_id=self.boot_id, cause=cause, calls=len(self._calls))
        calls, self._calls = self._calls, {}
        self._outbox.clear()
        self._on_end()
        for pending in calls.values():
            self._tell(pending, Interrupted(cause, pending.sent, self._known(pending)))

    def _known(self, pending: Pending) -> Sent | None:
        """Where a call that has no answer is known again, if it is anywhere."""
        if not pending.sent or not self._remembers:
            return None
        return pending.known_to or Sent(self.boot_id, pending.deadline - pending.call.timeout_seconds)
