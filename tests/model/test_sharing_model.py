"""Random histories of shared answers, against a database of which the model knows every version.

Reads are answered from the cache, join a flight or begin one; writes take effect at one moment and are acknowledged at
a later one; flights are slow, and read at any moment between. Whoever reads is never given what was overwritten by a
write that had been acknowledged when he came, nor what was invalidated by then, nor anything older than promised; and
when nothing is under way nothing is left behind but what is kept.
"""

import os
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pooler.core.cache import ENTRY_BYTES, SHARE_MAX, Cache, Terms
from pooler.core.epochs import Epochs, Marks
from pooler.core.flights import Flight, Flights
from pooler.core.slots import Priority, Waiter

KEYS = st.sampled_from("aaab")
TENANTS = st.sampled_from([*["one"] * 5, "another"])
HOW_FAR = st.sampled_from([0, 0, 1, 2, 2, 3, 3, 3])
"""How far a flight goes at once: it waits, is at work, has read, has landed."""
TERMS = st.builds(
    Terms,
    ttl=st.sampled_from([0.0, 5.0, 20.0, 20.0]),
    stale=st.sampled_from([0.0, 10.0]),
    down=st.sampled_from([0.0, 30.0, float("inf")]),
)
RARELY = st.sampled_from([*[False] * 4, True])
BYTES_MAX = SHARE_MAX * (ENTRY_BYTES + 200)


@dataclass(frozen=True)
class Answer:
    """What a flight has read: a version, as it was when the flight was begun so long ago."""

    version: int
    began_at: float
    began_as: int
    """How many orders to invalidate had been given then."""


@dataclass(eq=False)
class UnderWay:
    """A flight, as the model knows it."""

    flight: Flight
    key: str
    answer: Answer | None = None
    """Once it has read."""
    began_as: int = 0
    floors: dict[Waiter, "Floor"] = field(default_factory=dict)


@dataclass(frozen=True)
class Floor:
    """What a read must not fall behind, by what had happened when its caller came."""

    acknowledged: int
    orders: int
    now: float


class SharingHistory(RuleBasedStateMachine):
    """One operation, called for `a` or `b`; it answers the version that it reads."""

    @initialize(terms=TERMS, strict=st.booleans())
    def begin(self, terms: Terms, strict: bool) -> None:
        self.now = 1000.0
        self.terms, self.strict = terms, strict
        self.epochs = Epochs()
        self.cache = Cache(BYTES_MAX, self.epochs)
        self.flights = Flights(self.cache, self.epochs)
        self.own = self.epochs.own("an operation")
        self.truth = dict.fromkeys("ab", 0)
        self.acknowledged = dict.fromkeys("ab", 0)
        self.unsaid = dict.fromkeys("ab", 0)
        """Of what was acknowledged: how much was written by operations that do not say what they change."""
        self.orders = dict.fromkeys("ab", 0)
        self.under_way: list[UnderWay] = []
        self.down = False

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 10.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(really=RARELY)
    def the_backend_goes_away_or_comes_back(self, really: bool) -> None:
        self.down ^= really

    # Reads

    def floor(self, key: str) -> Floor:
        said = self.acknowledged[key] if self.strict else self.acknowledged[key] - self.unsaid[key]
        return Floor(said, self.orders[key], self.now)

    @rule(key=KEYS, tenant=TENANTS, patience=st.sampled_from([1.0, 50.0]), urgent=st.booleans(), goes=HOW_FAR)
    def somebody_reads(self, key: str, tenant: str, patience: float, urgent: bool, goes: int) -> None:
        place = (tenant, key)
        hit = self.flights.find(self.terms, tenant, place, self.now, self.down)
        if hit is not None:
            self.is_given(key, hit.entry.value, self.floor(key), self.terms)
            assert hit.fresh == (self.now - hit.entry.value.began_at < self.terms.ttl)
            return
        caller = Waiter(self.now, self.now + patience, self.now + 2 * patience)
        caller.priority = Priority.INTERACTIVE if urgent else Priority.BATCH
        flight = self.flights.under_way(place, self.now)
        if flight is None:
            flight = self.flights.open(self.terms, tenant, place, self.marks(key))
            self.under_way.append(UnderWay(flight, key))
        flight.board(caller)
        (known,) = [each for each in self.under_way if each.flight is flight]
        known.floors[caller] = self.floor(key)
        assert flight.give_up_at >= caller.give_up_at
        for step in (self.begins, self.reads, self.lands)[:goes]:
            step(known)

    def marks(self, key: str) -> Marks:
        if self.strict:
            self.own.holders += 1
            return (self.own, *self.epochs.hold([key]))
        return self.epochs.hold([key])

    def is_given(self, key: str, answer: Answer, floor: Floor, terms: Terms | None = None) -> None:
        assert answer.version >= floor.acknowledged, f"{key}: {answer} to somebody who had to see {floor}"
        assert answer.began_as >= floor.orders, f"{key}: {answer} is given although it was invalidated: {floor}"
        if terms is not None:
            longest = max(terms.stale, terms.down if self.down else 0.0)
            assert floor.now - answer.began_at < terms.ttl + longest

    # Flights

    def some(self, data: st.DataObject, begun: bool | None = None, read: bool | None = None) -> UnderWay:
        fitting = [
            each
            for each in self.under_way
            if (begun is None or (each.flight.began_at is not None) == begun)
            and (read is None or (each.answer is not None) == read)
        ]
        return data.draw(st.sampled_from(fitting))

    @precondition(lambda self: any(each.flight.began_at is None for each in self.under_way))
    @rule(data=st.data())
    def work_begins(self, data: st.DataObject) -> None:
        self.begins(self.some(data, begun=False))

    def begins(self, known: UnderWay) -> None:
        if known.flight.began_at is None:
            known.flight.begin(self.epochs.now, self.now)
            known.began_as = self.orders[known.key]

    @precondition(lambda self: any(each.flight.began_at is not None and each.answer is None for each in self.under_way))
    @rule(data=st.data())
    def it_reads(self, data: st.DataObject) -> None:
        self.reads(self.some(data, begun=True, read=False))

    def reads(self, known: UnderWay) -> None:
        assert known.flight.began_at is not None
        known.answer = known.answer or Answer(self.truth[known.key], known.flight.began_at, known.began_as)

    @precondition(lambda self: any(each.answer is not None for each in self.under_way))
    @rule(data=st.data(), large=RARELY)
    def it_lands(self, data: st.DataObject, large: bool) -> None:
        self.lands(self.some(data, read=True), large)

    def lands(self, known: UnderWay, large: bool = False) -> None:
        assert known.answer is not None
        self.under_way.remove(known)
        for caller in known.flight.callers:
            self.is_given(known.key, known.answer, known.floors[caller])
            if self.terms.keeps:
                assert known.floors[caller].now - known.answer.began_at < self.terms.ttl + self.terms.stale
        kept = self.flights.landed(known.flight, known.answer, BYTES_MAX if large else 100)
        assert not (kept and (large or not self.terms.keeps))

    @precondition(lambda self: bool(self.under_way))
    @rule(data=st.data(), really=RARELY)
    def it_crashes(self, data: st.DataObject, really: bool) -> None:
        if not really:
            return
        known = self.some(data)
        self.under_way.remove(known)
        entry = self.flights.crashed(known.flight, self.now, self.down)
        if entry is not None:
            assert self.down
            for caller in known.flight.callers:
                self.is_given(known.key, entry.value, known.floors[caller])
            assert self.now - entry.value.began_at < self.terms.ttl + max(self.terms.stale, self.terms.down)

    @precondition(lambda self: any(each.flight.callers for each in self.under_way))
    @rule(data=st.data(), really=RARELY)
    def somebody_leaves(self, data: st.DataObject, really: bool) -> None:
        if not really:
            return
        known = data.draw(st.sampled_from([each for each in self.under_way if each.flight.callers]))
        caller = data.draw(st.sampled_from(list(known.flight.callers)))
        if known.flight.leave(caller):
            self.under_way.remove(known)
            self.flights.crashed(known.flight, self.now, down=False)

    @precondition(lambda self: any(each.answer is not None for each in self.under_way))
    @rule(data=st.data())
    def a_connection_is_lost_and_it_begins_anew(self, data: st.DataObject) -> None:
        known = self.some(data, read=True)
        known.answer = None
        known.flight.begin(self.epochs.now, self.now)
        known.began_as = self.orders[known.key]

    # Writes

    @rule(key=KEYS, says_what=st.booleans(), at_once=st.booleans())
    def a_write_takes_effect(self, key: str, says_what: bool, at_once: bool) -> None:
        self.truth[key] += 1
        if at_once:
            self.is_acknowledged(key, says_what)

    @rule(key=KEYS, says_what=st.booleans())
    def what_was_written_is_acknowledged(self, key: str, says_what: bool) -> None:
        self.is_acknowledged(key, says_what)

    def is_acknowledged(self, key: str, says_what: bool) -> None:
        self.epochs.move([key] if says_what else [], [self.own] if self.strict else [])
        if not says_what and self.acknowledged[key] < self.truth[key]:
            self.unsaid[key] += self.truth[key] - self.acknowledged[key]
        elif says_what:
            self.unsaid[key] = 0
        self.acknowledged[key] = self.truth[key]

    @rule(key=KEYS)
    def an_order_invalidates(self, key: str) -> None:
        self.epochs.move([key])
        self.orders[key] += 1

    @rule()
    def what_is_over_is_dropped(self) -> None:
        self.cache.purge(lambda entry: not entry.valid)

    # Always

    @invariant()
    def no_more_bytes_are_kept_than_may_be(self) -> None:
        assert self.cache.bytes <= self.cache.bytes_max

    @invariant()
    def no_tag_is_held_by_nobody(self) -> None:
        holders = len(self.cache) + len(self.under_way)
        assert sum(tag.holders for tag in self.epochs._tags.values()) == holders
        if self.strict:
            assert self.own.holders == 1 + holders

    @invariant()
    def nobody_joins_what_is_over(self) -> None:
        assert len(self.flights) <= len(self.under_way)


SharingHistory.TestCase.settings = settings.get_profile(os.environ.get("PENSTOCK_PROFILE", "usual"))
TestSharedAnswersKeepTheirWordInEveryHistory = SharingHistory.TestCase
