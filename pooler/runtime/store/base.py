"""The store's interface, and its bounds. Two forms keep it: `memory` and `sqlite`; one contract suite holds both.

An entry has a kind, a key, bytes and a time at which it expires. The events of a key are a log beside its entry: they
need one to be there, and go when the last entry with that key goes. What has expired is never given out, whether it has
been swept or not. The store is full when its bounds are reached by what is alive: then it refuses, and lets nothing go
that somebody counts on. It understands nothing of what it keeps.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pooler.errors import Fault, Reason

ENTRY_BYTES = 200
"""What an entry or an event weighs beside its own bytes, about: keys, times and the structures around them."""
FULL_RETRY_MS = 1000


@dataclass(frozen=True, slots=True)
class StoreBounds:
    """How much a store takes: entries and events together."""

    count_max: int = 1_000_000
    bytes_max: int = 256 << 20


class Store(ABC):
    """Every method may be called from many tasks of one loop; what one task awaited, every later read sees."""

    @abstractmethod
    async def put(self, kind: str, key: str, value: bytes, expires_at: float) -> None:
        """Makes or replaces an entry, kept until `expires_at` (Unix time in seconds).

        When it returns, the entry is as durable as this form of store makes anything. Raises Fault (STORE_FULL).
        """

    @abstractmethod
    async def get(self, kind: str, key: str) -> bytes | None:
        """An entry's bytes; None when there is none, or none any more."""

    @abstractmethod
    async def all(self, kind: str) -> list[tuple[str, bytes]]:
        """The keys and bytes of every entry of a kind, in the order of the keys: for a pooler that has just started."""

    @abstractmethod
    async def delete(self, kind: str, key: str) -> None:
        """Removes an entry, and the events of its key unless another kind has an entry with it. Harmless twice."""

    @abstractmethod
    async def delete_under(self, key: str) -> None:
        """Removes every entry, of whatever kind, whose key is this one, a dot and something more; and their events."""

    @abstractmethod
    async def append(self, key: str, seq: int, event: bytes) -> None:
        """Adds an event to the log of a key; one with the same number is replaced. Raises Fault (STORE_FULL).

        Put the entry first: an event whose key has none, or none any more, is not kept.
        """

    @abstractmethod
    async def read(self, key: str, after: int) -> list[tuple[int, bytes]]:
        """The events of a key with numbers above `after`, in their order."""

    @abstractmethod
    async def sweep(self, now: float) -> None:
        """Removes what has expired by `now` (Unix time in seconds). Cheap when nothing has."""

    @abstractmethod
    async def close(self) -> None:
        """Ends it, after what was begun. Nothing may be asked of it afterwards."""


class StoreError(Exception):
    """The store cannot be opened; the message says why and what to do."""


def full(bounds: StoreBounds, count: int, size: int) -> Fault:
    """The refusal: what, how many, what to do."""
    return Fault(
        Reason.STORE_FULL,
        f"This pooler keeps {count} things in {size >> 20} MiB for conversations, runs and the like, and may keep "
        f"{bounds.count_max} in {bounds.bytes_max >> 20} MiB. Close what is not needed, or try again later.",
        {"retry_after_ms": str(FULL_RETRY_MS)},
    )
