"""The far side of a simulated backend: sessions, their work and their death, counted by a census of its own.

It knows nothing of the pool. A session's work goes on, as in a real server, whether or not the client still listens.
All waiting goes through one function that is handed in, so that it runs under virtual time as well.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pooler.backends.base import News, Notification
from pooler.backends.simulated.census import Census, Counts, Session, State
from pooler.backends.simulated.channels import Channels
from pooler.backends.simulated.ledger import Batch, DoomedError, Ledger
from pooler.backends.simulated.settings import Manners, Step

__all__ = [
    "AbortedError",
    "BrokenError",
    "Counts",
    "DownError",
    "Job",
    "LicenceError",
    "PoisonedError",
    "Session",
    "State",
    "System",
]

Sleep = Callable[[float], Awaitable[Any]]


class LicenceError(Exception):
    """All licences are in use."""


class DownError(Exception):
    """The system takes no logins."""


class BrokenError(Exception):
    """The session is not there any more."""


class PoisonedError(Exception):
    """The session is there, but serves no more."""


class AbortedError(Exception):
    """The session's transaction has failed, and only its end is possible."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request: what it does at the end of its time, and who hears of the steps in which that passes."""

    do: Callable[[Session], Any]
    seconds: float = 0.0
    steps: int = 0
    news: News | None = None


class System:
    """One simulated legacy system. Everything about it may be watched and changed while it runs."""

    def __init__(self, manners: Manners, sleep: Sleep = asyncio.sleep) -> None:
        self.manners = manners
        self.census = Census()
        self.ledger = Ledger()
        self.channels = Channels()
        self.logins_total = 0
        self.requests_total = 0
        self._sleep = sleep
        self._random = random.Random(manners.seed)  # noqa: S311 - durations, no secrets
        self._dying: set[asyncio.Task[None]] = set()
        self._speaks = asyncio.Event()
        self._fall_silent_or_speak()

    @property
    def sessions(self) -> list[Session]:
        """Every session that counts, in whatever state."""
        return self.census.sessions

    @property
    def peak(self) -> int:
        """The most sessions there ever were at once, in whatever state."""
        return self.census.peak.count

    def counts(self) -> Counts:
        """The sessions by state, now."""
        return self.census.counts()

    def behave(self, **changes: Any) -> None:
        """Changes the manners from now on; a step that has begun keeps the ones it began with, but for silence."""
        self.manners = type(self.manners).model_validate({**self.manners.model_dump(exclude_unset=True), **changes})
        self._fall_silent_or_speak()

    # What its clients ask for

    def arrive(self, owner: str) -> Session:
        """A client connects; its session counts from now on. Raises LicenceError."""
        if self.manners.limit is not None and len(self.sessions) >= self.manners.limit:
            raise LicenceError(f"no licence is free: all {self.manners.limit} are in use")
        self.logins_total += 1
        session = Session(self.logins_total, owner)
        self.census.enter(session, asyncio.get_running_loop().time())
        return session

    async def login(self, session: Session) -> None:
        """Lets a client that has arrived in, which takes its time. Raises DownError; the client then drops out."""
        await self.step("open", self.manners.start_seconds)
        if self.manners.refuse is not None:
            raise DownError(self.manners.refuse)
        if session.state is State.GONE:
            raise BrokenError("the session was killed while it logged in")
        self.census.turn(session, State.OPEN)

    async def validate(self, session: Session) -> None:
        """Says whether a session can serve, or lies about it. Raises BrokenError or PoisonedError."""
        await self.step("validate", 0)
        if session.mute or not self.manners.lie:
            self.require_sound(session)

    async def request(self, session: Session, job: Job) -> Any:
        """Does a session's work. The work goes on when the client leaves; `stop` and `drop` end it."""
        self.require_sound(session)
        assert session.state is State.OPEN, f"two requests at once on {session}"
        if session.transaction == "failed":
            raise AbortedError(f"the transaction of session {session.number} has failed: end it")
        self.census.turn(session, State.BUSY)
        session.requests += 1
        self.requests_total += 1
        return await self._carry_out(session, self._work(session, job))

    async def fetch(self, session: Session, rows: int, seconds: float) -> Batch:
        """Brings the next rows of a request that has more of them."""
        self.require_sound(session)
        assert session.cursor is not None, f"no rows are left in {session}"
        batch: Batch = await self._carry_out(session, self._bring(session, rows, seconds))
        return batch

    def leave(self, session: Session) -> None:
        """The client wants no more rows."""
        session.cursor = None
        if session.state is State.BUSY:
            self.census.turn(session, State.OPEN)

    async def transact(self, session: Session, step: Literal["begin", "commit", "rollback"]) -> None:
        """Begins or ends a transaction. Raises BrokenError, or AbortedError for the commit of one that has failed."""
        await self.step(step, 0)
        self.require_sound(session)
        if step == "begin":
            self.ledger.begin(session)
            return
        if step == "commit" and session.transaction == "failed":
            raise AbortedError(f"the transaction of session {session.number} has failed: it cannot be kept")
        dies_in = self.manners.die_in_commit if step == "commit" else None
        self.ledger.end(session, keep=step == "commit" and dies_in != "lost")
        if dies_in is not None:
            self.kill(session)
            raise BrokenError("the session died in the midst of its commit")

    async def listen(self, session: Session, channels: Collection[str]) -> None:
        """A session wants to hear what is said on these channels, which takes as long as a request. Raises BrokenError.

        It is deaf to those that it had not listened on until then, and at once to those that it gives up.
        """
        self.require_sound(session)
        self.channels.keep(session, channels)
        await self.step("execute", self.manners.work_seconds)
        self.require_sound(session)
        self.channels.listen(session, channels)

    async def heard(self, session: Session) -> list[Notification]:
        """What was said there, as soon as anything is. Raises BrokenError when the session ends."""
        self.require_sound(session)
        said = await self.channels.heard(session)
        self.require_sound(session)
        return said

    async def stop(self, session: Session) -> bool:
        """Ends a session's work, as a cancel asks. False: the system does not do that."""
        await self.step("cancel", 0)
        if self.manners.ignore_cancel:
            return session.state is not State.BUSY
        await _end(session.work)
        self._abort(session)
        self.leave(session)
        return True

    async def reset(self, session: Session) -> bool:
        """Removes the trace of the last user. False: the session serves no more. Raises BrokenError."""
        await self.step("reset", 0)
        try:
            self.require_sound(session)
        except PoisonedError:
            return False
        session.trace = None
        self.channels.forget(session)
        self.ledger.end(session, keep=False)
        return True

    def drop(self, session: Session) -> None:
        """The client has closed the session: it dies, which takes its time."""
        if session.left or session.state is State.GONE:
            return
        session.left = True
        if not self.manners.silent and not self.manners.ignore_close_seconds:
            self.census.turn(session, State.DYING)
        task = asyncio.ensure_future(self._die(session))
        self._dying.add(task)
        task.add_done_callback(self._dying.discard)

    # What it does by itself

    def require_sound(self, session: Session) -> None:
        """Raises when the session can serve no request."""
        if session.left or session.state is State.GONE:
            raise BrokenError(f"session {session.number} does not exist")
        if session.mute:
            raise BrokenError(f"the system has ended its side of session {session.number}")
        if self.manners.poison_after is not None and session.requests >= self.manners.poison_after:
            raise PoisonedError(f"session {session.number} serves no more after {session.requests} requests")

    def kill(self, session: Session) -> None:
        """The system ends a session by itself, at once; the client learns of it when it next asks."""
        if session.state is not State.GONE:
            self.census.turn(session, State.GONE)
            self.channels.forget(session)
            if session.work is not None:
                session.work.cancel()

    async def quiet(self) -> None:
        """Waits until every session that is dying now has gone."""
        if self._dying:
            await asyncio.wait(self._dying)

    async def step(self, step: Step, seconds: float) -> None:
        """Lets one step take its time, or for ever when the manners say so."""
        await self._speaks.wait()
        if step in self.manners.hang:
            await asyncio.Event().wait()
        if seconds > 0:
            await self._sleep(self._spread(seconds))
            await self._speaks.wait()  # an answer that was due in the silence is not given either

    async def _carry_out(self, session: Session, work: Coroutine[Any, Any, Any]) -> Any:
        session.work = asyncio.ensure_future(work)
        session.work.add_done_callback(partial(self._rest, session))
        try:
            return await asyncio.shield(session.work)
        except asyncio.CancelledError:
            if session.gone.is_set():  # the session was killed, which cancelled its work, not the caller
                raise BrokenError("the session was killed in mid-request") from None
            raise

    async def _work(self, session: Session, job: Job) -> Any:
        seconds = job.seconds + self.manners.work_seconds
        for number in range(1, job.steps + 1):
            await self.step("execute", seconds / job.steps)
            if job.news is not None:
                job.news.progress(number, job.steps, f"step {number} of {job.steps}")
        if job.steps == 0:
            await self.step("execute", seconds)
        elif job.news is not None:
            job.news.log("info", {"steps": job.steps})
        result = self._done(session, job.do)
        if not self.manners.leave_traces:
            session.trace = None
        if _reached(self.manners.half_close_after, session):
            session.mute = True
        if _reached(self.manners.die_after, session):
            self.kill(session)
            raise BrokenError("the session died in mid-request")
        return result

    async def _bring(self, session: Session, rows: int, seconds: float) -> Batch:
        await self.step("execute", seconds)
        assert session.cursor is not None, "whoever leaves the rows stops the work first"
        cursor = session.cursor
        batch: Batch = self._done(session, lambda _: cursor.read(rows))
        return batch

    def _done(self, session: Session, do: Callable[[Session], Any]) -> Any:
        try:
            return do(session)
        except DoomedError as error:
            self.kill(session)
            raise BrokenError(str(error)) from None

    def _rest(self, session: Session, work: asyncio.Task[Any]) -> None:
        """A session's work has ended, and be it that it was stopped before its first step."""
        if work.cancelled() or work.exception() is not None:  # also marks the exception as seen
            self._abort(session)
        elif isinstance(batch := work.result(), Batch) and batch.more:
            return  # it waits for its client, who has not read all
        self.leave(session)

    def _abort(self, session: Session) -> None:
        """What fails or is stopped in the midst of its work fails its transaction, as in PostgreSQL."""
        if session.transaction == "open" and session.state is State.BUSY:
            session.transaction = "failed"

    async def _die(self, session: Session) -> None:
        await self._speaks.wait()
        await self._pass(self.manners.ignore_close_seconds)
        self.census.turn(session, State.DYING)
        if session.work is not None and self.manners.ignore_cancel:
            await asyncio.wait({session.work})
        await _end(session.work)
        await self._pass(self.manners.dying_seconds)
        self.kill(session)

    async def _pass(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(self._spread(seconds))

    def _spread(self, seconds: float) -> float:
        share = self.manners.spread
        return seconds * self._random.uniform(1 - share, 1 + share)

    def _fall_silent_or_speak(self) -> None:
        if self.manners.silent:
            self._speaks.clear()
        else:
            self._speaks.set()


def _reached(requests: int | None, session: Session) -> bool:
    return requests is not None and session.requests >= requests


async def _end(work: asyncio.Task[Any] | None) -> None:
    if work is not None and not work.done():
        work.cancel()
        await asyncio.wait({work})
