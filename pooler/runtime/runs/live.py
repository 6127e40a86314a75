"""A run under way: a call that can be followed, left, found again, answered and cancelled.

It has no task of its own: the pool calls back. Where its user has to be asked it gives its connection back meanwhile,
and queues again with the answers. What is told and how often is `telling`'s business; who follows, `attendance`'s.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from pooler.backends.base import Answer, Input
from pooler.clock import Clock
from pooler.errors import Fault, Reason
from pooler.runtime import questions
from pooler.runtime.calls import Call
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.requests import Request
from pooler.runtime.runs import state
from pooler.runtime.runs.attendance import Attendance, Follower
from pooler.runtime.runs.happenings import Accepted, Asked, Done, Happening, Page
from pooler.runtime.runs.log import RunLog
from pooler.runtime.runs.outlook import Outlook, prospects
from pooler.runtime.runs.run import Identity, Run, Terms
from pooler.runtime.runs.telling import Teller
from pooler.runtime.turns import Outcome, Timing

AGAIN_SECONDS = 0.25
"""The pause after which a call is repeated that asks its user for nothing but to come again."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all runs of a pooler work with. `wall`: Unix time."""

    dispatcher: Dispatcher
    clock: Clock
    wall: Clock
    outlook: Outlook


@dataclass(slots=True)
class Question:
    """What the user has been asked, what has been answered, and the sealed state that both belong to."""

    open: dict[str, Any]
    state: str
    answers: dict[str, Any] = field(default_factory=dict)

    def take(self, given: dict[str, Any]) -> bool:
        """Takes answers; a client may give them one by one. Whether none is missing now."""
        for key in self.open.keys() & given.keys():
            self.answers[key] = given[key]
            del self.open[key]
        return not self.open


class LiveRun(Run):
    """`begin` it once; the rest at any time, by anybody."""

    def __init__(
        self,
        identity: Identity,
        terms: Terms,
        log: RunLog,
        around: Surroundings,
        changed: Callable[["LiveRun"], None],
    ) -> None:
        """`changed` is called when something has been added to the log, and when nobody follows any more."""
        super().__init__(identity, terms, log)
        self._around = around
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._attendance = Attendance(terms.detach_grace_seconds, self._attended, self.cancel)
        self._teller = Teller(self._add, around.clock)
        self._request: Request | None = None
        self._deadline = 0.0
        self._call: Call | None = None
        self._question: Question | None = None
        self._pause: asyncio.TimerHandle | None = None
        """Until its patience with its user ends, or until it asks the worker again."""
        self._given_up = False
        self._ended = False
        self._spent = Timing()

    def begin(self, request: Request) -> None:
        """Sends the call on its way. Raises Fault when there is nothing to wait for; then the run never was."""
        self._request = request
        self._deadline = self._around.clock() + request.timeout_seconds
        self._send(request)
        self._add(Accepted(self.identity.handle, self.identity.name, self.identity.note))

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def followers(self) -> int:
        return self._attendance.count

    @property
    def requests(self) -> bytes:
        return orjson.dumps(self._question.open) if self._question else b""

    def follow(self, after: int = 0) -> Follower:
        return self._attendance.follow(self.log, after)

    def cancel(self) -> None:
        self._given_up = True
        if self._call is not None:
            self._call.leave()
        elif not self._ended:
            self._finish(self._cancelled())

    def answer(self, responses: bytes) -> None:
        given = questions.responses(responses)
        if (question := self._question) is not None and question.take(given):
            self._question = None
            self._resume(orjson.dumps(question.answers), question.state)

    def drain(self) -> None:
        """The pooler stops: whoever works may end, but nobody is waited for."""
        if self._call is None and not self._ended:
            sentence = f"This pooler is being shut down, and {self.identity.operation} was waiting for its user."
            self._finish(Fault(Reason.DRAINING, sentence))

    def words(self) -> str:
        if self._call is not None and not self.followers:  # else its place was told not long ago
            pool = self._call.driver.pool
            now = prospects(pool, {self._call}, self._around.clock()).get(self._call)
            if said := state.words(now):
                return said
        return super().words()

    # Its call

    def _send(self, request: Request) -> None:
        self._teller.waiting()
        self._call = self._around.dispatcher.send(request, self._delivered, self._teller)
        self._attended(self.followers > 0)

    def _attended(self, present: bool) -> None:
        """Its place is asked for as long as somebody wants to know."""
        if self._call is not None:
            if present:
                self._around.outlook.watch(self._call.driver, self._call, self._teller.prospect)
            else:
                self._around.outlook.forget(self._call.driver, self._call)
        if not present:
            self._changed(self)

    def _delivered(self, outcome: Outcome) -> None:
        call, self._call = self._call, None
        assert call is not None
        self._around.outlook.forget(call.driver, call)
        self._spent = Timing(*map(sum, zip(self._spent, outcome.timing, strict=True)))
        self._teller.flush()
        match outcome.result:
            case Fault() as fault:
                self._finish(fault)
            case Answer(asks=True) if self._given_up:
                self._finish(self._cancelled())
            case Answer(asks=True) as answer if self.terms.await_input:
                self._ask(orjson.loads(answer.body))
            case Answer() as answer:
                self._add(Page(answer, self._spent))
                self._finish(None)

    # Its user

    def _ask(self, body: dict[str, Any]) -> None:
        requests, sealed = body.get("inputRequests"), body["requestState"]
        if not requests:
            self._pause = self._loop.call_later(AGAIN_SECONDS, self._resume, b"", sealed)
            return
        self._question = Question(requests, sealed)
        self._add(Asked(orjson.dumps(requests)))
        self._pause = self._loop.call_later(self._remaining(), self._unanswered)

    def _resume(self, responses: bytes, sealed: str) -> None:
        """Queues again, with what the user has said."""
        self._stop_pause()
        assert self._request is not None
        before = self._request.input or Input()
        given = Input(before.capabilities, responses, sealed)
        try:
            self._send(replace(self._request, timeout_seconds=max(0.001, self._remaining()), input=given))
        except Fault as fault:
            self._finish(fault)

    def _unanswered(self) -> None:
        self._question = None
        sentence = f"Operation {self.identity.operation} asked its user, who did not answer in time; it was given up."
        self._finish(Fault(Reason.INPUT_DECLINED, sentence))

    # Its end

    def _finish(self, fault: Fault | None) -> None:
        self._stop_pause()
        self._attendance.stop()
        self._question = None
        self._teller.flush()
        done = Done(fault, self._spent)
        self._ended = True
        self._note(done)

    def _add(self, what: Happening) -> None:
        if not self._ended:  # work may go on behind a first page, and still report
            self._note(what)

    def _note(self, what: Happening) -> None:
        self.updated_at = self._around.wall()
        self.log.add(what)
        self._changed(self)

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _remaining(self) -> float:
        return self._deadline - self._around.clock()

    def _cancelled(self) -> Fault:
        return Fault(Reason.CANCELLED, f"Operation {self.identity.operation} was cancelled.")
