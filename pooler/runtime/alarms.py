"""When a turn's time is over: one heap of moments for a whole pool, and one timer of the loop for the heap.

Nearly every bound is set and taken back without ever having been reached, once while a call waits and once while it
works. A timer of the loop for each of them takes 800 bytes (uvloop 0.23, measured) and more time; a place here takes
100. What is taken back stays in the heap until most of it is such leftovers.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from pooler.clock import Clock
from pooler.runtime.turns import Turn

LEFTOVERS_MIN = 64
"""A heap with no more of them than this is never cleaned."""
EARLY_SECONDS = 1e-6
"""A loop's timer may come a rounding error before its time."""


class Alarms:
    """At most one alarm for each turn; `ring` is called with a turn when its time has come. Times by the clock."""

    def __init__(self, clock: Clock, ring: Callable[[Turn], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Turn]] = []
        self._count = 0
        self._leftovers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._next = float("inf")

    def __len__(self) -> int:
        return len(self._heap) - self._leftovers

    def set(self, turn: Turn, when: float) -> None:
        """Sets a turn's alarm, in place of the one that it had."""
        self.silence(turn)
        self._count += 1
        turn.alarm = self._count
        heappush(self._heap, (when, self._count, turn))
        if when < self._next:
            self._wake_at(when)

    def silence(self, turn: Turn) -> None:
        """Takes a turn's alarm back, if it has one."""
        if turn.alarm:
            turn.alarm = 0
            self._leftovers += 1
            if self._leftovers > LEFTOVERS_MIN and self._leftovers * 2 > len(self._heap):
                self._clean()

    def stop(self) -> None:
        """Silences them all."""
        for _, _, turn in self._heap:
            turn.alarm = 0
        self._clean()
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = None, float("inf")

    def _clean(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].alarm == entry[1]]
        heapify(self._heap)
        self._leftovers = 0

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_later(max(0.0, when - self._clock()), self._wake)

    def _wake(self) -> None:
        self._timer, self._next = None, float("inf")
        now = self._clock() + EARLY_SECONDS
        while self._heap:
            when, number, turn = self._heap[0]
            if turn.alarm != number:
                self._leftovers -= 1
            elif when > now:
                break
            heappop(self._heap)
            if turn.alarm == number:
                turn.alarm = 0
                self._ring(turn)
        if self._heap and self._heap[0][0] < self._next:
            self._wake_at(self._heap[0][0])
