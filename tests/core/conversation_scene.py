"""A room of conversations in the hands of a test, and what stands around it: a wall clock, changes, belongings."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from pooler.backends.base import Caller
from pooler.core.conversations import Limits
from pooler.errors import Fault, Reason
from pooler.runtime.conversations.record import Target
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.handles import Sealer
from pooler.runtime.store.base import Store

NOW = 1_800_000_000.0
LIMITS = Limits(idle_seconds=30.0, lifetime_seconds=3600.0, per_principal_max=3)
ANN = ("shop", "ann")
TARGET = Target("orders://a", "orders", b'{"customer": "a"}')


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Thing:
    """Something that belongs to a conversation."""

    def __init__(self) -> None:
        self.ended = 0

    async def end(self) -> None:
        await asyncio.sleep(0)
        self.ended += 1


class Board:
    """Where changes are put up by hand, for whoever watches."""

    def __init__(self) -> None:
        self.watched: dict[str, list[asyncio.Queue[str]]] = {}
        self.operations = {"orders"}

    def check(self, targets: Sequence[Target], caller: Caller) -> None:
        if any(target.operation not in self.operations for target in targets):
            raise Fault(Reason.OPERATION_NOT_FOUND, "There is no such operation.")

    async def watch(self, targets: Sequence[Target], caller: Caller) -> AsyncGenerator[str, None]:
        self.check(targets, caller)
        news: asyncio.Queue[str] = asyncio.Queue()
        for target in targets:
            self.watched.setdefault(target.uri, []).append(news)
        try:
            while True:
                yield await news.get()
        finally:
            for target in targets:
                self.watched[target.uri].remove(news)
                if not self.watched[target.uri]:
                    del self.watched[target.uri]

    def change(self, uri: str) -> None:
        for news in self.watched[uri]:
            news.put_nowait(uri)

    async def until_watched(self, *uris: str) -> None:
        """Returns when just these are watched, by one each."""
        await until(lambda: {uri: len(who) for uri, who in self.watched.items()} == dict.fromkeys(uris, 1))


async def until(holds: Callable[[], bool]) -> None:
    """Lets everything else run until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def made(store: Store, wall: Wall, limits: Limits = LIMITS) -> Conversations:
    return Conversations(Sealer("0a1b2c3d", [bytes(32)], wall), store, limits, wall)


def refused(room: Conversations, handle: str, *caller: str) -> Reason:
    with pytest.raises(Fault) as raised:
        room.check(handle, *(caller or ANN))
    return raised.value.reason
