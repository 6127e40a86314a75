"""The store of a pooler whose state may end with it: plain dictionaries, bounded by count and by bytes."""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from pooler.clock import Clock
from pooler.runtime.store.base import ENTRY_BYTES, Store, StoreBounds, full

HEAP_SLACK = 1000
"""How many outdated times the heap may hold beside as many as there are entries, before it is made anew."""


class _Entry(NamedTuple):
    value: bytes
    expires_at: float


class MemoryStore(Store):
    """`wall`: Unix time in seconds."""

    def __init__(self, wall: Clock, bounds: StoreBounds | None = None) -> None:
        self._wall = wall
        self._bounds = bounds or StoreBounds()
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._kinds: dict[str, set[str]] = {}
        """By key: the kinds that have an entry with it."""
        self._under: dict[str, set[str]] = {}
        """By what stands before a key's first dot: the keys that have one."""
        self._logs: dict[str, dict[int, bytes]] = {}
        self._times: list[tuple[float, str, str]] = []
        """A heap of when what expires; an entry that was replaced or deleted has left its old time behind."""
        self._count = 0
        self._bytes = 0

    def __repr__(self) -> str:
        return f"MemoryStore({self._count} things, {self._bytes} bytes)"

    async def put(self, kind: str, key: str, value: bytes, expires_at: float) -> None:
        self._sweep(self._wall())
        before = self._entries.get((kind, key))
        self._weigh(value, before.value if before else None)
        self._entries[kind, key] = _Entry(value, expires_at)
        self._kinds.setdefault(key, set()).add(kind)
        if "." in key:
            self._under.setdefault(_above(key), set()).add(key)
        heappush(self._times, (expires_at, kind, key))
        if len(self._times) > 2 * len(self._entries) + HEAP_SLACK:
            self._times = [(entry.expires_at, *name) for name, entry in self._entries.items()]
            heapify(self._times)

    async def get(self, kind: str, key: str) -> bytes | None:
        return entry.value if (entry := self._alive(kind, key)) else None

    async def all(self, kind: str) -> list[tuple[str, bytes]]:
        now = self._wall()
        return sorted(
            (key, entry.value)
            for (its_kind, key), entry in self._entries.items()
            if its_kind == kind and entry.expires_at > now
        )

    async def delete(self, kind: str, key: str) -> None:
        self._delete(kind, key)

    async def delete_under(self, key: str) -> None:
        for below in list(self._under.get(key, ())):
            for kind in list(self._kinds[below]):
                self._delete(kind, below)

    async def append(self, key: str, seq: int, event: bytes) -> None:
        self._sweep(self._wall())
        if key in self._kinds:
            log = self._logs.setdefault(key, {})
            self._weigh(event, log.get(seq))
            log[seq] = event

    async def read(self, key: str, after: int) -> list[tuple[int, bytes]]:
        if not any(self._alive(kind, key) for kind in self._kinds.get(key, ())):
            return []
        return sorted((seq, event) for seq, event in self._logs.get(key, {}).items() if seq > after)

    async def sweep(self, now: float) -> None:
        self._sweep(now)

    async def close(self) -> None:
        self._entries.clear()
        self._kinds.clear()
        self._under.clear()
        self._logs.clear()
        self._times.clear()

    def _alive(self, kind: str, key: str) -> _Entry | None:
        entry = self._entries.get((kind, key))
        return entry if entry and entry.expires_at > self._wall() else None

    def _sweep(self, now: float) -> None:
        while self._times and self._times[0][0] <= now:
            _, kind, key = heappop(self._times)
            entry = self._entries.get((kind, key))
            if entry is not None and entry.expires_at <= now:
                self._delete(kind, key)

    def _delete(self, kind: str, key: str) -> None:
        if (entry := self._entries.pop((kind, key), None)) is None:
            return
        self._forget(entry.value)
        self._kinds[key].discard(kind)
        if not self._kinds[key]:
            del self._kinds[key]
            self._leave(key)
            for event in self._logs.pop(key, {}).values():
                self._forget(event)

    def _leave(self, key: str) -> None:
        if "." in key:
            siblings = self._under[_above(key)]
            siblings.discard(key)
            if not siblings:
                del self._under[_above(key)]

    def _weigh(self, value: bytes, replaced: bytes | None) -> None:
        """Counts what is about to be kept. Raises Fault when there is no room for it, and has counted nothing then."""
        count = self._count + (replaced is None)
        size = self._bytes + len(value) + (ENTRY_BYTES if replaced is None else -len(replaced))
        if count > self._bounds.count_max or size > self._bounds.bytes_max:
            raise full(self._bounds, self._count, self._bytes)
        self._count, self._bytes = count, size

    def _forget(self, value: bytes) -> None:
        self._count -= 1
        self._bytes -= ENTRY_BYTES + len(value)


def _above(key: str) -> str:
    return key.partition(".")[0]
