"""Something that changes now and then, and all who are interested in it: however many they are, it is watched once.

What nobody can know is told as a change: a watcher that was told of a watch before it was in effect, and each of them
after a break, reads once in vain rather than never again.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass

Key = Hashable
"""What a source watches. Who wants the same gives the same key."""


@dataclass(slots=True, eq=False)
class Interest:
    """One watcher's, in one thing."""

    tell: Callable[[], None]
    """Called at each change; must not block."""
    source: "Source | None" = None
    """None while there is nothing to be watched, after a reload."""
    owed: bool = False
    """Whether a change may have been missed, which is told as soon as none can be any more."""


class Source(ABC):
    """One thing, watched as long as anybody is interested in it."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.effect = asyncio.Event()
        """Set while no change can be missed."""
        self.interests: dict[Interest, None] = {}

    def __repr__(self) -> str:
        state = "in effect" if self.effect.is_set() else "not in effect"
        return f"{type(self).__name__}({self.key!r}, {len(self.interests)} interested, {state})"

    @abstractmethod
    def begin(self) -> None:
        """Somebody is interested now."""

    @abstractmethod
    def end(self) -> None:
        """Nobody is any more."""

    def changed(self) -> None:
        """Tells everybody."""
        for interest in list(self.interests):
            interest.tell()

    def began(self) -> None:
        """From now on no change is missed."""
        self.effect.set()
        for interest in list(self.interests):
            if interest.owed:
                interest.owed = False
                interest.tell()

    def broke(self) -> None:
        """From now on changes may be missed. Harmless when it was not in effect."""
        if self.effect.is_set():
            self.effect.clear()
            for interest in self.interests:
                interest.owed = True
