"""Who is next: a bounded queue, fair between tenants, first come first served within a tenant's priority.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each tenant has a start tag, the virtual time at which its next
call may begin; whoever has the smallest is served, and pays for it with the call's expected time over its weight. A
tenant that is alone gets everything; one that asked for less than its share has a few calls to the good, and no more
however long it was idle (as a sleeper has in Linux's completely fair scheduler). What a call really took is settled
when it ends. The queue holds waiters and their order; it knows nothing of connections, and never decides that a waiter
gets a place.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import ItemsView, Iterator, Mapping, Set
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from pooler.core.slots import Priority, Waiter

HANDICAP_SECONDS = {Priority.INTERACTIVE: 0.0, Priority.BATCH: 10.0}
"""A batch call stands as if it had come this much later, so it ages into the front instead of starving. Ten seconds is
about how long a person waits before giving up: a burst of people passes, a steady stream of them does not block it."""
LEAST_SECONDS = 0.0001
"""What even the quickest call costs its tenant: so that the order between tenants is never left to chance."""
BURST_CALLS = 8
"""So many calls that come together go first when their tenant has asked for less than its share until then. Calls come
at random: with nothing to the good, a tenant at six tenths of its share that happens to send three at once is held to
its share for the third, and its p99 is 3 times what it is alone, beside one that offers 10 times the capacity; with
eight it is 1.8 times."""
RESTING_MAX = 250
"""How many accounts of tenants with nothing under way are kept; what an older one still owed is forgiven."""
STALE_MAX = 64
"""How many entries beyond two for each tenant may stand in the order before those that mean nothing are swept out."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a tenant may have of a backend. None: no limit of its own."""

    weight: float = 1.0
    queue_max: int | None = None
    connections_max: int | None = None


@dataclass(slots=True, eq=False)
class Lane:
    """One tenant's waiters, and its account."""

    share: Share = field(default_factory=Share)
    waiting: dict[Priority, OrderedDict[Waiter, None]] = field(
        default_factory=lambda: {priority: OrderedDict() for priority in Priority}
    )
    start: float = float("-inf")
    """The virtual time at which its next call may begin."""
    held: int = 0
    """Grants that it holds."""
    lined_up: float | None = None
    """The least tag under which it stands in the order; None when it does not."""
    length: int = 0
    """How many wait."""

    @property
    def oldest(self) -> Waiter | None:
        """Whoever of its waiters has waited longest."""
        heads = (next(iter(own)) for own in self.waiting.values() if own)
        return min(heads, key=lambda waiter: waiter.asked_at, default=None)

    @property
    def servable(self) -> int:
        """How many of its waiters could be served if there were connections enough."""
        most = self.share.connections_max
        return self.length if most is None else max(0, min(self.length, most - self.held))

    def push(self, waiter: Waiter, front: bool) -> None:
        """Puts a waiter behind those of its priority, or before them."""
        own = self.waiting[waiter.priority]
        own[waiter] = None
        if front:
            own.move_to_end(waiter, last=False)
        self.length += 1

    def pop(self) -> Waiter:
        """Its next waiter, by priority and age."""
        self.length -= 1
        own, others = self.waiting.values()
        if others and (not own or _turn(others) < _turn(own)):
            own = others
        return own.popitem(last=False)[0]

    def remove(self, waiter: Waiter) -> None:
        """Takes a waiter out, wherever it stands."""
        del self.waiting[waiter.priority][waiter]
        self.length -= 1

    def indices(self, waiters: Set[Waiter]) -> dict[Waiter, int]:
        """How many of its waiters go before each of these: one look at all of them, for however many."""
        turns = [[_turn_of(waiter) for waiter in own] for own in self.waiting.values()]
        found = {}
        for rank, own in enumerate(self.waiting.values()):
            earlier, later = turns[:rank], turns[rank + 1 :]  # of two that are equal, the earlier priority goes first
            for index, waiter in enumerate(own):
                if waiter in waiters:
                    turn = _turn_of(waiter)
                    ahead = sum(bisect_right(each, turn) for each in earlier)
                    found[waiter] = index + ahead + sum(bisect_left(each, turn) for each in later)
        return found

    def last(self) -> Waiter:
        """Whoever of its waiters would be served last."""
        tails = [next(reversed(own)) for own in self.waiting.values() if own]
        return max(tails, key=lambda waiter: waiter.asked_at + HANDICAP_SECONDS[waiter.priority])


class Queue:
    """Waiters in the order in which they will be served. `shares` by tenant; whoever is not listed has weight 1."""

    def __init__(self, shares: Mapping[str, Share] | None = None) -> None:
        self._shares: Mapping[str, Share] = shares or {}
        self._lanes: dict[str, Lane] = {}
        self._order: list[tuple[float, int, Lane]] = []
        """A heap of start tags. An entry under which its lane no longer stands is passed over; one whose lane has had
        to pay in the meantime is put where that belongs when it comes to the front."""
        self._limited: dict[str, Lane] = {}
        """Those of the lanes that may hold only so many connections."""
        self._resting: OrderedDict[str, None] = OrderedDict()
        self._entries = 0
        self._now = 0.0
        """Virtual time: the start tag of whoever was served last."""
        self._length = 0
        self.whole = 0
        """How many wait for a connection that they share with nobody."""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter]:
        """Everybody who waits, tenant by tenant."""
        return (waiter for lane in self._lanes.values() for own in lane.waiting.values() for waiter in own)

    def __contains__(self, waiter: object) -> bool:
        if not isinstance(waiter, Waiter) or (lane := self._lanes.get(waiter.tenant)) is None:
            return False
        return waiter in lane.waiting[waiter.priority]

    @property
    def servable(self) -> int:
        """How many could be served if there were connections enough, which a tenant's own limit may forbid."""
        if not self._limited:
            return self._length
        return self._length - sum(lane.length - lane.servable for lane in self._limited.values())

    def weight(self, tenant: str) -> float:
        """A tenant's share beside the others'."""
        return self._shares.get(tenant, Share()).weight

    def full(self, tenant: str) -> bool:
        """Whether a tenant has as many waiters as its share allows."""
        if tenant not in self._shares:
            return False
        most = self._shares[tenant].queue_max
        return most is not None and tenant in self._lanes and self._lanes[tenant].length >= most

    def would_serve(self, tenant: str) -> bool:
        """Whether a tenant's own limit of connections leaves one for a newcomer."""
        most = self._shares[tenant].connections_max if tenant in self._shares else None
        lane = self._lanes.get(tenant)
        return most is None or lane is None or lane.held + lane.length < most

    def push(self, waiter: Waiter, front: bool = False) -> None:
        """Puts a waiter behind those of its tenant and priority; or before them, when it lost its turn blamelessly."""
        lane = self._lane(waiter.tenant)
        if not lane.length and lane.start < (earliest := self._now - BURST_CALLS * _price(waiter) / lane.share.weight):
            lane.start = earliest
        lane.push(waiter, front)
        self._length += 1
        self.whole += waiter.whole
        self._line_up(lane)

    def prefer(self, waiter: Waiter, priority: Priority) -> None:
        """Gives a call another priority; if it waits, it goes behind those who have that already."""
        if waiter.priority is priority:
            return
        waits = self.remove(waiter)
        waiter.priority = priority
        if waits:
            self.push(waiter)

    def remove(self, waiter: Waiter) -> bool:
        """Takes a waiter out, wherever it stands. False when it was not waiting."""
        if waiter not in self:
            return False
        lane = self._lanes[waiter.tenant]
        lane.remove(waiter)
        self._length -= 1
        self.whole -= waiter.whole
        self._rest(waiter.tenant, lane)
        return True

    def pop(self) -> Waiter:
        """Takes the next one out. Raises KeyError when nobody is servable."""
        while self._order:
            start, _, lane = heappop(self._order)
            if start != lane.lined_up:
                continue
            lane.lined_up = None
            if start < lane.start and self._order and self._order[0][0] < lane.start:
                self._line_up(lane)
            elif lane.servable:
                if self._now < lane.start:
                    self._now = lane.start
                waiter = lane.pop()
                self._length -= 1
                self.whole -= waiter.whole
                self._line_up(lane)
                return waiter
        raise KeyError("nobody is servable")

    def granted(self, waiter: Waiter) -> None:
        """A waiter that was popped has got a place: its tenant pays for it what it is expected to take."""
        lane = self._lanes[waiter.tenant]
        lane.held += 1
        self._charge(lane, _price(waiter))

    def returned(self, waiter: Waiter, seconds: float) -> None:
        """A grant has ended, after this long: the account is settled, and another of its tenant may be servable."""
        lane = self._lanes[waiter.tenant]
        lane.held -= 1
        self._charge(lane, seconds - _price(waiter))
        self._rest(waiter.tenant, lane)

    def oldest(self) -> Waiter | None:
        """Whoever has waited longest."""
        heads = (head for lane in self._lanes.values() if (head := lane.oldest) is not None)
        return min(heads, key=lambda waiter: waiter.asked_at, default=None)

    def lanes(self) -> ItemsView[str, Lane]:
        """By tenant, those that wait or hold something, and some that did."""
        return self._lanes.items()

    def gives_way(self, tenant: str) -> Waiter | None:
        """Who leaves a full queue so that a newcomer of this tenant finds a place in it. None: nobody does.

        It is the last one of whoever takes up most of the queue for its weight, unless the newcomer's own tenant would
        then take up as much (longest queue drop; McKenney's stochastic fairness queueing, 1990). Without it, a tenant
        that fills the queue keeps all others out of their shares.
        """
        longest = max(self._lanes.values(), key=lambda lane: lane.length / lane.share.weight, default=None)
        own = self._lanes.get(tenant) or Lane(self._shares.get(tenant, Share()))
        if longest is None or longest.length / longest.share.weight <= (own.length + 1) / own.share.weight:
            return None
        return longest.last()

    def places(self, waiters: Set[Waiter]) -> dict[Waiter, int]:
        """About where each of these stands, 1 being next, if nobody came or left any more.

        Its own tenant's waiters are counted one by one, and of each other tenant's as many as its weight lets go first.
        Whoever does not wait is left out.
        """
        found = {}
        for tenant in {waiter.tenant for waiter in waiters} & self._lanes.keys():
            lane = self._lanes[tenant]
            others = [other for other in self._lanes.values() if other is not lane and other.length]
            for waiter, index in lane.indices(waiters).items():
                found[waiter] = 1 + index + sum(_ahead(other, lane, index) for other in others)
        return found

    def clear(self) -> list[Waiter]:
        """Takes everybody out, tenant by tenant."""
        everybody = []
        for tenant, lane in list(self._lanes.items()):
            while lane.length:
                everybody.append(lane.pop())
            self._rest(tenant, lane)
        self._length = self.whole = 0
        return everybody

    def reconfigure(self, shares: Mapping[str, Share]) -> None:
        """New shares, for those who wait as well."""
        self._shares = shares
        for tenant, lane in self._lanes.items():
            self._give(lane, tenant)
            self._line_up(lane)

    def _lane(self, tenant: str) -> Lane:
        lane = self._lanes.get(tenant)
        if lane is None:
            lane = self._lanes[tenant] = Lane()
            self._give(lane, tenant)
        if self._resting:
            self._resting.pop(tenant, None)
        return lane

    def _give(self, lane: Lane, tenant: str) -> None:
        """Its share, as it is configured now."""
        lane.share = self._shares.get(tenant, Share())
        if lane.share.connections_max is None:
            self._limited.pop(tenant, None)
        else:
            self._limited[tenant] = lane

    def _charge(self, lane: Lane, seconds: float) -> None:
        lane.start += seconds / lane.share.weight
        if lane.lined_up is None or lane.start < lane.lined_up:
            self._line_up(lane)

    def _line_up(self, lane: Lane) -> None:
        if (lane.lined_up is None or lane.start < lane.lined_up) and lane.servable:
            lane.lined_up = lane.start
            self._entries += 1
            heappush(self._order, (lane.start, self._entries, lane))
            if len(self._order) > 2 * len(self._lanes) + STALE_MAX:  # in an outage, nobody is ever popped
                self._order = [entry for entry in self._order if entry[0] == entry[2].lined_up]
                heapify(self._order)

    def _rest(self, tenant: str, lane: Lane) -> None:
        """Keeps the account of a tenant that neither waits nor holds anything, as long as such tenants are few."""
        if lane.length or lane.held:
            return
        self._resting[tenant] = None
        if len(self._resting) > RESTING_MAX:
            oldest, _ = self._resting.popitem(last=False)
            self._limited.pop(oldest, None)
            self._lanes.pop(oldest).lined_up = None


def _price(waiter: Waiter) -> float:
    expected = waiter.expected_seconds
    return expected if expected > LEAST_SECONDS else LEAST_SECONDS


def _ahead(other: Lane, lane: Lane, index: int) -> int:
    """How many of another tenant's waiters are served before the one of this index, were all calls as expensive."""
    turns = index + (1 if other.start < lane.start else 0)
    return min(other.length, int(turns * other.share.weight / lane.share.weight))


def _turn(own: OrderedDict[Waiter, None]) -> float:
    return _turn_of(next(iter(own)))


def _turn_of(waiter: Waiter) -> float:
    return waiter.asked_at + HANDICAP_SECONDS[waiter.priority]
