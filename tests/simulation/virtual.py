"""An event loop whose clock is a number: when nothing can run, it jumps to the next timer.

Minutes pass in milliseconds, always in the same order. Nothing may come from outside: no sockets, threads, children.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

STARTED_AT = 1000.0
RESOLUTION = 1e-9
"""How much earlier than due a timer may run, so that sums of floats do not matter."""

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Nothing is ready, and no timer would ever change that."""


class _Jumps(selectors.SelectSelector):
    """Waits for nothing; where the loop would sleep, the clock moves."""

    def __init__(self, loop: "VirtualLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Moves the clock by what the loop would have slept."""
        if timeout is None:
            raise DeadlockError("nothing is ready, and no timer is set")
        self._loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with `now` for its clock."""

    def __init__(self) -> None:
        self.now = STARTED_AT
        super().__init__(_Jumps(self))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        """The virtual time in seconds."""
        return self.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end under virtual time, however long that is."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
