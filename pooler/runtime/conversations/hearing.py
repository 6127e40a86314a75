"""What a conversation's client hears beside its runs: changes of the resources that it has subscribed to.

One stream at a time listens. Each resource is watched by a task of its own, so that one more or less is no matter to
the others; changes of one resource that nobody has read yet are one change. It keeps nothing and knows no store.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from pooler.backends.base import Caller
from pooler.errors import Fault
from pooler.runtime.conversations.record import Target

log = structlog.get_logger(__name__)


class Watches(Protocol):
    """Whoever can tell of changes."""

    def check(self, targets: Sequence[Target], caller: Caller) -> None:
        """Raises Fault when one of them cannot be watched."""

    def watch(self, targets: Sequence[Target], caller: Caller) -> AsyncGenerator[str, None]:
        """The URIs of those that change, until it is closed. Raises Fault for what cannot be watched."""


class Hearing:
    """One stream, as an async iterator of URIs. It hears from the moment it is made; whoever stops must `end` it."""

    def __init__(
        self,
        watches: Watches,
        caller: Caller,
        targets: Iterable[Target],
        unread: Iterable[str],
        ended: Callable[["Hearing"], None],
    ) -> None:
        """`unread`: what has changed already. `ended` is called once, when it ends for whatever reason."""
        self._watches = watches
        self._caller = caller
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[str, None] = dict.fromkeys(unread)
        self._something = asyncio.Event()
        self._ended: Callable[[Hearing], None] | None = ended
        for target in targets:
            self.watch(target)

    def __repr__(self) -> str:
        state = "ended" if self._ended is None else f"{len(self._tasks)} watched, {len(self._changed)} changed"
        return f"Hearing({state})"

    def __aiter__(self) -> "Hearing":
        return self

    async def __anext__(self) -> str:
        while self._ended is not None and not self._changed:
            self._something.clear()
            await self._something.wait()
        if self._ended is None:
            raise StopAsyncIteration
        uri = next(iter(self._changed))
        del self._changed[uri]
        return uri

    @property
    def unread(self) -> list[str]:
        """What has changed and was not taken yet."""
        return list(self._changed)

    def watch(self, target: Target) -> None:
        """One resource more; one that is watched already is watched anew."""
        if task := self._tasks.pop(target.uri, None):
            task.cancel()
        if self._ended is not None:
            self._tasks[target.uri] = asyncio.get_running_loop().create_task(self._follow(target))

    def forget(self, uri: str) -> None:
        """One less. Harmless when it is not watched."""
        if task := self._tasks.pop(uri, None):
            task.cancel()
        self._changed.pop(uri, None)

    def end(self) -> None:
        """Nothing more is heard: its client left, listens by another stream, or the conversation is over."""
        ended, self._ended = self._ended, None
        if ended is not None:
            for uri in list(self._tasks):
                self.forget(uri)
            self._something.set()
            ended(self)

    async def _follow(self, target: Target) -> None:
        try:
            async with aclosing(self._watches.watch([target], self._caller)) as changes:
                async for uri in changes:
                    self._changed[uri] = None
                    self._something.set()
        except Fault as fault:
            log.warning("a subscription is watched no more", uri=target.uri, reason=fault.reason, error=fault.message)
