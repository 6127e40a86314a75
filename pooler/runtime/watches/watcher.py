"""One watcher: what it wants to hear of, and what it has not heard yet. It watches nothing by itself."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from pooler.backends.base import Caller
from pooler.runtime.conversations.record import Target
from pooler.runtime.watches.source import Interest


class Watch:
    """An async iterator of the URIs that change, until it is closed. Whoever opened it must `close` it.

    Changes of one URI that have not been read yet are one change, so it holds no more than there are targets.
    """

    def __init__(self, targets: Sequence[Target], caller: Caller, closed: Callable[["Watch"], None]) -> None:
        """`closed` is called once, when it ends for whatever reason."""
        self.caller = caller
        self.interests = {Interest(partial(self._note, target.uri)): target for target in targets}
        self._closed: Callable[[Watch], None] | None = closed
        self._changed: dict[str, None] = {}
        self._something = asyncio.Event()
        self._announced = False

    def __repr__(self) -> str:
        state = "closed" if self._closed is None else f"{len(self._changed)} changed"
        return f"Watch({len(self.interests)} targets, {state})"

    async def in_effect(self, seconds: float) -> None:
        """Waits until no change can be missed; at most for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for interest in self.interests:
                    if interest.source is not None:
                        await interest.source.effect.wait()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> str:
        self._announce()
        while self._closed is not None and not self._changed:
            self._something.clear()
            await self._something.wait()
        if self._closed is None:
            raise StopAsyncIteration
        uri = next(iter(self._changed))
        del self._changed[uri]
        return uri

    def close(self) -> None:
        """Nothing more is heard. Harmless when repeated."""
        closed, self._closed = self._closed, None
        if closed is not None:
            self._something.set()
            closed(self)

    def _announce(self) -> None:
        """Its owner believes from now on that he hears of every change: what is missed until that is true is owed."""
        if not self._announced:
            self._announced = True
            for interest in self.interests:
                interest.owed |= interest.source is not None and not interest.source.effect.is_set()

    def _note(self, uri: str) -> None:
        self._changed[uri] = None
        self._something.set()
