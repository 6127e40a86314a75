"""Writes that are known again by their request ids, so that one whose way broke may be sent again to this process.

The same write is never carried out twice: one that is under way is joined, one that has ended is answered as it ended.
What is remembered is bounded; when there is more, the oldest outcomes go, and from then on nobody whose write may have
been among them is told anything but OUTCOME_UNKNOWN. Reads pass through: they cost and keep nothing here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol, TypeAlias

from pooler.clock import Clock, monotonic
from pooler.errors import Fault, Reason
from pooler.runtime.calls import Call
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.requests import Request
from pooler.runtime.turns import Outcome, Timing

REMEMBERED_SECONDS = 600.0
REMEMBERED_BYTES = 32 << 20
"""Of all outcomes together: at least 32,000 of the usual ones, which say how many rows were changed."""
OUTCOME_BYTES_MAX = 1 << 20
"""A larger answer is not kept: that the write was carried out is."""
ENTRY_BYTES = 1000
"""What an outcome takes beside its body, roughly."""
REJOIN_SECONDS = 5.0
"""How long a write goes on whose stream broke: as long as a frontend waits for a pooler that it cannot reach."""
MARGIN_SECONDS = 5.0
"""How much longer ago than its sender says a write may have been sent first: the time that it took to come here."""

UNDONE = frozenset({
    Reason.BUSY, Reason.DRAINING, Reason.HANDLE_EXPIRED, Reason.HANDLE_LOST, Reason.HANDLE_UNKNOWN,
    Reason.INPUT_UNAVAILABLE, Reason.INVALID_ARGUMENTS, Reason.PAUSED, Reason.QUEUE_FULL, Reason.QUEUE_TIMEOUT,
    Reason.SESSION_IN_USE, Reason.SHED, Reason.START_FAILED, Reason.START_TIMEOUT, Reason.TOO_MANY_CALLS,
})  # fmt: skip
"""Reasons that say for certain that nothing was done: the same id may begin anew."""

Key: TypeAlias = tuple[str, str, str, str]
"""Tenant, principal, request id, and the state of a call that asks its user: each of its turns is a call of its own."""
Deliver: TypeAlias = Callable[[Outcome], None]


class UnderWay(Protocol):
    """A call that was passed on."""

    def leave(self) -> None:
        """Its caller has left: the work stops, and the outcome is CANCELLED. Harmless afterwards."""


class Write:
    """One write, from its first arrival until it is forgotten."""

    __slots__ = ("abandoned", "call", "digest", "ended_at", "key", "outcome", "readers")

    def __init__(self, key: Key, digest: bytes) -> None:
        self.key = key
        self.digest = digest
        self.call: Call | None = None
        """None once it has ended."""
        self.readers: list[Reader] = []
        self.outcome: Outcome | None = None
        self.ended_at = 0.0
        self.abandoned = False
        """Whether it was given up because nobody came back for it."""

    @property
    def waits(self) -> bool:
        """Whether certainly nothing of it has begun."""
        return self.call is not None and self.call.grant is None and self.call.carrier is None

    @property
    def weight(self) -> int:
        """What it takes in memory once it has ended, in bytes."""
        result = self.outcome.result if self.outcome is not None else None
        return ENTRY_BYTES + (0 if result is None or isinstance(result, Fault) else len(result.body))


class Reader:
    """One caller who waits for a write."""

    __slots__ = ("deliver", "write")

    def __init__(self, write: Write, deliver: Deliver) -> None:
        self.write = write
        self.deliver = deliver

    def leave(self) -> None:
        """The caller takes it back; it is stopped when nobody else waits for it."""
        readers, call = self.write.readers, self.write.call
        if call is None or self not in readers:
            return
        if len(readers) == 1:
            call.leave()
        else:
            readers.remove(self)
            sentence = "The call was cancelled; the write goes on, for whoever has sent it again."
            asyncio.get_running_loop().call_soon(self.deliver, Outcome(Fault(Reason.CANCELLED, sentence), Timing()))


class Writes:
    """All writes of a pooler. `clock`: in seconds."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock = monotonic) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._known: dict[Key, Write] = {}
        self._ended: deque[Write] = deque()
        """Those of `_known` that have ended, in that order."""
        self._ended_bytes = 0
        self._complete_since = float("-inf")
        """Whatever has ended after that is remembered."""

    def send(self, request: Request, sent_ago_seconds: float, deliver: Deliver) -> UnderWay:
        """Passes a call on, or joins it to itself. Raises Fault when there is nothing to wait for.

        `sent_ago_seconds`: how long ago it was first sent, if it was sent to this process before; else 0.
        """
        route = self._dispatcher.routes.get(request.operation)
        if route is None or route.read or not request.request_id:
            return self._dispatcher.send(request, deliver)
        state = request.input.state if request.input is not None else ""
        key = (request.tenant, request.principal, request.request_id, state)
        self._forget_old()
        if (write := self._known.get(key)) is not None:
            return self._join(write, request, deliver)
        if sent_ago_seconds and self._clock() - sent_ago_seconds - MARGIN_SECONDS <= self._complete_since:
            sentence = f"{request.operation!r} may have been carried out; that is not known any more."
            raise Fault(Reason.OUTCOME_UNKNOWN, sentence)
        write = Write(key, _digest(request))
        write.call = self._dispatcher.send(request, lambda outcome: self._end(write, outcome))
        self._known[key] = write
        return self._read(write, deliver)

    def lose(self, under_way: UnderWay) -> None:
        """The way to a caller broke. A write that was begun goes on for a while: he may come back for it."""
        if not isinstance(under_way, Reader):
            under_way.leave()
            return
        write = under_way.write
        if write.call is None or under_way not in write.readers:
            return
        write.readers.remove(under_way)
        if write.readers:
            return
        if write.waits:
            del self._known[write.key]
            write.call.leave()
        else:
            asyncio.get_running_loop().call_later(REJOIN_SECONDS, self._give_up, write)

    def _join(self, write: Write, request: Request, deliver: Deliver) -> Reader:
        if write.digest != _digest(request):
            sentence = f"Request id {request.request_id!r} was used for another call. Give each call an id of its own."
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)
        if write.outcome is None:
            return self._read(write, deliver)
        asyncio.get_running_loop().call_soon(deliver, write.outcome)
        return Reader(write, deliver)

    def _read(self, write: Write, deliver: Deliver) -> Reader:
        reader = Reader(write, deliver)
        write.readers.append(reader)
        return reader

    def _give_up(self, write: Write) -> None:
        if not write.readers and write.call is not None:
            write.abandoned = True
            write.call.leave()

    def _end(self, write: Write, outcome: Outcome) -> None:
        operation = write.call.operation if write.call is not None else ""
        write.call = None
        readers, write.readers = write.readers, []
        if self._known.get(write.key) is write:
            if isinstance(outcome.result, Fault) and outcome.result.reason in UNDONE:
                del self._known[write.key]
            else:
                self._keep(write, _kept(outcome, operation, write.abandoned))
        for reader in readers:
            reader.deliver(outcome)

    def _keep(self, write: Write, outcome: Outcome) -> None:
        write.outcome = outcome
        write.ended_at = self._clock()
        self._ended.append(write)
        self._ended_bytes += write.weight
        self._forget_old()

    def _forget_old(self) -> None:
        too_old = self._clock() - REMEMBERED_SECONDS
        while self._ended and (self._ended_bytes > REMEMBERED_BYTES or self._ended[0].ended_at <= too_old):
            oldest = self._ended.popleft()
            self._ended_bytes -= oldest.weight
            self._complete_since = oldest.ended_at
            del self._known[oldest.key]


def _kept(outcome: Outcome, operation: str, abandoned: bool) -> Outcome:
    """What is told to whoever comes back for it."""
    if isinstance(outcome.result, Fault):
        if not abandoned:
            return outcome
        cause = f"was stopped when its caller had been away for {REJOIN_SECONDS:.0f} s"
        sentence = f"{operation!r} {cause}; it may or may not have been carried out. Look before repeating it."
        return Outcome(Fault(Reason.OUTCOME_UNKNOWN, sentence), outcome.timing)
    if (size := len(outcome.result.body)) <= OUTCOME_BYTES_MAX:
        return outcome
    sentence = f"{operation!r} was carried out; its answer of {size} bytes was too large to be kept for a second time."
    return Outcome(Fault(Reason.OUTCOME_UNKNOWN, sentence), outcome.timing)


def _digest(request: Request) -> bytes:
    """By what two calls are the same."""
    given = request.input
    parts = (
        request.operation.encode(),
        request.arguments,
        request.conversation.encode(),
        given.responses if given is not None else b"",
    )
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
