"""Watching what tells nothing by itself: an operation is called again and again, and its answers are compared.

Only a digest of the last answer is kept. A call that fails tells nothing, and the next one is compared with the last
answer that there was.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from pooler.errors import Fault
from pooler.runtime.watches.source import Key, Source

log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]

SPREAD = 0.1
"""By up to this share of itself a pause is shorter: watches that began together shall not ask together for ever."""


class Poll(Source):
    """One operation with its arguments, asked for one caller. `ask` answers with a result, or raises Fault."""

    def __init__(
        self,
        key: Key,
        name: str,
        ask: Callable[[], Awaitable[bytes]],
        every_seconds: float,
        spawn: Spawn,
        jitter: Callable[[], float],
    ) -> None:
        super().__init__(key)
        self._name = name
        self._ask = ask
        self._every_seconds = every_seconds
        self._spawn = spawn
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None
        self._digest = b""
        self._failing = False

    def begin(self) -> None:
        self._task = self._spawn(self._run())

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            if (answer := await self._answer()) is not None:
                self._compare(hashlib.sha256(answer).digest())
            await asyncio.sleep(self._every_seconds * (1 - SPREAD * self._jitter()))

    def _compare(self, digest: bytes) -> None:
        before, self._digest = self._digest, digest
        if not before:
            self.began()
        elif before != digest:
            self.changed()

    async def _answer(self) -> bytes | None:
        try:
            answer = await self._ask()
        except Fault as fault:
            if not self._failing:
                log.warning("a watched resource cannot be read", operation=self._name, reason=fault.reason)
            self._failing = True
            return None
        self._failing = False
        return answer
