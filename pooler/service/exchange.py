"""One exchange stream: many calls over one pair of message streams, whatever is waiting sent as one message.

There is one reading task for a stream and none for a call: a call is a turn in its pool and an entry here. Results
leave in pieces, one piece of each call in turn and within each call's credit, so that no slow reader and no large
answer stalls the others. Calls under way are cancelled when the stream ends.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from pooler.errors import Fault, Reason
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.turns import Outcome, Timing
from pooler.service import convert
from protos.penstock.v1 import pooler_pb2 as pb

VERSION = 1
PIECE_BYTES = 65_536
"""The largest piece: a page of a megabyte lets sixteen other answers pass."""
BATCH_BYTES = 1 << 20
"""About how much one message carries; well below what gRPC refuses by default (4 MiB)."""
FRAME_BYTES = 64
"""What a frame weighs beside its data, for the bound above."""
WINDOW_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Limits:
    """What the pooler says in its Hello."""

    calls_max: int
    request_bytes_max: int


@dataclass(slots=True)
class Outgoing:
    """A result on its way: what is left of it, and how much of it may travel."""

    call_id: int
    body: bytes
    credit: int
    sent: int = 0

    def next_piece(self) -> bytes:
        """The next bytes that may travel; empty when there is no credit."""
        end = min(self.sent + min(PIECE_BYTES, self.credit), len(self.body))
        piece = self.body[self.sent : end]
        self.credit -= len(piece)
        self.sent = end
        return piece

    @property
    def done(self) -> bool:
        return self.sent == len(self.body)


class Exchange:
    """One stream. `run` is iterated once; `close` ends what is left, in any case."""

    def __init__(self, dispatcher: Dispatcher, limits: Limits, boot_id: str) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._boot_id = boot_id
        self._window = WINDOW_BYTES
        self._last_id = 0
        self._leave: dict[int, Callable[[], None]] = {}
        self._answer = self._deliver
        """One bound method for all calls that wait, instead of one each."""
        self._frames: deque[pb.ServerFrame] = deque()
        self._outgoing: dict[int, Outgoing] = {}
        self._ready: deque[Outgoing] = deque()
        self._something = asyncio.Event()
        self._ended = False
        self._broken: BaseException | None = None
        self._going_away = False

    async def run(self, batches: AsyncIterator[pb.ClientBatch]) -> AsyncIterator[pb.ServerBatch]:
        """The server's messages, until the client has half-closed and every call is answered.

        Raises Fault when the client breaks the order of frames.
        """
        reader = asyncio.get_running_loop().create_task(self._read(batches))
        try:
            while not self._finished:
                await self._something.wait()
                self._something.clear()
                while frames := self._collect():
                    yield pb.ServerBatch(frames=frames)
            if self._broken is not None:
                raise self._broken
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def go_away(self) -> None:
        """No further call is taken; those under way are answered."""
        if not self._going_away:
            self._going_away = True
            self._send(pb.ServerFrame(go_away=pb.GoAway(reason=pb.REASON_DRAINING)))

    def close(self) -> None:
        """The stream is over: every call under way is cancelled."""
        for leave in list(self._leave.values()):
            leave()
        self._leave.clear()

    @property
    def _finished(self) -> bool:
        return self._broken is not None or (self._ended and not (self._frames or self._outgoing or self._leave))

    # Reading

    async def _read(self, batches: AsyncIterator[pb.ClientBatch]) -> None:
        try:
            greeted = False
            async for batch in batches:
                for frame in batch.frames:
                    if not greeted:
                        self._greet(frame)
                        greeted = True
                    else:
                        self._take(frame)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to `run`, which raises it
            self._broken = error
        finally:
            self._ended = True
            self._something.set()

    def _greet(self, frame: pb.ClientFrame) -> None:
        if frame.WhichOneof("frame") != "hello" or frame.hello.version < VERSION:
            raise Fault(Reason.INVALID_ARGUMENTS, f"The first frame must be a Hello of version {VERSION} or later.")
        self._window = frame.hello.call_window_bytes or WINDOW_BYTES
        self._send(
            pb.ServerFrame(
                hello=pb.ServerHello(
                    version=VERSION,
                    boot_id=self._boot_id,
                    calls_max=self._limits.calls_max,
                    request_bytes_max=self._limits.request_bytes_max,
                )
            )
        )

    def _take(self, frame: pb.ClientFrame) -> None:
        match frame.WhichOneof("frame"):
            case "call":
                self._call(frame.call)
            case "cancel":
                if leave := self._leave.get(frame.cancel.id):
                    leave()
                self._drop(frame.cancel.id)
            case "credit":
                self._credit(frame.credit.id, frame.credit.bytes)
            case "hello":
                raise Fault(Reason.INVALID_ARGUMENTS, "A second Hello: only the first frame may be one.")
            case _:
                pass  # a frame of a later revision, which our Hello did not promise to understand

    def _call(self, call: pb.ExchangeCall) -> None:
        if call.id <= self._last_id:
            sentence = f"Call id {call.id} after {self._last_id}: ids must grow."
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)
        self._last_id = call.id
        if self._going_away:
            fault = Fault(Reason.DRAINING, "This pooler is being shut down; open another stream.")
            self._deliver(call.id, Outcome(fault, Timing()))
            return
        try:
            request = convert.request(call.request, None)
            self._leave[call.id] = self._dispatcher.submit(request, partial(self._answer, call.id))
        except Fault as fault:
            self._deliver(call.id, Outcome(fault, Timing()))

    def _credit(self, call_id: int, count: int) -> None:
        if outgoing := self._outgoing.get(call_id):
            if outgoing.credit == 0:
                self._ready.append(outgoing)
                self._something.set()
            outgoing.credit += count

    # Writing

    def _deliver(self, call_id: int, outcome: Outcome) -> None:
        self._leave.pop(call_id, None)
        head = convert.head(call_id, outcome, min(PIECE_BYTES, self._window))
        self._send(pb.ServerFrame(head=head))
        if not isinstance(outcome.result, Fault) and not head.result and head.total_bytes:
            outgoing = self._outgoing[call_id] = Outgoing(call_id, outcome.result.body, self._window)
            self._ready.append(outgoing)

    def _drop(self, call_id: int) -> None:
        """The client wants no more of a result that is on its way."""
        if outgoing := self._outgoing.pop(call_id, None):
            outgoing.credit = 0

    def _send(self, frame: pb.ServerFrame) -> None:
        self._frames.append(frame)
        self._something.set()

    def _collect(self) -> list[pb.ServerFrame]:
        """What may travel now, up to one message: heads first, then a piece of each result in turn."""
        frames: list[pb.ServerFrame] = []
        weight = 0
        while self._frames and weight < BATCH_BYTES:
            frame = self._frames.popleft()
            weight += FRAME_BYTES + len(frame.head.result)
            frames.append(frame)
        while self._ready and weight < BATCH_BYTES:
            outgoing = self._ready.popleft()
            if outgoing.call_id not in self._outgoing:
                continue
            piece = outgoing.next_piece()
            if piece:
                weight += FRAME_BYTES + len(piece)
                frames.append(pb.ServerFrame(piece=pb.ExchangePiece(id=outgoing.call_id, data=piece)))
            if outgoing.done:
                del self._outgoing[outgoing.call_id]
            elif outgoing.credit:
                self._ready.append(outgoing)
        return frames
