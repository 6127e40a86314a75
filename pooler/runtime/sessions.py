"""A session: a connection, with a transaction on it where there are any, that a caller keeps for several calls.

It is a hold, and its life is the table of `core/sessions.py`: here are its clock and what is done on its connection. A
call runs in its session or not at all. What is not committed is rolled back however the session ends: by its caller, by
idling, with its connection, by an order, with the conversation that it belongs to. Nothing of it outlives this process.
"""

import asyncio
import secrets
from functools import partial
from typing import Protocol

from pooler.backends.base import Answer, BackendError, Connection, Failure, FailureKind
from pooler.core.sessions import Act, Ending, Life, Limits, SessionEvent, SessionState
from pooler.core.states import GrantState
from pooler.errors import Fault, Reason
from pooler.runtime.alarms import EARLY_SECONDS
from pooler.runtime.driver import Driver
from pooler.runtime.faults import FATES
from pooler.runtime.holds import Cut, Hold, Job, Result, Run, execution, tell
from pooler.runtime.session_faults import Sentences
from pooler.runtime.turns import Kit, Outcome, Timing, Turn

NUMBER_BYTES = 8


class Keeper(Protocol):
    """Who keeps the sessions of a backend, and makes their handles."""

    def opened(self, session: "Session") -> Answer:
        """It can be used: what its opener is answered."""

    def gone(self, session: "Session") -> None:
        """It is over. Called once, also for one that was never opened."""


class Session(Hold):
    """One session. `opener`: the call that begins it, which is answered once it can be used."""

    def __init__(self, driver: Driver, keeper: Keeper, limits: Limits, sentences: Sentences, opener: Turn) -> None:
        super().__init__(driver, opener, opener.give_up_at)
        self.life = Life(limits)
        self.owner = opener.caller
        self.number = secrets.token_bytes(NUMBER_BYTES)
        self.sentences = sentences
        self._keeper = keeper
        self._opener: Turn | None = opener
        self._timer: asyncio.TimerHandle | None = None

    @property
    def state(self) -> str:
        return self.life.state.value

    # What its caller wants

    def ask(self, act: Act, turn: Turn) -> None:
        """A call in it. Its outcome is delivered later, and so is a refusal."""
        self.driver.calls_total += 1
        now = self.driver.now
        if (ending := self.life.expired(now)) is not None:
            self.close(ending)
        if self.life.state is SessionState.BUSY and self.job is not None and self.job.turn.deliver is None:
            self.life.happen(SessionEvent.TOLD, now)
        if (reason := self.life.refusal(act)) is not None:
            self.tell(turn, self._refused(reason))
            return
        self.life.happen(SessionEvent.ASKED, now)
        self.put(Job(turn, self._run(act, turn), act))

    def cancel(self, turn: Turn) -> None:
        """A call's caller has left: that of the call which begins it, or of one in it."""
        self.tell(turn, Fault(Reason.CANCELLED, "the caller cancelled the call"))
        if turn is self._opener:
            self._opener = None
            self.close(Ending.LEFT)
        elif self.drop(turn):
            self._happen(SessionEvent.DROPPED)

    def close(self, ending: Ending) -> None:
        """Rolls it back, whatever it does, unless its own end is under way. Harmless when it is over."""
        if self.life.state in (SessionState.CLOSING, SessionState.ENDED):
            return
        self.life.end(ending)
        self.life.happen(SessionEvent.CUT, self.driver.now)
        self._tell_all()
        self.end()

    # What becomes of it

    async def arrived(self, kit: Kit, connection: Connection) -> None:
        if self.sentences.transactional and self._opener is not None:
            await self._begin(kit, connection, self._opener.deadline - self.driver.now)
        if self._opener is None or self.life.state is not SessionState.OPENING:
            return  # nobody waits for it any more, and it is being given back
        self._happen(SessionEvent.OPENED)
        opener, self._opener = self._opener, None
        opener.grant, opener.granted_at = GrantState.RUNNING, self.turn.granted_at
        turn, backend = self.turn, self.driver.now - self.turn.granted_at
        spent = Timing(turn.queue_seconds, turn.start_seconds, turn.reset_seconds, backend)
        tell(self.driver, opener, self._keeper.opened(self), spent)

    async def _begin(self, kit: Kit, connection: Connection, patience: float) -> None:
        seconds = min(self.driver.bounds.validate, patience)
        result = await self.bounded(kit, connection, kit.adapter.begin(connection), seconds)
        if isinstance(result, Failure):
            raise BackendError(result)
        if isinstance(result, Cut):
            raise BackendError(Failure(FailureKind.TIMEOUT, f"no transaction was begun within {seconds:.1f} s"))

    def begins(self, job: Job) -> bool:
        if self.life.failed and job.act is not Act.ROLLBACK:  # by the call before, for whose end it has waited
            self._happen(SessionEvent.DROPPED)
            self.tell(job.turn, self.sentences.failed(self.life.failed))
            return False
        if job.act is not Act.CALL:
            self.life.happen(SessionEvent.CLOSES, self.driver.now)
        return True

    def late(self, job: Job, seconds: float) -> None:
        if job.act is Act.COMMIT:
            self.tell(job.turn, self.sentences.unknown(job.turn, f"it took longer than {seconds:.1f} s"))
        elif job.act is Act.CALL:
            self.tell(job.turn, self.sentences.slow(job.turn, seconds))

    def gave_up(self, job: Job) -> None:
        self._happen(SessionEvent.DROPPED)
        self.tell(job.turn, self.sentences.waited(self.driver.now - job.turn.asked_at))

    def concluded(self, job: Job, result: Result, connection: Connection) -> None:
        if self.life.state is SessionState.CLOSING:
            self._closed(job, result)
            return
        if isinstance(result, Failure) and result.kind in FATES:  # the hold is over with it
            self.life.end(Ending.LOST)
            self.tell(job.turn, self.sentences.broke(job.turn, result))
            return
        if self.sentences.transactional and connection.transaction != "open":
            self.life.fail(_cause(job.turn, result))
        self.tell(job.turn, self._told(job, result))
        self._happen(SessionEvent.DONE)

    async def parting(self, kit: Kit, connection: Connection) -> None:
        """What was to be kept is committed by now. A connection that does not roll back serves nobody again."""
        if not self.sentences.transactional:
            return
        result = await self.bounded(kit, connection, kit.adapter.rollback(connection), self.driver.bounds.cancel)
        if isinstance(result, Failure):
            kind = result.kind if result.kind in FATES else FailureKind.SESSION_LOST
            raise BackendError(Failure(kind, f"the session was not rolled back: {result.message}"))

    def over(self, outcome: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._opener is not None:
            opener, self._opener = self._opener, None
            fault = outcome.result if isinstance(outcome.result, Fault) else self.sentences.over(Ending.LEFT)
            tell(self.driver, opener, fault, outcome.timing)
        if not self.life.over:
            committing = self.life.state is SessionState.CLOSING and self.job is not None
            unknown = committing and self.job is not None and self.job.act is Act.COMMIT
            self._gone(Ending.UNKNOWN if unknown else _ending(outcome))
            self._tell_all()

    # Its parts

    def _run(self, act: Act, turn: Turn) -> Run:
        if act is Act.CALL:
            return execution(turn, self, in_transaction=self.sentences.transactional)
        return partial(_ends, act is Act.COMMIT and self.sentences.transactional)

    def _told(self, job: Job, result: Result) -> Answer | Fault:
        if isinstance(result, Failure):
            return self.sentences.refused(job.turn, result, bool(self.life.failed))
        if isinstance(result, Cut):
            return Fault(Reason.CANCELLED, "the call was cancelled")
        return result

    def _closed(self, job: Job, result: Result) -> None:
        """Its own end has ended. What cannot be rolled back goes with its connection, and is rolled back by that."""
        told: Answer | Fault
        if job.act is Act.ROLLBACK:
            ending = Ending.ROLLED_BACK
            told = Answer(b'{"rolled_back":true}' if self.sentences.transactional else b'{"closed":true}')
        elif isinstance(result, Answer):
            ending, told = Ending.COMMITTED, result
        elif isinstance(result, Failure) and not _unknown(result):
            ending, told = Ending.NOT_COMMITTED, self.sentences.not_committed(job.turn, result)
        else:
            why = result.message if isinstance(result, Failure) else f"it took longer than {result.seconds:.1f} s"
            ending, told = Ending.UNKNOWN, self.sentences.unknown(job.turn, why)
        self.tell(job.turn, told)
        self._gone(ending)
        self.finish()

    def _gone(self, ending: Ending) -> None:
        self.life.end(ending)
        self.life.happen(SessionEvent.GONE, self.driver.now)
        self._keeper.gone(self)

    def _refused(self, reason: Reason) -> Fault:
        if reason is Reason.SESSION_IN_USE:
            return self.sentences.in_use()
        if reason is Reason.REFUSED:
            return self.sentences.failed(self.life.failed)
        assert self.life.ending is not None
        return self.sentences.over(self.life.ending)

    def _tell_all(self) -> None:
        """Nothing that was asked of it is done any more."""
        assert self.life.ending is not None
        if self.job is not None and self.life.ending is Ending.UNKNOWN:
            self.tell(self.job.turn, self.sentences.unknown(self.job.turn, "the session ended meanwhile"))
        elif self.job is not None:
            self.tell(self.job.turn, self.sentences.ended_under(self.job.turn, self.life.ending))
        while self.jobs:
            job = self.jobs.popleft()
            job.silence()
            self.tell(job.turn, self.sentences.over(self.life.ending))

    # Its clock

    def _happen(self, event: SessionEvent) -> None:
        """What may bring the end of its time nearer."""
        self.life.happen(event, self.driver.now)
        self._look_again()

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ending:
            wait = max(0.0, self.life.due_at - self.driver.now)
            self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        if (ending := self.life.expired(self.driver.now + EARLY_SECONDS)) is not None:
            self.close(ending)
        elif self.life.state is not SessionState.CLOSING:
            self._look_again()


async def _ends(commits: bool, kit: Kit, connection: Connection, seconds: float) -> Answer:
    if not commits:
        await kit.adapter.rollback(connection)
        return Answer(b"{}")
    await kit.adapter.commit(connection)
    return Answer(b'{"committed":true}')


def _unknown(failure: Failure) -> bool:
    """Whether nobody knows what became of a commit that failed so."""
    return failure.started and failure.kind in (FailureKind.DEAD, FailureKind.BUG)


def _cause(turn: Turn, result: Result) -> str:
    """Why the transaction has not survived a call."""
    if isinstance(result, Failure):
        return f"{turn.operation} failed: {result.message}"
    if isinstance(result, Cut):
        return (
            f"{turn.operation} took longer than {result.seconds:g} s"
            if result.overdue
            else f"{turn.operation} was cancelled"
        )
    return f"the backend ended it by itself with {turn.operation}"


def _ending(outcome: Outcome) -> Ending:
    """How a session ends that the pool has ended."""
    match outcome.result:
        case Fault(reason=Reason.KILLED):
            return Ending.KILLED
        case Fault(reason=Reason.CANCELLED | Reason.DRAINING):
            return Ending.DRAINED
        case _:
            return Ending.LOST
