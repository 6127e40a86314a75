"""The far side of a simulated backend: sessions, their work, and a count of them that the pool has no part in.

It knows nothing of the pool. A session's work goes on, as in a real server, whether or not the client still listens.
All waiting goes through one function that is handed in, so that it runs under virtual time as well.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pooler.backends.base import Answer
from pooler.backends.simulated.settings import Settings, Step

Sleep = Callable[[float], Awaitable[Any]]


class State(Enum):
    """Where a session stands, as the system sees it."""

    STARTING = "starting"
    OPEN = "open"
    BUSY = "busy"
    DYING = "dying"
    GONE = "gone"


class LicenceError(Exception):
    """All licences are in use."""


class DownError(Exception):
    """The system takes no logins."""


class BrokenError(Exception):
    """The session is not there any more."""


class PoisonedError(Exception):
    """The session is there, but serves no more."""


class WrongRequestError(Exception):
    """The system does not understand the request."""


@dataclass(slots=True, eq=False)
class Session:
    """One login, as the system sees it."""

    number: int
    owner: str
    state: State = State.STARTING
    requests: int = 0
    trace: Any = None
    work: asyncio.Task[Answer] | None = None
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


Job = Callable[[Session], Answer]
"""What a request does at the end of its time."""


class System:
    """One simulated legacy system. Everything about it may be watched and changed while it runs."""

    def __init__(self, manners: Settings, sleep: Sleep = asyncio.sleep) -> None:
        self.manners = manners
        self.sessions: list[Session] = []
        self.peak = 0
        """The most sessions there ever were at once, in whatever state."""
        self.logins_total = 0
        self.requests_total = 0
        self._sleep = sleep
        self._random = random.Random(manners.seed)  # noqa: S311 - durations, no secrets
        self._dying: set[asyncio.Task[None]] = set()

    def behave(self, **changes: Any) -> None:
        """Changes the manners from now on; a step that has begun keeps the ones it began with."""
        self.manners = Settings.model_validate({**self.manners.model_dump(), **changes})

    def counts(self) -> Counts:
        """The sessions by state, now."""
        return Counts(**Counter(session.state.value for session in self.sessions))

    def arrive(self, owner: str) -> Session:
        """A client connects; its session counts from now on. Raises LicenceError."""
        if self.manners.limit is not None and len(self.sessions) >= self.manners.limit:
            raise LicenceError(f"no licence is free: all {self.manners.limit} are in use")
        self.logins_total += 1
        session = Session(self.logins_total, owner)
        self.sessions.append(session)
        self.peak = max(self.peak, len(self.sessions))
        return session

    async def login(self, session: Session) -> None:
        """Lets a client that has arrived in, which takes its time. Raises DownError; the client then drops out."""
        await self.step("open", self.manners.start_seconds)
        if self.manners.refuse is not None:
            raise DownError(self.manners.refuse)
        if session.state is State.GONE:
            raise BrokenError("the session was killed while it logged in")
        session.state = State.OPEN

    async def request(self, session: Session, job: Job, seconds: float) -> Answer:
        """Does a session's work. The work goes on when the client leaves; `stop` and `drop` end it."""
        self.require_sound(session)
        assert session.state is State.OPEN, f"two requests at once on {session}"
        session.state = State.BUSY
        session.requests += 1
        self.requests_total += 1
        session.work = asyncio.ensure_future(self._work(session, job, seconds + self.manners.work_seconds))
        session.work.add_done_callback(_forget_failure)
        try:
            return await asyncio.shield(session.work)
        except asyncio.CancelledError:
            if session.state is State.GONE:  # the session was killed, which cancelled its work, not the caller
                raise BrokenError("the session was killed in mid-request") from None
            raise

    def require_sound(self, session: Session) -> None:
        """Raises when the session can serve no request."""
        if session.state in (State.DYING, State.GONE):
            raise BrokenError(f"session {session.number} does not exist")
        if self.manners.poison_after is not None and session.requests >= self.manners.poison_after:
            raise PoisonedError(f"session {session.number} serves no more after {session.requests} requests")

    async def stop(self, session: Session) -> bool:
        """Ends a session's work, as a cancel asks. False: the system does not do that."""
        await self.step("cancel", 0)
        if self.manners.ignore_cancel:
            return session.state is not State.BUSY
        await _end(session.work)
        return True

    def drop(self, session: Session) -> None:
        """The client has closed the session: it dies, which takes its time."""
        if session.state in (State.DYING, State.GONE):
            return
        session.state = State.DYING
        task = asyncio.ensure_future(self._die(session))
        self._dying.add(task)
        task.add_done_callback(self._dying.discard)

    def kill(self, session: Session) -> None:
        """The system ends a session by itself, at once; the client learns of it when it next asks."""
        if session.state is not State.GONE:
            session.state = State.GONE
            self.sessions.remove(session)
            session.gone.set()
            if session.work is not None:
                session.work.cancel()

    async def quiet(self) -> None:
        """Waits until every session that is dying now has gone."""
        if self._dying:
            await asyncio.wait(self._dying)

    async def step(self, step: Step, seconds: float) -> None:
        """Lets one step take its time, or for ever when the manners say so."""
        if step in self.manners.hang:
            await asyncio.Event().wait()
        if seconds > 0:
            await self._sleep(self._spread(seconds))

    async def _work(self, session: Session, job: Job, seconds: float) -> Answer:
        try:
            await self.step("execute", seconds)
            result = job(session)
        finally:
            if session.state is State.BUSY:
                session.state = State.OPEN
        if self.manners.die_after is not None and session.requests >= self.manners.die_after:
            self.kill(session)
            raise BrokenError("the session died in mid-request")
        return result

    async def _die(self, session: Session) -> None:
        if session.work is not None and self.manners.ignore_cancel:
            await asyncio.wait({session.work})
        await _end(session.work)
        if self.manners.dying_seconds > 0:
            await self._sleep(self._spread(self.manners.dying_seconds))
        self.kill(session)

    def _spread(self, seconds: float) -> float:
        share = self.manners.spread
        return seconds * self._random.uniform(1 - share, 1 + share)


async def _end(work: asyncio.Task[Answer] | None) -> None:
    if work is not None and not work.done():
        work.cancel()
        await asyncio.wait({work})


def _forget_failure(work: asyncio.Task[Answer]) -> None:
    """Marks a failure as seen: when the client has left, nobody else will look at it."""
    if not work.cancelled():
        work.exception()
