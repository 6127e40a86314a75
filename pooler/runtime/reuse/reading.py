"""One operation whose answers are shared: given out of the cache, had from a flight, or made for one caller alone.

Alone goes whatever cannot be anybody else's: the further pages of a result, calls in a session, calls that answer a
question, and calls that want to hear how far they are, unless the cache has what they want. So does everybody but the
first when it turns out that a result has more pages than one, because its cursor is for one caller.
"""

import json
import uuid
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from pooler.core.cache import TAG_BYTES, Terms
from pooler.core.epochs import Marks, Tag, names
from pooler.core.flights import Flight, Hit
from pooler.runtime.calls import Call
from pooler.runtime.desks import Carrier
from pooler.runtime.driver import Driver
from pooler.runtime.reuse.flight import FlightTurn, exact
from pooler.runtime.reuse.tags import rendered
from pooler.runtime.turns import Outcome, Reuse, Timing, Turn

if TYPE_CHECKING:
    from pooler.runtime.reuse.room import Answers

SHARED = ""
"""On whose shelf the answers are that belong to no tenant; no tenant is called that."""
NO_TIME = Timing()

Scope = Literal["tenant", "principal", "shared"]


class Rule(NamedTuple):
    """How an operation's answers are shared."""

    terms: Terms
    scope: Scope = "tenant"
    """Among whom."""
    tags: tuple[str, ...] = ()
    """What invalidates them, with places for arguments."""
    strict: bool = False
    """Whether every write to its backend invalidates them, whatever it says that it changes."""
    near: bool = False
    """Whether whoever gets one may give it again."""
    joins: bool = True
    """Whether identical calls share one of the backend."""
    revision: Any = None
    """What makes its answers what they are: with another one, it is another operation."""


@dataclass(slots=True)
class Counts:
    """What became of an operation's calls since the pooler started."""

    hit: int = 0
    stale: int = 0
    miss: int = 0
    joined: int = 0
    alone: int = 0
    """Those that could not be anybody else's."""
    renewals: int = 0
    """Flights for nobody: answers that were made ahead of time."""


@dataclass(slots=True, eq=False)
class Reading:
    """One such operation, as it is configured now."""

    room: "Answers"
    name: str
    driver: Driver
    rule: Rule
    counts: Counts = field(default_factory=Counts)
    tag: Tag = field(init=False)
    """What all of its answers bear."""

    def __post_init__(self) -> None:
        self.tag = self.room.epochs.own(self.name)

    def attend(self, call: Call, carrier: Carrier | None) -> Carrier | None:
        """Carries out whatever nobody else does."""
        return carrier or self

    def submit(self, turn: Turn) -> None:
        """Answers a call: from the cache, by a flight, or by its own work."""
        assert isinstance(turn, Call)
        call, now = turn, self.room.clock()
        if call.operation != self.name:  # a page behind the first one
            self.send_alone(call)
            return
        flights = self.room.flights
        owner, key = self._key(call)
        hit = flights.find(self.rule.terms, owner, key, now, self._down)
        if hit is not None and hit.entry.value is not None:
            self._give(call, hit)
            if hit.renew and self._spare:
                self._renew(call, owner, key, now)
        elif hit is not None or _is_followed(call):
            self.send_alone(call)
        elif self.rule.joins and (flight := flights.under_way(key, now)) is not None:
            assert isinstance(flight.turn, FlightTurn)
            flight.turn.submit(call)
        else:
            self._lead(call, owner, key)

    def cancel(self, turn: Turn) -> None:
        """Nothing: whoever was answered at once leaves too late, and all others are carried out by somebody else."""

    def send_alone(self, call: Call) -> None:
        """Has its pool carry a call out, for nobody else."""
        self.counts.alone += 1
        call.carrier = None
        self.driver.submit(call)

    # Whose answer is whose

    def _key(self, call: Call) -> tuple[str, Hashable]:
        """On whose shelf an answer belongs, and under what: whoever has the same key may have the same answer."""
        arguments, whole = canonical(call.arguments), call.route.paging is None
        match self.rule.scope:
            case "tenant":
                return call.tenant, (self.tag, call.tenant, arguments, whole)
            case "principal":
                return call.tenant, (self.tag, call.tenant, arguments, whole, call.caller.principal)
            case "shared":
                return SHARED, (self.tag, arguments, whole)

    @property
    def _down(self) -> bool:
        """Whether the backend is known to answer nobody now."""
        pool = self.driver.pool
        return pool.paused or not pool.serving

    @property
    def _spare(self) -> bool:
        """Whether nobody waits who would have to wait longer for an answer that is made ahead of time."""
        return not self.driver.pool.queue

    # From the cache

    def _give(self, call: Call, hit: Hit) -> None:
        if hit.fresh:
            self.counts.hit += 1
            reuse = self.given("hit", hit.age, self.rule.terms.ttl - hit.age, hit.entry.marks)
        else:
            self.counts.stale += 1
            reuse = Reuse("stale", hit.age)
        call.deliver = None
        self.room.loop.call_soon(call.tell, Outcome(hit.entry.value, NO_TIME, reuse))

    def given(self, state: Literal["hit", "miss", "joined"], age: float, good_for: float, marks: Marks) -> Reuse:
        """What is said of an answer that is good for so long still."""
        if not self.rule.near or good_for <= 0.0:
            return Reuse(state, age)
        return Reuse(state, age, good_for, names(marks))

    # By a flight

    def _lead(self, call: Call, owner: str, key: Hashable) -> None:
        """Asks the backend, for this caller and for whoever comes until it has answered."""
        flight = self._open(call, owner, key)
        self.counts.miss += 1
        flight.board(call)
        turn = flight.turn = self._turn(call, flight, call)
        call.carrier = turn
        self.driver.submit(turn)

    def _renew(self, call: Call, owner: str, key: Hashable, now: float) -> None:
        """Asks it for nobody, behind everybody: the answer is the next caller's."""
        flight = self._open(call, owner, key)
        self.counts.renewals += 1
        flight.ahead_of_time = True
        flight.give_up_at = now + call.route.queue_timeout_seconds
        flight.deadline = flight.give_up_at + call.route.timeout_seconds
        turn = flight.turn = self._turn(call, flight, None)
        self.driver.submit(turn)

    def _open(self, call: Call, owner: str, key: Hashable) -> Flight:
        self.tag.holders += 1
        tags = rendered(self.rule.tags, call.arguments)
        marks = (self.tag, *self.room.epochs.hold(tags))
        weight = len(canonical(call.arguments)) + sum(TAG_BYTES + len(tag) for tag in tags)
        return self.room.flights.open(self.rule.terms, owner, key, marks, weight)

    def _turn(self, call: Call, flight: Flight, first: Call | None) -> FlightTurn:
        """`call`: whose the operation and its arguments are."""
        now = self.room.clock()
        named = call.caller if first is not None else replace(call.caller, request_id=uuid.uuid4().hex)
        turn = FlightTurn(
            flight=flight,
            reading=self,
            route=call.route,
            dispatcher=call.dispatcher,
            first=first,
            patient=first,
            asked_at=now if first is None else first.asked_at,
            give_up_at=flight.give_up_at,
            tenant=call.tenant,
            priority=flight.priority,
            operation=self.name,
            whole=call.route.whole and not call.route.shares(now),
            arguments=call.arguments,
            caller=named,
            deadline=flight.deadline,
            timeout_seconds=call.route.timeout_seconds,
        )
        turn.deliver = turn.ended
        return turn


def canonical(arguments: Mapping[str, Any]) -> bytes:
    """The same bytes for the same arguments, however they were written."""
    try:
        return exact(orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS))
    except TypeError:  # a number of more than 64 bits, or half a surrogate pair
        return json.dumps(arguments, sort_keys=True).encode()


def _is_followed(call: Call) -> bool:
    """Whether its caller wants to hear how far it is, or answers a question."""
    if call.extras is None:
        return False
    given = call.extras.input
    return call.extras.news is not None or (given is not None and bool(given.responses or given.state))
