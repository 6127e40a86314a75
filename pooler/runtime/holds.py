"""A connection that is kept for one caller, and the jobs that are done on it, one after the other.

It is one grant of the pool: it waits in the queue like a call, counts like one, and its connection is reset when it is
given back. A job is bounded and can be cut short without ending the hold, where the adapter says that the connection is
clean afterwards. What a job is, who may ask for one and when the hold ends is decided by those who derive from it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from pooler.backends.base import Answer, BackendError, Connection, Failure, FailureKind, Work
from pooler.core.rules import Fate
from pooler.core.sessions import Act
from pooler.core.states import GrantState
from pooler.errors import Fault
from pooler.runtime.driver import Driver
from pooler.runtime.faults import FATES
from pooler.runtime.turns import Errand, Hands, Kit, Outcome, Timing, Turn

log = structlog.get_logger(__name__)

GIVEN_BACK = Answer(b"{}")
"""What becomes of a hold when all goes well; nobody is told."""

Run = Callable[[Kit, Connection, float], Awaitable[Answer]]
"""What a job does, in so many seconds."""


@dataclass(slots=True, eq=False)
class Holding(Errand):
    """A hold's own turn: it lasts as long as its caller likes, so nothing can be learned from it."""

    teaches: ClassVar[bool] = False


@dataclass(slots=True, eq=False)
class Job:
    """Something to be done for a call, within the call's own bound on its work."""

    turn: Turn
    run: Run
    act: Act = Act.CALL
    timer: asyncio.TimerHandle | None = None
    """When its caller's patience is over, as long as that means something."""

    @property
    def stoppable(self) -> bool:
        """Whether it ends with its caller's patience; else it runs on to its bound, and its caller alone is told."""
        return self.act is Act.CALL

    def silence(self) -> None:
        """Takes the timer back, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(frozen=True, slots=True)
class Cut:
    """A job that was stopped before its end: by its own bound, or else from outside."""

    overdue: bool
    seconds: float


Result = Answer | Failure | Cut


def execution(turn: Turn, hands: Hands, in_transaction: bool) -> Run:
    """The job of a call: its operation, as the pool would have it done."""

    async def run(kit: Kit, connection: Connection, seconds: float) -> Answer:
        prepared = kit.prepared.get(turn.operation)
        if prepared is None:
            words = f"operation {turn.operation!r} was removed while the call waited"
            raise BackendError(Failure(FailureKind.USER_ERROR, words))
        pages, news, given = turn.take_along(hands)
        work = Work(prepared, turn.arguments, turn.caller, seconds, pages, news, given, in_transaction)
        answer: Answer = await kit.adapter.execute(connection, work)
        return answer

    return run


def tell(driver: Driver, turn: Turn, result: Answer | Fault, spent: Timing | None = None) -> None:
    """Delivers a call's outcome, unless it has one; later, and counted, as the driver does. It has waited till now."""
    if turn.extras is not None and turn.extras.pages is not None and isinstance(result, Fault):
        turn.extras.pages.fail(result)
    deliver, turn.deliver = turn.deliver, None
    if deliver is not None:
        spent = spent or Timing(queue=driver.now - turn.asked_at)
        driver.tally.note(turn.grant is not None, result, spent, turn.tenant)
        asyncio.get_running_loop().call_soon(deliver, Outcome(result, spent))


class Hold(ABC):
    """One kept connection. `begin` asks the pool for it; from then on it ends by itself, by `end`, or by its pool."""

    def __init__(self, driver: Driver, like: Turn, give_up_at: float) -> None:
        """`like`: the call that it is for, whose tenant pays."""
        self.driver = driver
        self.turn = Holding(
            asked_at=like.asked_at,
            give_up_at=give_up_at,  # and no deadline: nobody can say that a thinking caller will be too late
            tenant=like.tenant,
            priority=like.priority,
            operation=like.operation,
            whole=True,
            caller=like.caller,
            timeout_seconds=float("inf"),
        )
        self.turn.work, self.turn.deliver = self._keep, self._over
        self.jobs: deque[Job] = deque()
        """Those that wait, the next one first."""
        self.job: Job | None = None
        """The one under way; or, once the hold is over, the one that was."""
        self.ending = False
        self.idle_since = self.driver.now
        """When the last of its jobs ended, or its connection came."""
        self.calls_total = 0
        self._task: asyncio.Task[Answer] | None = None
        self._wake = asyncio.Event()

    # What those who derive from it decide

    async def arrived(self, kit: Kit, connection: Connection) -> None:  # noqa: B027 - nothing, where nothing is to do
        """There is a connection. What is raised here is raised to whoever waits for it."""

    def begins(self, job: Job) -> bool:
        """A job's turn has come. False: it is not to be done after all, and its caller has been told."""
        return True

    @abstractmethod
    def late(self, job: Job, seconds: float) -> None:
        """A job is past its bound, or its caller's patience: the caller is told here, before its work is stopped."""

    @abstractmethod
    def gave_up(self, job: Job) -> None:
        """A job has waited for as long as it may, and is not done: its caller is told here."""

    @abstractmethod
    def concluded(self, job: Job, result: Result, connection: Connection) -> None:
        """A job has ended: its caller is told here unless he was, and what follows from it is decided."""

    async def parting(self, kit: Kit, connection: Connection) -> None:  # noqa: B027
        """The connection is about to be given back."""

    @abstractmethod
    def over(self, outcome: Outcome) -> None:
        """The pool has nothing more to do with it: refused, ended by an order, given back or lost. Once."""

    # What they do

    def begin(self) -> None:
        """Asks for a connection. `over` is called once, never before this returns."""
        self.driver.submit(self.turn)

    def put(self, job: Job) -> None:
        """Has a job done, after those that wait."""
        if self.job is not None or self.jobs or self.turn.grant is None:
            loop, patience = asyncio.get_running_loop(), job.turn.give_up_at - self.driver.now
            job.timer = loop.call_later(max(0.0, patience), self._give_up, job)
        self.jobs.append(job)
        self._wake.set()

    def deliver_early(self, turn: Turn, answer: Answer) -> None:
        """A call's caller gets its answer, and the work goes on."""
        self.tell(turn, answer)
        turn.answered_at = self.driver.now

    @abstractmethod
    def cancel(self, turn: Turn) -> None:
        """A call's caller has left."""

    def tell(self, turn: Turn, result: Answer | Fault) -> None:
        """Delivers a call's outcome, unless it has one."""
        tell(self.driver, turn, result, self.spent(turn) if turn.grant is not None else None)

    def spent(self, turn: Turn) -> Timing:
        """Where the time of a call went whose work has begun."""
        return Timing(queue=turn.granted_at - turn.asked_at, backend=self.driver.now - turn.granted_at)

    def drop(self, turn: Turn) -> bool:
        """A call's caller has left: what is under way for it is stopped. True: it was waiting, and is not begun."""
        for job in self.jobs:
            if job.turn is turn:
                self._take_out(job)
                return True
        if self.job is not None and self.job.turn is turn and self.job.stoppable:
            self._cut()
        return False

    def end(self) -> None:
        """Gives the connection back, or gives up waiting for it; cuts short what is under way on it and may be."""
        if self.ending:
            return
        self.finish()
        if self.turn.grant is None or self.turn.grant is GrantState.OFFERED:
            self.driver.cancel(self.turn)
        elif self.job is None or self.job.stoppable:
            self._cut()

    def finish(self) -> None:
        """Gives the connection back after the job under way; none of those that wait is begun any more."""
        self.ending = True
        self._wake.set()

    @property
    def state(self) -> str:
        """Where it is in its life, in a word."""
        if self.ending:
            return "ending"
        if self.turn.grant is None:
            return "opening"
        return "idle" if self.job is None else "busy"

    @property
    def waits(self) -> bool:
        """Whether it has no connection yet."""
        return self.turn.grant is None and self.turn.deliver is not None

    async def bounded(
        self, kit: Kit, connection: Connection, work: Awaitable[Any], seconds: float, job: Job | None = None
    ) -> Result | None:
        """Does something within its bound: an Answer or None, how it failed, or that it was cut short.

        Raises what leaves the connection good for nothing; then the hold is over.
        """
        task = self._task = asyncio.ensure_future(work)
        try:
            _, late = await asyncio.wait({task}, timeout=seconds)
            if late and job is not None and job.turn.answered_at is not None:
                seconds = job.turn.timeout_seconds  # its caller's own bound is over with his answer
                _, late = await asyncio.wait({task}, timeout=max(0.0, job.turn.granted_at + seconds - self.driver.now))
            if late and job is not None:
                self.late(job, seconds)
        finally:  # a cancel is the pool's, which ends it all, and stops what is left on the connection
            await _end(task)
        self._task = None
        if task.cancelled():
            if await self.driver.stop(kit.adapter, connection) is not Fate.SOILED:
                raise _useless("what was cut short on the connection may still be running")
            return Cut(bool(late), seconds)
        if (error := task.exception()) is not None:
            return self._classified(kit, error)
        return task.result()

    def _classified(self, kit: Kit, error: BaseException) -> Failure:
        failure: Failure = kit.adapter.classify(error)
        if failure.kind is FailureKind.BUG:
            name, request = self.driver.name, self.turn.caller.request_id
            log.error("unforeseen failure", backend=name, request=request, exc_info=error)
        return failure

    # The grant

    async def _keep(self, connection: Connection) -> Answer:
        kit = self.driver.kit_of(self.turn)
        connection.dirty = True  # whatever is left on it, the next user shall not notice
        await self.arrived(kit, connection)
        self.idle_since = self.driver.now
        self.turn.retried = True  # from here on nothing may be begun anew on another connection
        while (job := await self._next()) is not None:
            await self._do(job, kit, connection)
        await self.parting(kit, connection)
        return GIVEN_BACK

    async def _next(self) -> Job | None:
        while not self.jobs and not self.ending:
            self._wake.clear()
            await self._wake.wait()
        return None if self.ending else self.jobs.popleft()

    async def _do(self, job: Job, kit: Kit, connection: Connection) -> None:
        now, opener = self.driver.now, self.turn.caller
        job.silence()
        patience = job.turn.deadline - now
        if patience <= 0:
            self.gave_up(job)
            return
        if not self.begins(job):
            return
        self.job, job.turn.granted_at, job.turn.grant = job, now, GrantState.RUNNING
        self.calls_total += 1
        self.turn.caller = job.turn.caller  # who is seen at work, and by whose name it can be killed
        if not job.stoppable:
            job.timer = asyncio.get_running_loop().call_later(patience, self.late, job, patience)
        seconds = min(job.turn.timeout_seconds, patience) if job.stoppable else job.turn.timeout_seconds
        result = await self.bounded(kit, connection, job.run(kit, connection, seconds), seconds, job)
        assert result is not None
        self.job, self.turn.caller, self.idle_since = None, opener, self.driver.now
        job.silence()
        self.concluded(job, result, connection)
        if isinstance(result, Failure) and result.kind in FATES:
            raise _useless(result.message) if result.kind is FailureKind.BUG else BackendError(result)

    def _take_out(self, job: Job) -> None:
        self.jobs.remove(job)
        job.silence()

    def _give_up(self, job: Job) -> None:
        self._take_out(job)
        self.gave_up(job)

    def _cut(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _over(self, outcome: Outcome) -> None:
        self.ending = True
        self.over(outcome)


def _useless(words: str) -> BackendError:
    """What is raised to the pool so that a connection serves nobody again, although its backend may be well."""
    return BackendError(Failure(FailureKind.SESSION_LOST, words))


async def _end(task: "asyncio.Task[Any]") -> None:
    """Cancels a task that still runs, and returns when it has ended."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
