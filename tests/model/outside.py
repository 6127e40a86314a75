"""The world outside of a pool: it carries out what the core orders, when and how the history says, and keeps count.

It believes nothing that the core says of itself. Each order is checked when it is given; `check` compares what the core
believes with what is the case, after every step.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from pooler.core.actions import Action, Check, Close, GiveUp, Interrupt, Offer, Open, Refuse, Reset
from pooler.core.decisions import OVERDUE
from pooler.core.pool import Pool
from pooler.core.slots import Slot, Waiter
from pooler.core.states import ConnectionState, GrantState
from pooler.errors import Reason

LEAVING = (ConnectionState.DRAINING, ConnectionState.CLOSING)


class Step(Enum):
    """What is under way on a connection, outside of the core."""

    OPENING = "opening"
    CHECKING = "checking"
    RESETTING = "resetting"
    CLOSING = "closing"
    NOTHING = "nothing"


class Place(Enum):
    """Where a caller stands."""

    ASKING = "asking"
    WAITING = "waiting"
    OFFERED = "offered"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    REFUSED = "refused"
    LEFT = "left"


@dataclass
class Outside:
    """Clients, callers and time. `slots` says what is under way in each slot that is taken."""

    pool: Pool
    now: float = 1000.0
    ticked_at: float = 1000.0
    slots: dict[Slot, Step] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    """Every number that a slot has ever had, those included that a killed pooler has left."""
    streams: int = 1
    """How many calls a connection that opens now takes at once."""
    served: Counter[Slot] = field(default_factory=Counter)
    """How many calls each connection was given."""
    callers: dict[Waiter, Place] = field(default_factory=dict)
    lanes: dict[tuple[object, ...], list[Waiter]] = field(default_factory=dict)
    """Who waits, by tenant and priority, in the order in which they must be served."""
    given_up: set[Slot] = field(default_factory=set)
    dirty: set[Slot] = field(default_factory=set)
    promised: set[Waiter] = field(default_factory=set)
    """Callers who have stood before a connection of their own, until it should be empty: they have had their turn."""
    intact: bool = True
    """Whether everything that was looked at so far was right."""
    unfit: set[Slot] = field(default_factory=set)
    """Connections that must not serve again: broken, dead, refused by a check, of a retired generation."""

    def at(self, *places: Place) -> list[Waiter]:
        """Callers who stand there, in the order of their coming."""
        return [waiter for waiter, place in self.callers.items() if place in places]

    @property
    def places(self) -> int:
        """How many slots calls may use: the reserve lies inside the cap."""
        return self.pool.rules.cap - self.pool.rules.reserve

    def grants(self) -> list[Waiter]:
        """Callers who have a connection, or are offered one."""
        return self.at(Place.OFFERED, Place.RUNNING, Place.STOPPING)

    def doing(self, step: Step) -> list[Slot]:
        """Slots in which this is under way, in the order of their starts."""
        return [slot for slot, under_way in self.slots.items() if under_way is step]

    def line_up(self, waiter: Waiter, front: bool = False) -> None:
        """A caller begins to wait, as far as it knows."""
        self.callers[waiter] = Place.WAITING
        lane = self.lanes.setdefault((waiter.tenant, waiter.priority), [])
        lane.insert(0 if front else len(lane), waiter)

    def step_out(self, waiter: Waiter, place: Place) -> None:
        """A caller waits no longer."""
        if self.callers[waiter] is Place.WAITING:
            self.lanes[waiter.tenant, waiter.priority].remove(waiter)
        self.callers[waiter] = place

    def take(self, slot: Slot, step: Step) -> None:
        """A slot is taken, under a number that no other has ever had."""
        assert slot not in self.slots
        assert slot.number not in self.numbers, f"the number of {slot} was another's"
        self.numbers.add(slot.number)
        self.slots[slot] = step

    def begin(self, slot: Slot, step: Step) -> None:
        """Something begins on a connection on which nothing else may be under way, and which nobody uses."""
        assert self.slots[slot] is Step.NOTHING, f"{slot} is {self.slots[slot]} already"
        assert not slot.grants, f"{step} of {slot} under its users"
        self.slots[slot] = step

    def obey(self, actions: list[Action]) -> None:
        """Takes the core's orders, each of which must make sense."""
        refused = {action.waiter for action in actions if isinstance(action, Refuse)}
        for action in actions:
            match action:
                case Open(slot):
                    self._open(slot)
                case GiveUp(slot):
                    assert self.slots[slot] is Step.OPENING
                    assert slot not in self.given_up, f"{slot} is given up twice"
                    self.given_up.add(slot)
                case Check(slot):
                    self.begin(slot, Step.CHECKING)
                case Reset(slot):
                    self.begin(slot, Step.RESETTING)
                case Close(slot):
                    self.begin(slot, Step.CLOSING)
                case Offer(waiter):
                    self._offer(waiter, refused)
                case Interrupt(waiter):
                    assert self.callers[waiter] is Place.RUNNING
                    self.callers[waiter] = Place.STOPPING
                case Refuse(waiter, reason):
                    self._refuse(waiter, reason)
        offers = [action.waiter for action in actions if isinstance(action, Offer)]
        for waiter in offers:
            if self.callers[waiter] is Place.OFFERED:
                self._check_offer(waiter)
        if offers and (adaptive := self.pool.adaptive):
            assert len(self.grants()) <= adaptive.grants_max, f"{len(self.grants())} grants at once"

    def _open(self, slot: Slot) -> None:
        rules = self.pool.rules
        self.take(slot, Step.OPENING)
        assert len(self.slots) <= self.places, f"{len(self.slots)} slots taken, {self.places} may be"
        assert len(self.doing(Step.OPENING)) <= rules.parallel_starts

    def _offer(self, waiter: Waiter, refused: set[Waiter]) -> None:
        assert self.callers[waiter] is Place.WAITING, f"{waiter} is offered a place, but is {self.callers[waiter]}"
        assert self.now < waiter.give_up_at, "an offer to a caller whose time is over"
        lane = self.lanes[waiter.tenant, waiter.priority]
        earlier = {other for other in lane[: lane.index(waiter)] if not self._promised(other)} - refused
        assert not earlier or waiter in self.promised, f"{waiter} overtakes {len(earlier)} of its own kind"
        self.step_out(waiter, Place.OFFERED)

    def _check_offer(self, waiter: Waiter) -> None:
        slot = waiter.slot
        assert slot is not None
        assert waiter.grant is GrantState.OFFERED
        assert waiter in slot.grants
        assert self.slots[slot] is Step.NOTHING, f"{slot} is granted while {self.slots[slot]}"
        assert slot not in self.dirty | self.unfit, f"{slot} is granted, but must not serve"
        rules = self.pool.rules
        self.served[slot] += 1
        assert rules.max_uses is None or self.served[slot] <= rules.max_uses, f"{slot} has served its calls"
        share = rules.shares.get(waiter.tenant)
        held = sum(other.tenant == waiter.tenant for other in self.grants())
        assert share is None or share.connections_max is None or held <= share.connections_max
        assert slot.generation == self.pool.generation
        assert slot.expires_at > self.ticked_at
        waited = waiter.queue_seconds + waiter.start_seconds + waiter.reset_seconds
        assert abs(waited - (self.now - waiter.asked_at)) < 1e-6, "the parts of the wait do not add up"
        assert min(waiter.queue_seconds, waiter.start_seconds, waiter.reset_seconds) >= 0

    def _refuse(self, waiter: Waiter, reason: Reason) -> None:
        place = self.callers[waiter]
        if reason in (Reason.QUEUE_TIMEOUT, Reason.START_TIMEOUT):
            assert self.now >= waiter.give_up_at, "refused before its time"
        assert not (self.pool.paused and reason is Reason.START_FAILED), "a pause holds those who wait"
        assert place is Place.WAITING or (reason is Reason.KILLED and place is Place.OFFERED), f"{place} and {reason}"
        self.step_out(waiter, Place.REFUSED)

    def _promised(self, waiter: Waiter) -> bool:
        return waiter.grant is None and waiter.slot is not None and waiter.slot.promised is waiter

    # What must hold at every moment

    def check(self) -> None:
        """What the core believes is what is the case."""
        ledger = self.pool.ledger
        assert set(ledger.slots.values()) == set(self.slots)
        counted = Counter(slot.state for slot in self.slots)
        assert {state: self.pool.count(state) for state in counted} == counted
        assert sum(self.pool.count(state) for state in ConnectionState) == self.pool.held == len(self.slots)
        assert sum(slot.state not in LEAVING for slot in self.slots) <= self.places
        for slot in self.slots:
            assert len(slot.grants) <= slot.streams
            assert not (slot.whole and len(slot.grants) > 1), f"{slot} was given away whole, and is shared"
            self._check_state(slot)
        self._check_callers()
        adaptive = self.pool.adaptive
        if not self.pool.paused and (adaptive is None or len(self.grants()) < adaptive.grants_max):
            self._check_nobody_waits_in_vain()

    def check_that_starts_are_under_way(self) -> None:
        """Where somebody could be served, and no place can be hoped for, a start is made as soon as one may be made."""
        pool = self.pool
        window = pool.starts.window(self.now) - len(self.doing(Step.OPENING))
        room = pool.starts.limit(self.places, self.now) - len(self.slots)
        wanted = pool.queue.servable or any(self._promised(waiter) for waiter in self.at(Place.WAITING))
        if wanted and not pool.paused and not any(self._hopeful(slot) for slot in self.slots):
            assert window <= 0 or room <= 0, f"nothing is started for {self.at(Place.WAITING)} at {pool}"

    def _hopeful(self, slot: Slot) -> bool:
        """Whether a place there can be expected: it comes by itself, or its users are not long overdue."""
        if slot.state is not ConnectionState.IN_USE:
            return slot.state not in LEAVING
        moment = self.now - OVERDUE * self.pool.starts.work.seconds
        overdue = sum(waiter.granted_at < moment for waiter in slot.grants)
        alone = slot.whole or slot.promised or slot in self.dirty or not self.pool.rules.sharing
        return not overdue if alone else overdue < slot.streams

    def _check_state(self, slot: Slot) -> None:
        step = self.slots[slot]
        fitting = {
            Step.OPENING: {ConnectionState.STARTING, ConnectionState.DRAINING},
            Step.CHECKING: {ConnectionState.VALIDATING, ConnectionState.DRAINING},
            Step.RESETTING: {ConnectionState.RESETTING, ConnectionState.DRAINING},
            Step.CLOSING: {ConnectionState.CLOSING},
            Step.NOTHING: {ConnectionState.IN_USE, ConnectionState.DRAINING} if slot.grants else {ConnectionState.IDLE},
        }
        assert slot.state in fitting[step], f"{slot} while {step}"

    def _check_callers(self) -> None:
        waiting = self.at(Place.WAITING)
        promised = [waiter for waiter in waiting if self._promised(waiter)]
        self.promised.update(promised)
        assert len(self.pool.queue) == len(waiting) - len(promised)
        assert all(waiter in self.pool.queue for waiter in waiting if waiter not in promised)
        grants = {waiter for slot in self.slots for waiter in slot.grants}
        assert grants == set(self.grants())
        assert grants == set(self.pool.ledger.grants)

    def _check_nobody_waits_in_vain(self) -> None:
        rules = self.pool.rules
        holding = Counter(waiter.tenant for slot in self.slots for waiter in slot.grants)
        servable = [waiter for waiter in self.at(Place.WAITING) if self._may_hold_another(waiter, holding)]
        if not servable:
            return
        queued = [waiter for waiter in servable if not self._promised(waiter)]
        checking = self.pool.count(ConnectionState.VALIDATING)
        for slot in self.slots:
            if slot.state is ConnectionState.IDLE:
                stale = self.now - slot.idle_since >= rules.validate_after_seconds
                assert stale, f"{slot} idles while {servable} wait"
                assert not queued or checking >= len(queued), f"{slot} could be checked while {queued} wait"
            elif slot.state is ConnectionState.IN_USE and slot.shareable and rules.sharing:
                assert not queued, f"{slot} has room while {queued} wait"

    def _may_hold_another(self, waiter: Waiter, holding: Counter[str]) -> bool:
        share = self.pool.rules.shares.get(waiter.tenant)
        return share is None or share.connections_max is None or holding[waiter.tenant] < share.connections_max
