"""The events of one run: numbered, bounded, and read by any number of followers, each at a pace of its own.

A follower who does not read costs nothing: it holds a number, not events. Where the log grows past its bounds, what
only passes (a place in the queue, progress) is let go first, the oldest first, then the user's lines; what the run has
asked and answered is never let go. With a store, an event is there before anybody is told of it.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

import structlog

from pooler.errors import Fault
from pooler.runtime.runs.happenings import PASSING, Done, Event, Happening, Line, Page, pack
from pooler.runtime.store.base import Store

log = structlog.get_logger(__name__)

WAITING_MAX = 1000
"""How many events may wait for a slow store before passing ones are not taken any more."""
FORGOTTEN = b""
"""What stands in the store for an event that was let go: its number is not given to another."""


@dataclass(frozen=True, slots=True)
class LogBounds:
    """How much a log keeps. One result of any size is kept beside that."""

    events_max: int = 1000
    bytes_max: int = 1 << 20


class RunLog:
    """One run's log. `store`: None where nothing of the run needs to outlive this process."""

    def __init__(self, key: str, bounds: LogBounds, store: Store | None = None, events: tuple[Event, ...] = ()) -> None:
        self._key = key
        self._bounds = bounds
        self._store = store
        self._events = list(events)
        self.bytes = sum(map(_weight, events))
        self.last_seq = events[-1].seq if events else 0
        """The number of the last event, told or not."""
        self.heard = False
        """Whether somebody has read it to its end."""
        self._untold: deque[Event] = deque()
        self._forgotten: deque[int] = deque()
        """Numbers of events that have been let go here, and not yet in the store."""
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"{len(self._events)} events of {self.last_seq}"

    @property
    def done(self) -> Done | None:
        """How it ended, once that can be read."""
        what = self._events[-1].what if self._events else None
        return what if isinstance(what, Done) else None

    @property
    def size(self) -> int:
        """What it keeps, in bytes, the result included."""
        return self.bytes + sum(event.size for event in self._events if isinstance(event.what, Page))

    @property
    def events(self) -> tuple[Event, ...]:
        """What is kept, in order."""
        return tuple(self._events)

    @property
    def waiting(self) -> bool:
        """Whether something has yet to be stored: somebody must `flush`."""
        return bool(self._untold)

    def add(self, what: Happening) -> None:
        """Something has happened. It is told at once, or, where there is a store, once it has been flushed."""
        if len(self._untold) > WAITING_MAX and isinstance(what, (*PASSING, Line)):
            return
        self.last_seq += 1
        event = Event(self.last_seq, what)
        if self._store is None:
            self._tell(event)
        else:
            self._untold.append(event)

    async def flush(self) -> None:
        """Stores what has been added, in order, and tells it. One task at a time may do so."""
        assert self._store is not None
        while self._untold:
            event = self._untold[0]
            await self._keep(self._store, event.seq, pack(event.what))
            self._untold.popleft()
            self._tell(event)
            while self._forgotten:
                await self._keep(self._store, self._forgotten.popleft(), FORGOTTEN)

    async def next(self, after: int) -> Event | None:
        """The first event after this number that is kept, as soon as there is one. None: the last was the end."""
        while True:
            at = bisect_right(self._events, after, key=_number)
            if at < len(self._events):
                return self._events[at]
            if self.done is not None:
                self.heard = True
                return None
            await self._changed.wait()

    async def _keep(self, store: Store, seq: int, data: bytes) -> None:
        try:
            await store.append(self._key, seq, data)
        except Fault as fault:
            # Only what a later process could read of it is lost: whoever follows now hears it all the same.
            log.warning("an event of a run could not be stored", run=self._key, seq=seq, error=fault.message)

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self.bytes += _weight(event)
        self._thin()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _thin(self) -> None:
        """Lets go of what matters least, until the bounds hold. The last event stays, whatever it is."""
        while len(self._events) > self._bounds.events_max or self.bytes > self._bounds.bytes_max:
            victim = self._least()
            if victim is None:
                return
            event = self._events.pop(victim)
            self.bytes -= _weight(event)
            self._forgotten.append(event.seq)

    def _least(self) -> int | None:
        """Where the event is that matters least."""
        for kinds in (PASSING, (Line,)):
            for index, event in enumerate(self._events[:-1]):
                if isinstance(event.what, kinds):
                    return index
        return None


def _number(event: Event) -> int:
    return event.seq


def _weight(event: Event) -> int:
    """What counts against the bound: not the result, which has bounds of its own."""
    return 0 if isinstance(event.what, Page) else event.size
