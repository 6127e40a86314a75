"""The call of the backend that a flight consists of: a turn in its pool like any other, and nobody's in particular.

Callers come on board and leave. While it waits, it waits for the most patient of them; once its work has begun, each
caller's own deadline counts and the operation's bound. No caller has a task. It ends with its last caller, unless it
was begun for nobody. What may be joined and what is kept is decided in `core/flights.py`.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pooler.backends.base import Answer
from pooler.core.flights import Flight
from pooler.core.slots import Slot, Waiter
from pooler.errors import Fault, Reason
from pooler.runtime import faults
from pooler.runtime.calls import Call
from pooler.runtime.routes import Route
from pooler.runtime.turns import NO_EXTRAS, Extras, Hands, Outcome, Reuse, Timing, Turn

if TYPE_CHECKING:
    from pooler.runtime.dispatch import Dispatcher
    from pooler.runtime.reuse.reading import Reading

TOLD_AT_ONCE = 100
"""So many callers are answered before everybody else has a turn of the loop: 20 µs each, for their messages alone."""
DOWN = frozenset({Reason.START_FAILED, Reason.START_TIMEOUT, Reason.CONNECTION_LOST, Reason.PAUSED, Reason.DRAINING})
"""Why a backend answered nobody. Of all other faults a caller hears, whatever the cache has: they are his."""


@dataclass(slots=True, eq=False, kw_only=True)
class FlightTurn(Turn):
    """A flight on its way through its pool. To those on board, it is who carries them out."""

    flight: Flight
    reading: "Reading"
    route: Route
    dispatcher: "Dispatcher"
    first: Call | None
    """For whom the backend is asked; None: for nobody who is known yet."""
    patient: Call | None = None
    """Who waits as long as it does itself, while it waits: his time is over when its own is. The others have alarms."""
    closed: bool = False
    """Whether nobody can come on board any more, and whoever was is told."""

    # What its pool asks of it

    def offered(self, slot: Slot, now: float) -> None:
        """Its work begins: nobody may join from here on who must see what is written from here on."""
        Waiter.offered(self, slot, now)
        self.deadline = float("inf")
        room = self.reading.room
        self.flight.begin(room.epochs.now, now)
        for caller in self.callers():
            room.alarms.set(caller, caller.deadline)

    def take_along(self, hands: Hands) -> Extras:
        """A window, when its result may have more pages than one: they would be the first caller's."""
        extras = self.extras or NO_EXTRAS
        if self.route.paging is not None and extras.pages is None:
            extras = extras._replace(pages=self.dispatcher.kept.window(self.route.paging, self, hands))
            self.extras = extras
        return extras

    def ended(self, outcome: Outcome) -> None:
        """It has an answer or a fault, for everybody on board."""
        if self.closed:
            return
        self.closed = True
        room, result, now = self.reading.room, outcome.result, self.reading.room.clock()
        callers = self.callers()
        for caller in callers:
            room.alarms.silence(caller)
        if isinstance(result, Fault):
            entry = room.flights.crashed(self.flight, now, result.reason in DOWN)
            if entry is not None:
                self.reading.counts.stale += len(callers)
                result, told = entry.value, Reuse("stale", now - entry.began_at)
                self._tell_all(deque(callers), Telling(result, now, told, told))
            else:
                self._tell_all(deque(callers), Telling(result, now))
        elif self._is_for_one(result):
            room.flights.landed(self.flight, None, 0)
            self._disperse(callers, outcome)
        else:
            self._land(callers, result, now)

    def _land(self, callers: list[Call], answer: Answer, now: float) -> None:
        """Everybody has the same answer, and so has whoever comes while it is good."""
        flight, reading = self.flight, self.reading
        assert flight.began_at is not None
        lasting = replace(answer, body=exact(answer.body)) if flight.terms.keeps else answer
        kept = reading.room.flights.landed(flight, lasting, len(answer.body))
        good_for = flight.terms.ttl - (now - flight.began_at) if kept else 0.0
        first, others = (reading.given(state, 0.0, good_for, flight.marks) for state in ("miss", "joined"))
        self._tell_all(deque(callers), Telling(answer, now, first, others))

    def _is_for_one(self, answer: Answer) -> bool:
        """Whether nobody but the first caller could go on with an answer: its next page is his, or a question is."""
        pages = self.extras.pages if self.extras is not None else None
        return answer.asks or (pages is not None and pages.more)

    def _disperse(self, callers: list[Call], outcome: Outcome) -> None:
        """The answer is for the first caller, if he is still there; all others go on alone."""
        owner = next((caller for caller in callers if caller.caller is self.caller), None)
        if owner is not None:
            self._tell(owner, outcome)
        elif self.extras is not None and self.extras.pages is not None:
            self.extras.pages.drop()
        for caller in callers:
            if caller is not owner:
                self.reading.send_alone(caller)

    # Who is on board

    def callers(self) -> list[Call]:
        """Everybody, the first one first."""
        return [caller for caller in self.flight.callers if isinstance(caller, Call)]

    def submit(self, turn: Turn) -> None:
        """One more waits for the same answer."""
        assert isinstance(turn, Call)
        flight, caller = self.flight, turn
        self.reading.counts.joined += 1
        caller.carrier = self
        if not flight.callers:
            self.caller = caller.caller
        longest = flight.give_up_at
        changed = flight.board(caller)
        if flight.began_at is not None:
            self.reading.room.alarms.set(caller, caller.deadline)
            return
        if changed:
            self.reading.driver.prolong(self, flight.give_up_at, flight.deadline, flight.priority)
        sooner: Call | None = caller
        if caller.give_up_at > longest:
            sooner, self.patient = self.patient, caller
        if sooner is not None:
            self.reading.room.alarms.set(sooner, sooner.give_up_at)

    def cancel(self, turn: Turn) -> None:
        """One of them has left. Harmless once he has his outcome."""
        assert isinstance(turn, Call)
        if turn.deliver is not None:
            fault = Fault(Reason.CANCELLED, "the caller cancelled the call")
            self._release(turn, fault)

    def late(self, caller: Call) -> None:
        """The time of one of them is over."""
        driver, now = self.reading.driver, self.reading.room.clock()
        if self.grant is None:
            refusal = driver.pool.lateness(self)
            fault = faults.refused(driver.name, refusal, now - caller.asked_at)
        else:
            seconds = caller.deadline - max(self.granted_at, caller.asked_at)
            fault = faults.slow(driver.name, self.operation, seconds, read=True)
        self._release(caller, fault)

    def _release(self, caller: Call, fault: Fault) -> None:
        """Nothing more is done for one of them, nor for anybody when he was the last."""
        room = self.reading.room
        room.alarms.silence(caller)
        if caller is self.patient:
            self.patient = None
        deliver, caller.deliver = caller.deliver, None
        if deliver is not None:
            room.loop.call_soon(deliver, Outcome(fault, self._spent_by(caller, room.clock())))
        if self.flight.leave(caller) and not self.closed:
            self.closed = True
            room.flights.crashed(self.flight, room.clock(), down=False)
            self.reading.driver.cancel(self)
        elif self.caller is caller.caller and (heir := next(iter(self.flight.callers), None)) is not None:
            assert isinstance(heir, Call)
            self.caller = heir.caller

    # What they are told

    def _tell_all(self, callers: deque[Call], telling: "Telling") -> None:
        for _ in range(min(TOLD_AT_ONCE, len(callers))):
            caller = callers.popleft()
            reuse = telling.first if caller is self.first else telling.others
            self._tell(caller, Outcome(telling.result, self._spent_by(caller, telling.at), reuse))
        if callers:
            self.reading.room.loop.call_soon(self._tell_all, callers, telling)

    def _tell(self, caller: Call, outcome: Outcome) -> None:
        deliver, caller.deliver = caller.deliver, None
        if deliver is not None:  # he may have left while others were told
            deliver(outcome)

    def _spent_by(self, caller: Call, now: float) -> Timing:
        """Where the time of one of them went, who may have come when half of it was over."""
        if self.grant is None:
            return Timing(queue=now - caller.asked_at)
        granted = max(self.granted_at, caller.asked_at)
        waited = granted - caller.asked_at
        start = min(self.start_seconds, waited)
        reset = min(self.reset_seconds, waited - start)
        return Timing(waited - start - reset, start, reset, now - granted)


def exact(text: bytes) -> bytes:
    """The same bytes in no more memory than they need: orjson (3.13) leaves what it returns in a block of 4 KiB."""
    return bytes(memoryview(text))


class Telling(NamedTuple):
    """What everybody on board is told."""

    result: Answer | Fault
    at: float
    """When it was known."""
    first: Reuse | None = None
    """What is said of it to the caller for whom the backend was asked."""
    others: Reuse | None = None
