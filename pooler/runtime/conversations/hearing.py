"""What a conversation's client hears beside its runs: changes of the resources that it has subscribed to.

One stream at a time listens. Each resource is watched by a task of its own, so that one more or less is no matter to
the others; changes of one resource that nobody has read yet are one change. It keeps nothing and knows no store.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from pooler.backends.base import Caller
from pooler.errors import Fault
from pooler.runtime.conversations.record import Target

log = structlog.get_logger(__name__)


class Watches(Protocol):
    """Whoever can tell of changes."""

    def watch(self, targets: Sequence[Target], caller: Caller) -> AsyncGenerator[str, None]:
        """The URIs of those that change, until it is closed. Raises Fault for what cannot be watched."""


class Hearing:
    """One stream. Iterate `changes` once; `end` it at any time."""

    def __init__(self, watches: Watches, caller: Caller, targets: Iterable[Target]) -> None:
        self._watches = watches
        self._caller = caller
        self._targets = list(targets)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[str, None] = {}
        self._something = asyncio.Event()
        self._ended = False

    async def changes(self) -> AsyncIterator[str]:
        """The URIs of what has changed, until it is ended. Close it (`contextlib.aclosing`)."""
        try:
            for target in self._targets:
                self.watch(target)
            while not self._ended:
                await self._something.wait()
                self._something.clear()
                while self._changed and not self._ended:
                    uri = next(iter(self._changed))
                    del self._changed[uri]
                    yield uri
        finally:
            self._ended = True
            tasks = [*self._tasks.values()]
            self._tasks.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def watch(self, target: Target) -> None:
        """One resource more; one that is watched already is watched anew."""
        self.forget(target.uri)
        if not self._ended:
            self._tasks[target.uri] = asyncio.get_running_loop().create_task(self._follow(target))

    def forget(self, uri: str) -> None:
        """One less. Harmless when it is not watched."""
        if task := self._tasks.pop(uri, None):
            task.cancel()
        self._changed.pop(uri, None)

    def end(self) -> None:
        """Nothing more is heard: the conversation is over, or listens by another stream."""
        self._ended = True
        self._something.set()

    async def _follow(self, target: Target) -> None:
        try:
            async with aclosing(self._watches.watch([target], self._caller)) as changes:
                async for uri in changes:
                    self._changed[uri] = None
                    self._something.set()
        except Fault as fault:
            log.warning("a subscription is watched no more", uri=target.uri, reason=fault.reason, error=fault.message)
