"""Identical reads under way: who asks the backend once for all of them, who may join, and what may be kept of it.

A read is answered from the cache while that is good; else it joins a flight for the same key, or begins one. Nobody
joins a flight whose backend may have begun before something that its answer depends on has moved, and nothing of such
a flight is kept; it is still the right answer for those who were there before. An error is told to everybody on board
and kept for nobody. Times come in as parameters, in seconds; who is told, and how work is begun, the hands know.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pooler.core.cache import ENTRY_BYTES, Cache, Entry, Standing, Terms
from pooler.core.epochs import Epochs, Marks, moved
from pooler.core.slots import Priority, Waiter

RETRY_SECONDS = 1.0
"""How long after an attempt to renew an answer ahead of time has failed, the next one is made."""


@dataclass(slots=True, eq=False)
class Flight:
    """One call of the backend, and everybody who waits for its answer, the first one first."""

    owner: str
    key: Hashable
    terms: Terms
    marks: Marks
    key_bytes: int = 0
    """What its key and its marks would take in the cache."""
    callers: dict[Waiter, None] = field(default_factory=dict)
    epoch: int = 0
    """The number of the last event before its work began."""
    began_at: float | None = None
    """When its work began; None while it waits."""
    give_up_at: float = float("-inf")
    """When the last of its callers would wait for a connection no more."""
    deadline: float = float("-inf")
    """When the last of them would wait for the answer no more."""
    priority: Priority = Priority.BATCH
    turn: Waiter | None = None
    """Its own place in the queue of its pool, once it has asked for one."""
    ahead_of_time: bool = False
    """Whether it goes on when nobody waits for it: it renews what others are given meanwhile."""

    def board(self, caller: Waiter) -> bool:
        """One more waits for it. Whether its own turn is now to be more patient or more urgent than it was."""
        before = self.give_up_at, self.deadline, self.priority
        self.callers[caller] = None
        self.give_up_at = max(self.give_up_at, caller.give_up_at)
        self.deadline = max(self.deadline, caller.deadline)
        if caller.priority is Priority.INTERACTIVE:
            self.priority = Priority.INTERACTIVE
        return before != (self.give_up_at, self.deadline, self.priority)

    def leave(self, caller: Waiter) -> bool:
        """One of them waits no more. Whether nobody is left for whom it should go on."""
        self.callers.pop(caller, None)
        return not self.callers and not self.ahead_of_time

    def begin(self, epoch: int, now: float) -> None:
        """Its work begins; or begins anew, on another connection."""
        self.epoch, self.began_at = epoch, now

    def joinable(self, now: float) -> bool:
        """Whether its answer will do for somebody who comes now."""
        if self.began_at is None:
            return True
        young = not self.terms.keeps or now - self.began_at < self.terms.ttl + self.terms.stale
        return young and not moved(self.marks, self.epoch)


class Hit(NamedTuple):
    """What is there already: an answer, or (`value` None) that the answers of this key cannot be shared."""

    entry: Entry
    fresh: bool
    age: float
    renew: bool = False
    """Whether somebody should have another one made, if there is capacity to spare."""


class Flights:
    """All flights of a pooler, over the cache of its answers."""

    def __init__(self, cache: Cache, epochs: Epochs) -> None:
        self.cache = cache
        self.epochs = epochs
        self._flights: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        """How many may still be joined, as far as their keys go."""
        return len(self._flights)

    def find(self, terms: Terms, owner: str, key: Hashable, now: float, down: bool) -> Hit | None:
        """What the cache has for a read. `down`: whether the backend is known to answer nobody now."""
        entry = self.cache.get(owner, key) if terms.keeps else None
        if entry is None or not entry.valid:
            return None
        age = now - entry.began_at
        standing = terms.standing(age)
        if standing is Standing.FRESH:
            return Hit(entry, True, age)
        if entry.value is None:
            return None
        if standing is Standing.STALE:
            return Hit(entry, False, age, renew=not down and now >= entry.retry_at and key not in self._flights)
        return Hit(entry, False, age) if standing is Standing.SPENT and down else None

    def under_way(self, key: Hashable, now: float) -> Flight | None:
        """The flight that a read may join."""
        flight = self._flights.get(key)
        return flight if flight is not None and flight.joinable(now) else None

    def open(self, terms: Terms, owner: str, key: Hashable, marks: Marks, key_bytes: int = 0) -> Flight:
        """A new one, in place of one that nobody may join any more. It has the marks until it has landed or crashed."""
        flight = self._flights[key] = Flight(owner, key, terms, marks, key_bytes)
        return flight

    def landed(self, flight: Flight, value: Any, size: int) -> bool:
        """It has its answer, of so many bytes; None: one that cannot be shared. Closes it. Whether it is kept."""
        assert flight.began_at is not None, "an answer of work that was never begun"
        entry = Entry(
            flight.owner,
            flight.key,
            value,
            ENTRY_BYTES + flight.key_bytes + size,
            flight.marks,
            flight.epoch,
            flight.began_at,
        )
        self._forget(flight)
        if flight.terms.keeps and entry.valid and self.cache.put(entry):
            return True
        self.epochs.let_go(flight.marks)
        return False

    def crashed(self, flight: Flight, now: float, down: bool) -> Entry | None:
        """It has failed, or nobody wanted it any more. Closes it. `down`: whether its backend could not answer at all.

        Returns what its callers may be given instead.
        """
        self._forget(flight)
        entry = self.cache.get(flight.owner, flight.key) if flight.terms.keeps else None
        self.epochs.let_go(flight.marks)
        if entry is None or entry.value is None or not entry.valid:
            return None
        entry.retry_at = now + RETRY_SECONDS
        usable = flight.terms.standing(now - entry.began_at) is not Standing.OVER
        return entry if down and flight.terms.down and usable else None

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
