"""A system's own count of its sessions: the oracle that a pool's gauges are held against. It has no manners.

Every change of a session's state goes through `Census.turn`, so that whoever watches misses no moment, however short.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pooler.backends.base import Transaction
from pooler.backends.simulated.ledger import Cursor


class State(Enum):
    """Where a session stands, as the system sees it."""

    STARTING = "starting"
    OPEN = "open"
    BUSY = "busy"
    DYING = "dying"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Session:
    """One login, as the system sees it."""

    number: int
    owner: str
    state: State = State.STARTING
    requests: int = 0
    trace: Any = None
    left: bool = False
    """Whether its client has closed it."""
    mute: bool = False
    """Whether the system has ended its own side of the conversation."""
    work: asyncio.Task[Any] | None = None
    cursor: Cursor | None = None
    """The rest of a result that its client has not read yet: it is at work until then."""
    transaction: Transaction = "none"
    pending: list[Any] = field(default_factory=list)
    """What its transaction will have kept."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many sessions there are in each state, by the system's own count."""

    starting: int = 0
    open: int = 0
    busy: int = 0
    dying: int = 0

    @property
    def total(self) -> int:
        """All that a cap bounds."""
        return self.starting + self.open + self.busy + self.dying


@dataclass(frozen=True, slots=True)
class Peak:
    """The most sessions there were at once: how many, when (seconds of the monotonic clock), and in which states."""

    count: int = 0
    at: float = 0.0
    counts: Counts = field(default_factory=Counts)


Condition = Callable[[Counts], bool]


class Census:
    """The sessions that there are, the peak, and who waits for which counts."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.peak = Peak()
        self._watches: list[tuple[Condition, asyncio.Future[Counts]]] = []

    def counts(self) -> Counts:
        """The sessions by state, now."""
        return Counts(**Counter(session.state.value for session in self.sessions))

    def has(self, owner: str) -> bool | None:
        """Whether there is a session of this owner. None: not by name, but one has not said whose it is."""
        owners = {session.owner for session in self.sessions}
        return True if owner in owners else None if "" in owners else False

    def enter(self, session: Session, now: float) -> None:
        """A new session; only here can there be more of them than ever."""
        self.sessions.append(session)
        if len(self.sessions) > self.peak.count:
            self.peak = Peak(len(self.sessions), now, self.counts())
        self._tell()

    def turn(self, session: Session, state: State) -> None:
        """A session's next state. One that is gone stays gone."""
        if session.state in (state, State.GONE):
            return
        session.state = state
        if state is State.GONE:
            self.sessions.remove(session)
            session.gone.set()
        self._tell()

    def forget_peak(self, now: float) -> None:
        """Counts the peak anew, from what there is now."""
        self.peak = Peak(len(self.sessions), now, self.counts())

    async def until(self, condition: Condition) -> Counts:
        """The first counts from now on that meet a condition, however short they last."""
        if condition(counts := self.counts()):
            return counts
        met: asyncio.Future[Counts] = asyncio.get_running_loop().create_future()
        watch = (condition, met)
        self._watches.append(watch)
        try:
            return await met
        finally:
            self._watches.remove(watch)

    def _tell(self) -> None:
        if not self._watches:
            return
        counts = self.counts()
        for condition, met in self._watches:
            if not met.done() and condition(counts):
                met.set_result(counts)
