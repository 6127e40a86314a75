"""What an exchange has to say and has not sent: heads and notices in order, and results in pieces.

A result leaves in pieces, one piece of each result in turn and within each call's own credit, so that no slow reader
and no large answer stalls the others. It knows neither calls under way nor the line.
"""

from collections import deque
from typing import TypeAlias

from pooler.errors import Fault
from pooler.runtime.turns import Outcome
from pooler.service import convert
from protos.penstock.v1 import pooler_pb2 as pb

PIECE_BYTES = 65_536
"""The largest piece: a page of a megabyte lets sixteen other answers pass."""
BATCH_BYTES = 1 << 20
"""About how much one message carries; well below what gRPC refuses by default (4 MiB)."""
FRAME_BYTES = 64
"""What a frame weighs beside its data, for the bounds."""

Head: TypeAlias = tuple[int, Outcome, int]
"""A call's number, its outcome, and what its frame weighs."""


class Outgoing:
    """A result on its way: what is left of it, and how much of it may travel."""

    __slots__ = ("body", "call_id", "credit", "sent")

    def __init__(self, call_id: int, body: bytes, credit: int) -> None:
        self.call_id = call_id
        self.body = body
        self.credit = credit
        self.sent = 0

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


class Sending:
    """`window`: how many bytes of each result may travel before the client gives credit."""

    def __init__(self, window: int) -> None:
        self.waiting_bytes = 0
        """Of what needs no credit and waits for the line alone."""
        self.untaken_bytes = 0
        """Of results that have begun to travel, until their last piece has left."""
        self._window = window
        self._frames: deque[Head | pb.ServerFrame] = deque()
        self._outgoing: dict[int, Outgoing] = {}
        self._ready: deque[Outgoing] = deque()

    @property
    def empty(self) -> bool:
        """Whether everything has left."""
        return not (self._frames or self._outgoing)

    def say(self, frame: pb.ServerFrame) -> None:
        """A frame that is no head, behind everything that was said before."""
        self.waiting_bytes += FRAME_BYTES
        self._frames.append(frame)

    def answer(self, call_id: int, outcome: Outcome) -> None:
        """A call's head; and its result, in the head when it fits one piece, else behind it."""
        weight = FRAME_BYTES
        result = outcome.result
        if not isinstance(result, Fault):
            size = len(result.body)
            if size <= PIECE_BYTES and size <= self._window:
                weight += size
            else:
                self.untaken_bytes += size
                outgoing = self._outgoing[call_id] = Outgoing(call_id, result.body, self._window)
                self._ready.append(outgoing)
        self.waiting_bytes += weight
        self._frames.append((call_id, outcome, weight))

    def credit(self, call_id: int, count: int) -> None:
        """The client has room for so much more of a result."""
        if outgoing := self._outgoing.get(call_id):
            if outgoing.credit == 0:
                self._ready.append(outgoing)
            outgoing.credit += count

    def drop(self, call_id: int) -> None:
        """The client wants no more of a result that is on its way."""
        if outgoing := self._outgoing.pop(call_id, None):
            self.untaken_bytes -= len(outgoing.body)
            outgoing.credit = 0

    def message(self, near: bool) -> bytes:
        """What may travel now, up to one message: heads first, then pieces. Empty: nothing may.

        `near`: whether the client may be granted to give answers again.
        """
        if not self._frames and not self._ready:
            return b""
        batch = pb.ServerBatch()
        weight = self._add_frames(batch, near)
        self._add_pieces(batch, weight)
        return batch.SerializeToString()

    def _add_frames(self, batch: pb.ServerBatch, near: bool) -> int:
        frames, add = self._frames, batch.frames.add
        total = 0
        while frames and total < BATCH_BYTES:
            item = frames.popleft()
            if isinstance(item, tuple):
                call_id, outcome, weight = item
                convert.fill_head(add().head, call_id, outcome, weight > FRAME_BYTES, near)
            else:
                weight = FRAME_BYTES
                batch.frames.append(item)
            total += weight
        self.waiting_bytes -= total
        return total

    def _add_pieces(self, batch: pb.ServerBatch, weight: int) -> None:
        one_at_least = True  # however many heads there are
        while self._ready and (weight < BATCH_BYTES or one_at_least):
            one_at_least = False
            outgoing = self._ready.popleft()
            if outgoing.call_id not in self._outgoing:
                continue
            if data := outgoing.next_piece():
                weight += FRAME_BYTES + len(data)
                piece = batch.frames.add().piece
                piece.id, piece.data = outgoing.call_id, data
            if outgoing.done:
                del self._outgoing[outgoing.call_id]
                self.untaken_bytes -= len(outgoing.body)
            elif outgoing.credit:
                self._ready.append(outgoing)
