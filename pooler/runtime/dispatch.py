"""From an operation's name and JSON arguments to a turn in the right pool: look-up, validation, the bound on all calls.

It serves every kind of caller alike, and knows nothing of gRPC. A fault found before a pool was asked is raised; every
later outcome is delivered.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jsonschema_rs
import orjson
import structlog

from pooler.backends.base import Answer, Caller, Input, News
from pooler.clock import Clock, monotonic
from pooler.core.cursors import Cursor, Keyed, Spooled
from pooler.core.slots import Priority
from pooler.errors import Fault, Reason
from pooler.runtime import keyed
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.desks import Carrier, Desk
from pooler.runtime.dialogue import Dialogue
from pooler.runtime.driver import Driver
from pooler.runtime.results import CURSOR, Paging, Results
from pooler.runtime.turns import NO_EXTRAS, Extras, Hands, Outcome, Timing, Turn

log = structlog.get_logger(__name__)

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
    first_page_only: bool = False
    """Whether nobody will go on with its result."""
    conversation: str = ""
    """The handle of the one that the call belongs to, or empty."""


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
    paging: Paging | None = None
    """How its results are cut into pages; None: there is one page, and no more."""
    desk: Desk | None = None
    """Who knows what its callers keep of its backend; None: nothing."""

    def arguments(self, body: bytes) -> dict[str, Any]:
        """The arguments, checked and with their defaults. Raises Fault, listing what is wrong and where."""
        try:
            arguments: Any = _decoded(body or b"{}")
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

    route: Route
    dispatcher: "Dispatcher"
    told: Callable[[Outcome], None]
    carrier: Carrier | None = None
    """Who carries it out instead of the pool, where a connection is kept for its caller."""

    @property
    def driver(self) -> Driver:
        """Of the pool that it goes to."""
        return self.route.driver

    def take_along(self, hands: Hands) -> Extras:
        """A window as well, when its result may have more pages than one."""
        extras = self.extras or NO_EXTRAS
        if self.route.paging is not None and extras.pages is None:
            extras = extras._replace(pages=self.dispatcher.kept.window(self.route.paging, self, hands))
            self.extras = extras
        return extras

    def leave(self) -> None:
        """The caller has left."""
        (self.carrier or self.driver).cancel(self)
        if self.grant is None and self.task is not None:
            self.task.cancel()  # it was fetching a page

    async def fetch(self, cursor: Spooled) -> None:
        """Has the answer fetched from a result that is kept, instead of asking the pool."""
        result: Answer | Fault
        try:
            result = await self.dispatcher.kept.fetch(cursor, self.deadline - self.asked_at)
        except Fault as fault:
            result = fault
        except Exception:
            log.exception("a page could not be fetched: a bug", operation=self.operation)
            result = Fault(Reason.INTERNAL, f"The next page of {self.operation} could not be fetched, by a defect.")
        deliver, self.deliver = self.deliver, None
        if deliver is not None:
            deliver(Outcome(result, Timing(backend=self.dispatcher.clock() - self.asked_at)))

    def ended(self, outcome: Outcome) -> None:
        """Hands the outcome on; what a worker asks, sealed."""
        in_dialogue = self.extras is not None and self.extras.input is not None
        if in_dialogue or (isinstance(outcome.result, Answer) and outcome.result.asks):
            outcome = self.dispatcher.talk.ended(self, outcome)
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        """Hands the outcome on as it is."""
        self.dispatcher.under_way -= 1
        self.told(outcome)

    def ask(self, question: Answer) -> None:
        """Its user is asked before it goes anywhere."""
        self.deliver = None
        asyncio.get_running_loop().call_soon(self.tell, Outcome(question, Timing()))


class Fetched(NamedTuple):
    """A page, and how long it was waited for."""

    result: Answer
    timing: Timing


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
    results: Results | None = None
    """For calls with more pages than one. Set before the first call."""
    conversations: Conversations | None = None
    """For calls that belong to one. Set before the first call."""
    _fetching: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def talk(self) -> Dialogue:
        assert self.dialogue is not None, "a dispatcher of calls that ask their user needs a dialogue"
        return self.dialogue

    @property
    def kept(self) -> Results:
        assert self.results is not None, "a dispatcher of calls that are paged needs a place for what is kept of them"
        return self.results

    def submit(self, request: Request, deliver: Callable[[Outcome], None]) -> Callable[[], None]:
        """Sends a call on its way; `deliver` is called once, later. Raises Fault when there is nothing to wait for.

        Returns what the caller calls when it leaves: the work stops, and the outcome is CANCELLED. Harmless afterwards.
        """
        return self.send(request, deliver).leave

    def send(self, request: Request, deliver: Callable[[Outcome], None], news: News | None = None) -> Call:
        """The same, for whoever wants to follow the call: by its turn, and by the news of its work."""
        self._expect_room(request.timeout_seconds)
        route = self._route(request.operation)
        if request.conversation:
            request = self._joined(request)
        arguments = route.arguments(request.arguments)
        session = route.desk.session(arguments) if route.desk is not None else ""
        if self.draining and not session:  # a session has its grace: it may be brought to its end
            raise _draining()
        cursor = self._cursor(route, arguments, request)
        if request.first_page_only:
            route = replace(route, paging=None)
        caller = _caller(request)
        carrier = None
        if route.desk is not None and not isinstance(cursor, Spooled):
            carrier = route.desk.carrier(route.name, session, caller)
        now = self.clock()
        deadline = now + request.timeout_seconds
        call = Call(
            route=route,
            dispatcher=self,
            told=deliver,
            asked_at=now,
            give_up_at=min(deadline, now + route.queue_timeout_seconds),
            tenant=request.tenant,
            priority=request.priority,
            operation=keyed.behind(route.name) if isinstance(cursor, Keyed) else route.name,
            whole=route.whole,
            read=route.read,
            arguments=arguments,
            caller=caller,
            deadline=deadline,
            timeout_seconds=route.timeout_seconds,
            carrier=carrier,
        )
        confirm, given = (route.confirm, request.input) if cursor is None else ("", None)
        question = self._open(call, confirm, given, news)
        call.deliver = call.ended
        self.under_way += 1
        if question is not None:
            call.ask(question)
        elif isinstance(cursor, Spooled):
            self._fetch(call, cursor)
        else:
            (carrier or route.driver).submit(call)
        return call

    def _joined(self, request: Request) -> Request:
        """A call that belongs to a conversation, by its key instead of its handle. Raises Fault when it has ended.

        Where the call does not say what its client can be asked, the conversation knows.
        """
        assert self.conversations is not None, "a dispatcher of calls that belong to conversations needs them"
        conversation = self.conversations.check(request.conversation, request.tenant, request.principal)
        given = request.input or Input()
        if not given.capabilities:
            given = given._replace(capabilities=conversation.record.capabilities)
        return replace(request, conversation=conversation.key, input=given if any(given) else None)

    def _cursor(self, route: Route, arguments: dict[str, Any], request: Request) -> Cursor | None:
        """Where the call goes on, if it goes on; its arguments are then what is left. Raises Fault for a bad cursor."""
        if route.paging is None or not (handle := arguments.pop(CURSOR, "")):
            return None
        cursor = self.kept.open(handle, request.tenant, request.principal)
        route.paging.check(cursor, arguments)
        if isinstance(cursor, Keyed):
            arguments.update(keyed.arguments(cursor.keys))
        return cursor

    async def fetch(self, cursor: Spooled, timeout_seconds: float) -> "Fetched":
        """A page of a result that is kept, for who has nothing but its cursor. Raises Fault."""
        self._expect_room(timeout_seconds)
        if self.draining:
            raise _draining()
        began = self.clock()
        self.under_way += 1
        try:
            answer = await self.kept.fetch(cursor, timeout_seconds)
        finally:
            self.under_way -= 1
        return Fetched(answer, Timing(backend=self.clock() - began))

    def _fetch(self, call: Call, cursor: Spooled) -> None:
        task = call.task = asyncio.get_running_loop().create_task(call.fetch(cursor))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    def _open(self, call: Call, confirm: str, given: Input | None, news: News | None) -> Answer | None:
        """Gives a call what only some calls take along. Returns what to ask its user first, if anything."""
        if given is not None or confirm:
            opened = self.talk.begin(call, confirm, given or Input())
            if isinstance(opened, Answer):
                return opened
            given = opened
        if given is not None or news is not None:
            call.extras = Extras(news=news, input=given)
        return None

    def _expect_room(self, timeout_seconds: float) -> None:
        """Raises Fault when a call cannot be taken on, whatever it wants."""
        if not 0 < timeout_seconds <= TIMEOUT_MAX_SECONDS:
            raise Fault(
                Reason.DEADLINE_REQUIRED,
                f"timeout_ms is {timeout_seconds * 1000:.0f}; every call needs one, from 1 to 86400000.",
            )
        if self.under_way >= self.calls_max:
            sentence = f"This pooler has {self.calls_max} calls under way, as many as it may. Try again in 0.1 s."
            raise Fault(Reason.TOO_MANY_CALLS, sentence, {"retry_after_ms": "100"})

    def _route(self, name: str) -> Route:
        route = self.routes.get(name)
        if self.draining and (route is None or route.desk is None):
            raise _draining()
        if route is None:
            raise Fault(Reason.OPERATION_NOT_FOUND, f"There is no operation {name!r}.")
        return route


def _draining() -> Fault:
    return Fault(Reason.DRAINING, "This pooler is being shut down and takes no new calls.")


def _caller(request: Request) -> Caller:
    request_id = request.request_id or uuid.uuid4().hex
    return Caller(request.tenant, request.principal, request_id, request.traceparent, request.conversation)
