"""One exchange: many calls over one pair of message streams, whatever is waiting sent as one message.

There is no task for a stream and none for a call: a call is a turn in its pool and an entry here. What carries the
messages is a `Line`, what waits to leave is `Sending`'s, and what all exchanges share is in `Exchanges`. When the line
is gone, the calls under way are given up.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from pooler.errors import Fault, Reason
from pooler.runtime.turns import Outcome, Timing
from pooler.service.line import Line
from pooler.service.sending import Sending
from protos.penstock.v1 import pooler_pb2 as pb

if TYPE_CHECKING:
    from pooler.service.exchanges import Exchanges
    from pooler.service.writes import UnderWay

log = structlog.get_logger(__name__)

VERSION = 1
WINDOW_BYTES = 262_144

WAITING_BYTES_MAX = 4 << 20
"""When so much waits for a line alone, its client is not read any further: it does not read either."""
UNTAKEN_BYTES_MAX = 64 << 20
"""When so much of results waits for credit, no further call is taken; the cancels and credits of the others are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the pooler says in its Hello."""

    calls_max: int
    request_bytes_max: int


class Exchange:
    """One stream. Its line calls `receive`, `flush`, `half_close` and `close`."""

    def __init__(self, line: Line, home: "Exchanges") -> None:
        self._line = line
        self._home = home
        self._sending = Sending(WINDOW_BYTES)
        self._greeted = False
        self._near = False
        self._last_id = 0
        self._calls: dict[int, UnderWay] = {}
        self._answer = self._deliver
        """One bound method for all calls that wait, instead of one each."""
        self._loop = asyncio.get_running_loop()
        self._flush_is_due = False
        self._held = False
        self._half_closed = False
        self._over = False
        self._going_away = False

    def __repr__(self) -> str:
        state = "over" if self._over else "going away" if self._going_away else "open"
        return f"<Exchange {state}, {len(self._calls)} calls, {self._sending.waiting_bytes} bytes to send>"

    # What the line tells

    def receive(self, message: bytes) -> None:
        """A message of the client's. One that breaks the order of frames ends the exchange."""
        if self._over:
            return
        try:
            for frame in pb.ClientBatch.FromString(message).frames:
                self._take(frame)
        except DecodeError:
            self._end(Fault(Reason.INVALID_ARGUMENTS, "A message that is no ClientBatch."))
        except Fault as fault:
            self._end(fault)
        except Exception:
            log.exception("an exchange failed: a bug")
            self._end(Fault(Reason.INTERNAL, "The exchange failed by a defect of the pooler."))
        self._hold_or_go_on()

    def half_close(self) -> None:
        """The client will say nothing more; every call that it has made is answered."""
        self._half_closed = True
        self._flush_soon()

    def flush(self) -> None:
        """Sends what may travel, for as long as the line has room."""
        self._flush_is_due = False
        while not self._over and self._line.ready and (message := self._sending.message(self._near)):
            self._line.write(message)
        self._hold_or_go_on()
        if self._half_closed and not self._calls and self._sending.empty:
            self._end(None)

    def close(self) -> None:
        """The line is gone: nobody is told what becomes of the calls under way. Harmless when it is closed already."""
        self._over = True
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._home.writes.lose(call)
        self._home.forget(self)

    # What the pooler says by itself

    def go_away(self) -> None:
        """No further call is taken; those under way are answered."""
        if not self._going_away and not self._over:
            self._going_away = True
            self._say(pb.ServerFrame(go_away=pb.GoAway(reason=pb.REASON_DRAINING)))

    def invalidate(self, tags: Collection[str], everything: bool) -> None:
        """What was granted for any of these tags may be given to nobody any more; behind every answer so far."""
        if self._near and not self._over:
            self._say(pb.ServerFrame(invalidate=pb.ExchangeInvalidate(tags=tags, everything=everything)))

    # Frames

    def _take(self, frame: pb.ClientFrame) -> None:
        # Calls first, and by a field that every call has: `WhichOneof` makes a text of each frame's kind.
        call = frame.call
        if call.id and self._greeted:
            self._call(call)
            return
        kind = frame.WhichOneof("frame")
        if not self._greeted:
            self._greet(frame, kind)
        elif kind == "cancel":
            if under_way := self._calls.get(frame.cancel.id):
                under_way.leave()
            self._sending.drop(frame.cancel.id)
        elif kind == "credit":
            self._sending.credit(frame.credit.id, frame.credit.bytes)
            self._flush_soon()
        elif kind == "hello":
            raise Fault(Reason.INVALID_ARGUMENTS, "A second Hello: only the first frame may be one.")
        elif kind == "call":
            raise Fault(Reason.INVALID_ARGUMENTS, "A call without an id: ids begin with 1.")
        # Else a frame of a later revision, which our Hello did not promise to understand.

    def _greet(self, frame: pb.ClientFrame, kind: str | None) -> None:
        hello = frame.hello
        if kind != "hello" or hello.version < VERSION:
            raise Fault(Reason.INVALID_ARGUMENTS, f"The first frame must be a Hello of version {VERSION} or later.")
        self._greeted = True
        self._near = hello.near
        self._sending = Sending(hello.call_window_bytes or WINDOW_BYTES)
        self._say(pb.ServerFrame(hello=self._home.hello(self._line, hello.reached_as)))

    def _call(self, call: pb.ExchangeCall) -> None:
        call_id = call.id
        if call_id <= self._last_id:
            raise Fault(Reason.INVALID_ARGUMENTS, f"Call id {call_id} after {self._last_id}: ids must grow.")
        self._last_id = call_id
        try:
            self._expect_room()
            self._calls[call_id] = self._home.send(call.request, partial(self._answer, call_id))
        except Fault as fault:
            self._deliver(call_id, Outcome(fault, Timing()))

    def _expect_room(self) -> None:
        if self._going_away:
            raise Fault(Reason.DRAINING, "This pooler is being shut down; open another stream.")
        if self._sending.untaken_bytes > UNTAKEN_BYTES_MAX:
            size = self._sending.untaken_bytes
            sentence = f"{size} bytes of results wait for this client to take them. Take them, then try again."
            raise Fault(Reason.TOO_MANY_CALLS, sentence, {"retry_after_ms": "1000"})

    def _deliver(self, call_id: int, outcome: Outcome) -> None:
        self._calls.pop(call_id, None)
        if not self._over:
            self._sending.answer(call_id, outcome)
            self._flush_soon()

    # Sending

    def _say(self, frame: pb.ServerFrame) -> None:
        self._sending.say(frame)
        self._flush_soon()

    def _flush_soon(self) -> None:
        """At the end of this turn of the loop, so that whatever happens in it travels as one message."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self.flush)

    def _hold_or_go_on(self) -> None:
        waiting = self._sending.waiting_bytes
        if self._held:
            if waiting < WAITING_BYTES_MAX // 2:
                self._held = False
                self._line.hold(False)
        elif waiting > WAITING_BYTES_MAX:
            self._held = True
            self._line.hold(True)

    def _end(self, fault: Fault | None) -> None:
        if not self._over:
            self._over = True
            self._line.end(fault)
