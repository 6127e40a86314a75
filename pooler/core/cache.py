"""Finished answers, bounded in bytes: what is kept, how long it is good, and who gives way when there is no room.

Each tenant has a shelf, on which whatever was not asked for longest stands last. In a full cache the last of whoever
keeps the most gives way, so that nobody's burst of keys drives out what others make use of. What has been invalidated
is never given out again, and lies there until it gives way. Nothing here knows what an answer is, what the time is or
how one is made.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple

from cachetools import Cache as Mapping
from cachetools import LRUCache

from pooler.core.epochs import Epochs, Marks, moved

ENTRY_BYTES = 650
"""What an answer costs beside its own bytes and those of its key: 636 were measured."""
TAG_BYTES = 170
"""What each of its tags costs beside the name, where no other answer has it: as measured."""
SHARE_MAX = 16
"""No answer may take more than one part in so many of the whole cache."""


class Standing(Enum):
    """What an answer is good for."""

    FRESH = "fresh"
    STALE = "stale"
    """It may be given, and another one is to be had."""
    SPENT = "spent"
    """It may be given while its backend is down."""
    OVER = "over"
    """It may not be given."""


class Terms(NamedTuple):
    """How long the answers of an operation are good, in seconds from when the backend began to make them."""

    ttl: float = 0.0
    stale: float = 0.0
    """For so much longer, while another one is made."""
    down: float = 0.0
    """For so much longer than the ttl, while its backend is down."""

    @property
    def keeps(self) -> bool:
        """Whether any answer is kept at all."""
        return self.ttl > 0.0

    def standing(self, age: float) -> Standing:
        """What an answer of this age is good for, if it was not invalidated."""
        if age < self.ttl:
            return Standing.FRESH
        if age < self.ttl + self.stale:
            return Standing.STALE
        return Standing.SPENT if age < self.ttl + self.down else Standing.OVER


@dataclass(slots=True, eq=False)
class Entry:
    """One answer. `value`: None for what cannot be shared, of which only that much is kept."""

    owner: str
    """On whose shelf it stands."""
    key: Hashable
    value: Any
    size: int
    """In bytes, everything included."""
    marks: Marks
    epoch: int
    """The number of the last event before its making began."""
    began_at: float
    """When that was, in seconds."""
    retry_at: float = 0.0
    """Before then, nobody tries again to make another one ahead of time."""

    @property
    def valid(self) -> bool:
        """Whether nothing has invalidated it."""
        return not moved(self.marks, self.epoch)


class _Shelf(LRUCache[Hashable, Entry]):
    """One owner's answers. It bounds nothing by itself: the cache does, for all of them."""

    def __init__(self, dropped: Callable[[Entry], None]) -> None:
        super().__init__(1 << 62, getsizeof=attrgetter("size"))
        self._dropped = dropped

    def __delitem__(self, key: Hashable) -> None:
        entry = self.seen(key)
        super().__delitem__(key)
        self._dropped(entry)

    def seen(self, key: Hashable) -> Entry:
        """What stands there. To look at it is no use of it."""
        return Mapping.__getitem__(self, key)


class Cache:
    """All answers of a pooler."""

    def __init__(self, bytes_max: int, epochs: Epochs) -> None:
        self._epochs = epochs
        self._bytes_max = bytes_max
        self._shelves: dict[str, _Shelf] = {}
        self.bytes = 0
        self.evictions_total = 0
        """Answers that gave way to others."""

    def __len__(self) -> int:
        return sum(len(shelf) for shelf in self._shelves.values())

    @property
    def bytes_max(self) -> int:
        """The most that it may hold. What is too much when it shrinks gives way at once."""
        return self._bytes_max

    @bytes_max.setter
    def bytes_max(self, count: int) -> None:
        self._bytes_max = count
        self._make_room()

    def get(self, owner: str, key: Hashable) -> Entry | None:
        """What is kept under a key, whatever it is still good for. It was asked for, and so will give way last."""
        try:
            return self._shelves[owner][key]
        except KeyError:
            return None

    def put(self, entry: Entry) -> bool:
        """Keeps an answer in place of an earlier one. False: it is too large."""
        if entry.size * SHARE_MAX > self._bytes_max:
            return False
        shelf = self._shelves.get(entry.owner)
        if shelf is None:
            shelf = self._shelves[entry.owner] = _Shelf(self._dropped)
        shelf.pop(entry.key, None)
        shelf[entry.key] = entry
        self.bytes += entry.size
        self._make_room()
        return True

    def drop(self, entry: Entry) -> None:
        """Keeps an answer no longer. Harmless when it is not there any more."""
        shelf = self._shelves.get(entry.owner)
        if shelf is not None and entry.key in shelf and shelf.seen(entry.key) is entry:
            del shelf[entry.key]
            self._leave(entry.owner, shelf)

    def purge(self, over: Callable[[Entry], bool]) -> int:
        """Drops everything that is over; returns how many answers that were. A look at each of them."""
        everything = (shelf.seen(key) for shelf in self._shelves.values() for key in shelf)
        gone = [entry for entry in everything if over(entry)]
        for entry in gone:
            self.drop(entry)
        return len(gone)

    def _make_room(self) -> None:
        while self.bytes > self._bytes_max:
            # A look at each tenant: 60 ns each, and only when an answer is stored in a full cache.
            owner, shelf = max(self._shelves.items(), key=lambda item: item[1].currsize)
            shelf.popitem()
            self.evictions_total += 1
            self._leave(owner, shelf)

    def _leave(self, owner: str, shelf: _Shelf) -> None:
        if not shelf:
            del self._shelves[owner]

    def _dropped(self, entry: Entry) -> None:
        self.bytes -= entry.size
        self._epochs.let_go(entry.marks)
