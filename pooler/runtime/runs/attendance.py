"""Who follows a run, and for how long it goes on when nobody does."""

import asyncio
from collections.abc import Callable

from pooler.runtime.runs.happenings import Event
from pooler.runtime.runs.log import RunLog


class Follower:
    """One who follows a run, as an async iterator of its events. Counts from the moment it is made.

    A cancelled wait leaves by itself, and so does the last event; whoever stops before must `leave`.
    """

    def __init__(self, log: RunLog, after: int, left: Callable[[], None]) -> None:
        self._log = log
        self._after = after
        self._left: Callable[[], None] | None = left

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self._log.next(self._after)
        except BaseException:
            self.leave()
            raise
        if event is None:
            self.leave()
            raise StopAsyncIteration
        self._after = event.seq
        return event

    def leave(self) -> None:
        """Follows no more. Harmless when repeated."""
        left, self._left = self._left, None
        if left is not None:
            left()


class Attendance:
    """How many follow a run. `changed` is told whether anybody does; `abandoned` is called once the grace is over."""

    def __init__(
        self, grace_seconds: float | None, changed: Callable[[bool], None], abandoned: Callable[[], None]
    ) -> None:
        """`grace_seconds`: None for one that outlasts every follower. The grace begins now."""
        self._grace_seconds = grace_seconds
        self._changed = changed
        self._abandoned = abandoned
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    def follow(self, log: RunLog, after: int) -> Follower:
        """One more."""
        self._count += 1
        self.stop()
        if self._count == 1:
            self._changed(True)
        return Follower(log, after, self._one_left)

    def stop(self) -> None:
        """The grace ends without consequence."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _one_left(self) -> None:
        self._count -= 1
        if self._count:
            return
        self._changed(False)
        if self._grace_seconds == 0:
            self._abandoned()  # at once: a cancel should not wait for the loop's next turn
        else:
            self._set()

    def _set(self) -> None:
        if self._grace_seconds is not None:
            self._timer = self._loop.call_later(self._grace_seconds, self._abandoned)
