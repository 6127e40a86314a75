"""Calls that share a session of a simulated system: one after another, as a server takes what stands in its socket.

What was sent is done, whether or not anybody waits for it; only `end` stops it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from pooler.backends.base import Answer
from pooler.backends.shared import Done, Result

Do = Callable[[], Awaitable[Answer]]


class Pipe:
    """Of one connection."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Do, Done | None]] = deque()
        self._task: asyncio.Task[None] | None = None

    def send(self, do: Do, done: Done) -> None:
        """One more call, behind the others."""
        self._calls.append((do, done))
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    @property
    def at_work(self) -> Done | None:
        """Whose call is being done."""
        return self._calls[0][1] if self._calls else None

    def leave_behind(self) -> None:
        """Nobody waits for the others any more."""
        first, *others = self._calls
        self._calls = deque([first, *((do, None) for do, _ in others)])

    async def end(self) -> bool:
        """Sends nothing more, and tells nobody anything. Whether the system may still be at work on something."""
        task, self._task = self._task, None
        self._calls.clear()
        if task is None:
            return False
        task.cancel()
        await asyncio.wait({task})
        return True

    async def _run(self) -> None:
        while self._calls:
            do, _ = self._calls[0]
            result: Result
            try:
                result = await do()
            except Exception as error:  # noqa: BLE001 - whoever waits for it knows what it means
                result = error
            _, done = self._calls.popleft()
            if done is not None:
                done(result)
        self._task = None
