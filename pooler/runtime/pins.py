"""Callers who keep one connection while they make use of it, without asking for it: `pin: principal`.

A principal's first call takes a connection whole, and his next ones run on it, one at a time and in order, so that what
the backend keeps of a client is there for them. It is an affinity and no promise: the connection is given back, and
reset, when nothing was asked of it for a while; as soon as it idles while somebody else waits for whom none is coming;
and when it may serve no longer. A busy principal, too, lets others by. Whoever must have his own asks for a session.
"""

import asyncio
from collections.abc import Iterator, Sequence

from pooler.backends.base import Connection, Failure
from pooler.core.actions import Refuse
from pooler.core.states import ConnectionState
from pooler.errors import Fault, Reason
from pooler.runtime import faults
from pooler.runtime.driver import Driver
from pooler.runtime.faults import FATES
from pooler.runtime.holds import Cut, Hold, Job, Result, execution, tell
from pooler.runtime.turns import Kit, Outcome, Timing, Turn

FULL_RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.5
"""How often is looked whether somebody waits who could have a connection that idles."""
NEVER = float("inf")


class Pin(Hold):
    """One caller's connection."""

    def __init__(self, pins: "Pins", driver: Driver, first: Turn) -> None:
        super().__init__(driver, first, NEVER)  # each of its calls has its own patience
        self.key = _key(first)
        self.first = first
        """The call for which it was asked for."""
        self.arrived_at = NEVER
        self.timer: asyncio.TimerHandle | None = None
        """While it idles."""
        self._worked = False
        self._pins = pins

    @property
    def idle(self) -> bool:
        """Whether it has a connection and nothing to do."""
        return self.arrived_at < NEVER and self.job is None and not self.jobs and not self.ending

    def cancel(self, turn: Turn) -> None:
        self.tell(turn, Fault(Reason.CANCELLED, "the caller cancelled the call"))
        if self.drop(turn):
            self._pins.look_at(self)

    def spent(self, turn: Turn) -> Timing:
        """Only the call for which it was asked for can have waited for a start or a reset."""
        waited, backend = turn.granted_at - turn.asked_at, self.driver.now - turn.granted_at
        if turn is not self.first:
            return Timing(queue=waited, backend=backend)
        start, reset = self.turn.start_seconds, self.turn.reset_seconds
        return Timing(max(0.0, waited - start - reset), start, reset, backend)

    async def arrived(self, kit: Kit, connection: Connection) -> None:
        self.arrived_at = self.driver.now
        self._pins.served(self)
        self._pins.look_at(self)

    def begins(self, job: Job) -> bool:
        if self._worked and self._pins.is_due(self):
            self._pins.move(self, [job.turn])
            return False
        self._worked = True  # else a connection that serves one more call, and no second one, would never serve it
        return True

    def late(self, job: Job, seconds: float) -> None:
        turn = job.turn
        self.tell(turn, faults.slow(self.driver.name, turn.operation, seconds, turn.read))

    def gave_up(self, job: Job) -> None:
        turn, waits = job.turn, self.arrived_at == NEVER
        refusal = self.driver.pool.lateness(self.turn) if waits else Refuse(turn, Reason.QUEUE_TIMEOUT)
        self.tell(turn, faults.refused(self.driver.name, refusal, self.driver.now - turn.asked_at))
        self._pins.look_at(self)

    def concluded(self, job: Job, result: Result, connection: Connection) -> None:
        turn, name = job.turn, self.driver.name
        if isinstance(result, Cut):
            self.tell(turn, Fault(Reason.CANCELLED, "the call was cancelled"))
        elif not isinstance(result, Failure):
            self.tell(turn, result)
        elif self._worth_another_try(turn, result):
            turn.retried, turn.grant = True, None
            self._pins.move(self, [turn])
        else:
            self.tell(turn, faults.failed(name, turn.operation, result, turn.read))
        if isinstance(result, Failure) and result.kind in FATES:
            self._pins.move(self)
        else:
            self._pins.look_at(self)

    def over(self, outcome: Outcome) -> None:
        self._pins.over(self, outcome)

    def _worth_another_try(self, turn: Turn, failure: Failure) -> bool:
        """As the driver judges it: once, and never a write that has begun."""
        harmless = not failure.started or (turn.read and self.driver.kit.adapter.traits.fate == "shared")
        return failure.kind in faults.LOST and harmless and not turn.retried and turn.deliver is not None


class Pins:
    """One backend's pinned callers. `idle_seconds`: how long one keeps what he does not use, if nobody else waits."""

    def __init__(self, driver: Driver, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self._driver = driver
        self._pins: dict[tuple[str, str], Pin] = {}
        """By tenant and principal: those that take calls."""
        self._idle: dict[Pin, None] = {}
        """The one that has idled longest before all others."""
        self._waiting: set[Hold] = set()
        self._leaving: set[Pin] = set()
        self._looking: asyncio.TimerHandle | None = None

    def submit(self, turn: Turn) -> None:
        """Has a call done on its caller's own connection."""
        self._driver.calls_total += 1
        pin = self._pins.get(_key(turn))
        if pin is not None and pin.idle and self.is_due(pin):
            self._give_back(pin)
        elif pin is not None and pin.jobs and self._queued >= self._driver.pool.rules.queue_max:
            full = Refuse(turn, Reason.QUEUE_FULL, FULL_RETRY_SECONDS)
            tell(self._driver, turn, faults.refused(self._driver.name, full, 0.0))
            return
        self._place([turn])

    def cancel(self, turn: Turn) -> None:
        """A call's caller has left."""
        if pin := self._pins.get(_key(turn)):
            pin.cancel(turn)

    def __iter__(self) -> Iterator[Pin]:
        """Those who have a connection, or wait for one."""
        return iter(self._pins.values())

    def drain(self) -> None:
        """Gives back what nobody uses."""
        while self._idle:
            self._give_back(next(iter(self._idle)))

    # Who else waits

    def wait(self, hold: Hold) -> None:
        """Somebody asks for a connection: those that idle are given back for him, the one that idled longest first."""
        if hold.waits:
            self._waiting.add(hold)
            self._make_room()

    def served(self, hold: Hold) -> None:
        """He has one, or waits no more."""
        self._waiting.discard(hold)

    # What becomes of a pin

    def is_due(self, pin: Pin) -> bool:
        """Whether a connection is to serve no further call of its caller's, at least not at once."""
        pool, slot, now = self._driver.pool, pin.turn.slot, self._driver.now
        assert slot is not None, "only a pin that has a connection can give it back"
        if pool.paused or slot.state is not ConnectionState.IN_USE or now >= slot.expires_at:
            return True
        return bool(self._waiting) and now - pin.arrived_at >= self.idle_seconds  # others have their turn, too

    def look_at(self, pin: Pin) -> None:
        """One of its calls is done, or was taken back: perhaps there is nothing left to do."""
        if pin.waits and not pin.jobs:
            self._give_back(pin)
        elif pin.idle and pin not in self._idle:
            self._idle[pin] = None
            pin.timer = asyncio.get_running_loop().call_later(self.idle_seconds, self._give_back, pin)
            if self._driver.pool.draining or self.is_due(pin):
                self._give_back(pin)
            self._make_room()

    def move(self, pin: Pin, first: Sequence[Turn] = ()) -> None:
        """Its connection is given back, and what has not been begun on it is done elsewhere, in its order."""
        turns = [*first, *(job.turn for job in pin.jobs)]
        for job in pin.jobs:
            job.silence()
        pin.jobs.clear()
        self._forget(pin)
        pin.finish()
        self._place(turns)

    def over(self, pin: Pin, outcome: Outcome) -> None:
        """It has no connection any more, or gets none."""
        self.served(pin)
        self._leaving.discard(pin)
        fault = outcome.result if isinstance(outcome.result, Fault) else None
        if fault is not None and pin.arrived_at == NEVER:
            self._refuse(pin, fault)
        elif fault is not None and pin.job is not None:
            turn = pin.job.turn
            ended = faults.interrupted(self._driver.name, turn.operation, fault.reason, turn.read)
            pin.tell(turn, ended)
        self.move(pin)

    def _refuse(self, pin: Pin, fault: Fault) -> None:
        """Nobody waits for it any more; an order that ends a call ends the one that it was asked for by."""
        for job in list(pin.jobs):
            if fault.reason is not Reason.KILLED or job.turn is pin.first:
                pin.drop(job.turn)
                pin.tell(job.turn, fault)

    def _place(self, turns: Sequence[Turn]) -> None:
        """Has calls of one caller done on his connection, in this order; he gets one if he has none."""
        waiting = [turn for turn in turns if turn.deliver is not None]  # whose callers have not left meanwhile
        if not waiting:
            return
        pin = self._pins.get(_key(waiting[0]))
        if pin is None or pin.ending:
            pin = self._pins[_key(waiting[0])] = Pin(self, self._driver, waiting[0])
            pin.begin()
        self._busy(pin)
        for turn in waiting:
            pin.put(Job(turn, execution(turn, pin, in_transaction=False)))
        self.wait(pin)

    def _make_room(self) -> None:
        """Whom a start or a reset will serve anyhow needs nobody's connection."""
        coming = self._driver.pool.ledger.coming
        while self._idle and len(self._leaving) + coming < len(self._waiting):
            self._give_back(next(iter(self._idle)))
        if self._idle and self._waiting and self._looking is None:  # a start may fail, of which nobody is told here
            self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self._make_room()

    def _give_back(self, pin: Pin) -> None:
        self._forget(pin)
        self._leaving.add(pin)
        pin.end()

    def _forget(self, pin: Pin) -> None:
        self._busy(pin)
        if self._pins.get(pin.key) is pin:
            del self._pins[pin.key]

    def _busy(self, pin: Pin) -> None:
        self._idle.pop(pin, None)
        if pin.timer is not None:
            pin.timer.cancel()
            pin.timer = None

    @property
    def _queued(self) -> int:
        return sum(len(pin.jobs) for pin in self._pins.values())


def _key(turn: Turn) -> tuple[str, str]:
    return turn.tenant, turn.caller.principal
