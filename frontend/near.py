"""Answers that may be given again for a short while, because the pooler has said so. It holds no truth.

What is kept is bounded in bytes and in time, and goes at once when the pooler says so, or when nobody is left on the
line who could. Whoever keeps an answer says in which epoch it was asked for: of an invalidation that came between a
question and its answer nobody can tell whether the answer was made before it, so that such an answer is not kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from frontend.events import Reply, Reuse

ENTRY_BYTES = 950
"""What an entry takes beside its result and its arguments, measured with one tag that nothing else bears."""

NO_TIME = {"queue_ms": 0.0, "start_ms": 0.0, "reset_ms": 0.0, "backend_ms": 0.0}
"""Where the time of an answer went that took none."""


class _Entry(NamedTuple):
    reply: Reply
    asked: float
    until: float
    until_by_the_wall: float
    age_ms: int
    size: int
    tags: tuple[str, ...]


class Near:
    """`bytes_max`: 0 keeps nothing. `now`: a monotonic clock, in seconds.

    `wall`: one that goes on while the process is frozen, as a function is between two requests: what it was told
    meanwhile it has not heard. Set forward, it makes answers end early; set back, it changes nothing.
    """

    def __init__(self, bytes_max: int, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.epoch = 0
        """Another one whenever anything was invalidated."""
        self.hits = 0
        """Answers that were given again."""
        self.bytes = 0
        self._most = bytes_max
        self._now = now
        self._wall = wall
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._tagged: dict[str, set[Hashable]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        """Whether it may keep anything at all."""
        return self._most > 0

    def __repr__(self) -> str:
        return f"<Near {len(self)} answers, {self.bytes} of {self._most} bytes, epoch {self.epoch}>"

    def find(self, key: Hashable | None) -> Reply | None:
        """An answer that may be given again now, with its age."""
        if key is None or (entry := self._entries.get(key)) is None:
            return None
        now = self._now()
        if now >= entry.until or self._wall() >= entry.until_by_the_wall:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        reuse = Reuse("hit", entry.age_ms + int((now - entry.asked) * 1000), 0, ())
        return Reply(entry.reply.body, entry.reply.content, NO_TIME, reuse=reuse)

    def keep(self, key: Hashable | None, reply: Reply, asked: float, epoch: int, key_bytes: int = 0) -> None:
        """Keeps an answer for as long as was granted, unless its grant is over already.

        `key`: what calls share that have the same answer; None for a call that is like no other.
        `asked`: when the call was made, from which its time counts, since nobody knows when the pooler granted it.
        `epoch`: the one of that moment.
        `key_bytes`: how much of a key is its own.
        """
        granted = reply.reuse
        if key is None or granted is None or granted.near_ms <= 0 or reply.asks or epoch != self.epoch:
            return
        left = asked + granted.near_ms / 1000 - (now := self._now())
        size = len(reply.body) + key_bytes + ENTRY_BYTES
        if size > self._most or left <= 0:
            return
        self._drop(key)
        ends = (now + left, self._wall() + left)
        self._entries[key] = _Entry(reply, asked, *ends, granted.age_ms, size, granted.tags)
        self.bytes += size
        for tag in granted.tags:
            self._tagged.setdefault(tag, set()).add(key)
        while self.bytes > self._most:
            self._drop(next(iter(self._entries)))

    def invalidate(self, tags: Iterable[str]) -> None:
        """Whatever was granted for any of these tags until now is given to nobody any more."""
        self.epoch += 1
        for tag in tags:
            for key in list(self._tagged.get(tag, ())):
                self._drop(key)

    def clear(self) -> None:
        """Whatever was granted until now is given to nobody any more."""
        self.epoch += 1
        self._entries.clear()
        self._tagged.clear()
        self.bytes = 0

    def _drop(self, key: Hashable) -> None:
        if (entry := self._entries.pop(key, None)) is None:
            return
        self.bytes -= entry.size
        for tag in entry.tags:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]
