"""From an operation's name and JSON arguments to a turn in the right pool: look-up, validation, the bound on all calls.

It serves every kind of caller alike, and knows nothing of gRPC. A fault found before a pool was asked is raised; every
later outcome is delivered.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import orjson

from pooler.backends.base import Answer, Caller, Input, News
from pooler.clock import Clock, monotonic
from pooler.core.slots import Priority
from pooler.errors import Fault, Reason
from pooler.runtime.dialogue import Dialogue, Round
from pooler.runtime.driver import Driver
from pooler.runtime.turns import Extras, Outcome, Timing, Turn

TIMEOUT_MAX_SECONDS = 86_400.0
FAULTS_TOLD = 5
"""How many things that are wrong with the arguments one answer lists."""

SENTENCE_MAX = 300
"""A fault quotes the value that does not fit; this bounds it, in characters."""

BIG_INTEGER = re.compile(rb"[0-9]{19}")
"""What may be an integer beyond 64 bits; a text that looks like one costs only time."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it arrived. Times in seconds from now."""

    operation: str
    arguments: bytes
    timeout_seconds: float
    tenant: str = "default"
    principal: str = "anonymous"
    priority: Priority = Priority.INTERACTIVE
    request_id: str = ""
    traceparent: str = ""
    input: Input | None = None
    """What the client can be asked, its user's answers, and the sealed state that they belong to; where any came."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where an operation's calls go, and what holds for them."""

    name: str
    driver: Driver
    read: bool
    whole: bool
    timeout_seconds: float
    queue_timeout_seconds: float
    validator: jsonschema_rs.Draft202012Validator
    defaults: Mapping[str, Any] = field(default_factory=dict)
    confirm: str = ""
    """What its user is asked before it is begun, with places for its arguments; empty: nothing."""

    def arguments(self, body: bytes) -> Mapping[str, Any]:
        """The arguments, checked and with their defaults. Raises Fault, listing what is wrong and where."""
        try:
            arguments = _decoded(body or b"{}")
        except ValueError as error:
            raise Fault(Reason.INVALID_ARGUMENTS, f"The arguments of {self.name} are no JSON: {error}") from None
        if not self.validator.is_valid(arguments):
            raise Fault(Reason.INVALID_ARGUMENTS, f"The arguments of {self.name} do not fit: {self._wrong(arguments)}")
        return {**self.defaults, **arguments} if self.defaults else arguments

    def _wrong(self, arguments: Any) -> str:
        found = []
        for error in self.validator.iter_errors(arguments):
            place = ".".join(map(str, error.instance_path))
            sentence = error.message if len(error.message) <= SENTENCE_MAX else error.message[:SENTENCE_MAX] + "…"
            found.append(f"{place}: {sentence}" if place else sentence)
        more = f"; and {len(found) - FAULTS_TOLD} more" if len(found) > FAULTS_TOLD else ""
        return "; ".join(found[:FAULTS_TOLD]) + more


def _decoded(body: bytes) -> Any:
    """JSON with every digit of its integers: orjson turns those beyond 64 bits into floats without a word."""
    return json.loads(body, parse_constant=_refuse) if BIG_INTEGER.search(body) else orjson.loads(body)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


@dataclass(slots=True, eq=False, kw_only=True)
class Call(Turn):
    """A turn that knows the way back. (Ten thousand may wait: a closure for each way would take 200 bytes more.)"""

    driver: Driver
    dispatcher: "Dispatcher"
    told: Callable[[Outcome], None]
    round: Round | None = None
    """How far the dialogue with its user has come, where it has one."""

    def leave(self) -> None:
        """The caller has left."""
        self.driver.cancel(self)

    def ended(self, outcome: Outcome) -> None:
        """Hands the outcome on."""
        self.dispatcher.under_way -= 1
        if self.round is not None or (isinstance(outcome.result, Answer) and outcome.result.asks):
            outcome = self.dispatcher.talk.ended(self, self.round or Round(), outcome)
        self.told(outcome)

    def answer(self, answer: Answer) -> None:
        """It is answered without a connection."""
        deliver, self.deliver = self.deliver, None
        assert deliver is not None
        asyncio.get_running_loop().call_soon(deliver, Outcome(answer, Timing()))


@dataclass(slots=True)
class Dispatcher:
    """All operations of a pooler. `calls_max` bounds the calls under way, waiting ones included."""

    calls_max: int
    routes: Mapping[str, Route] = field(default_factory=dict)
    clock: Clock = monotonic
    draining: bool = False
    under_way: int = 0
    dialogue: Dialogue | None = None
    """For calls that ask their user. Set before the first call."""

    @property
    def talk(self) -> Dialogue:
        assert self.dialogue is not None, "a dispatcher of calls that ask their user needs a dialogue"
        return self.dialogue

    def submit(self, request: Request, deliver: Callable[[Outcome], None]) -> Callable[[], None]:
        """Sends a call on its way; `deliver` is called once, later. Raises Fault when there is nothing to wait for.

        Returns what the caller calls when it leaves: the work stops, and the outcome is CANCELLED. Harmless afterwards.
        """
        return self.send(request, deliver).leave

    def send(self, request: Request, deliver: Callable[[Outcome], None], news: News | None = None) -> Call:
        """The same, for whoever wants to follow the call: by its turn, and by the news of its work."""
        if not 0 < request.timeout_seconds <= TIMEOUT_MAX_SECONDS:
            raise Fault(
                Reason.DEADLINE_REQUIRED,
                f"timeout_ms is {request.timeout_seconds * 1000:.0f}; every call needs one, from 1 to 86400000.",
            )
        route = self._route(request.operation)
        if self.under_way >= self.calls_max:
            sentence = f"This pooler has {self.calls_max} calls under way, as many as it may. Try again in 0.1 s."
            raise Fault(Reason.TOO_MANY_CALLS, sentence, {"retry_after_ms": "100"})
        now = self.clock()
        deadline = now + request.timeout_seconds
        call = Call(
            driver=route.driver,
            dispatcher=self,
            told=deliver,
            asked_at=now,
            give_up_at=min(deadline, now + route.queue_timeout_seconds),
            tenant=request.tenant,
            priority=request.priority,
            operation=route.name,
            whole=route.whole,
            read=route.read,
            arguments=route.arguments(request.arguments),
            caller=Caller(
                request.tenant, request.principal, request.request_id or uuid.uuid4().hex, request.traceparent
            ),
            deadline=deadline,
            timeout_seconds=route.timeout_seconds,
        )
        question = self._open(call, route.confirm, request.input, news)
        call.deliver = call.ended
        self.under_way += 1
        if question is not None:
            call.answer(question)
        else:
            route.driver.submit(call)
        return call

    def _open(self, call: Call, confirm: str, given: Input | None, news: News | None) -> Answer | None:
        """Gives a call what only some calls take along. Returns what to ask its user first, if anything."""
        if given is not None or confirm:
            opened = self.talk.begin(call, confirm, given or Input())
            if isinstance(opened, Answer):
                return opened
            call.round, given = opened
        if given is not None or news is not None:
            call.extras = Extras(news=news, input=given)
        return None

    def _route(self, name: str) -> Route:
        if self.draining:
            raise Fault(Reason.DRAINING, "This pooler is being shut down and takes no new calls.")
        try:
            return self.routes[name]
        except KeyError:
            raise Fault(Reason.OPERATION_NOT_FOUND, f"There is no operation {name!r}.") from None
