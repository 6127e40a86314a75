"""From an operation's name and JSON arguments to a turn in the right pool: look-up, the bound on all calls, cursors.

It serves every kind of caller alike, and knows nothing of gRPC. A fault found before a pool was asked is raised; every
later outcome is delivered.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pooler.backends.base import Answer, Caller, Input, News
from pooler.clock import Clock, monotonic
from pooler.core.cursors import Cursor, Keyed, Spooled
from pooler.errors import Fault, Reason
from pooler.runtime import keyed
from pooler.runtime.calls import Call
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.dialogue import Dialogue
from pooler.runtime.requests import Request
from pooler.runtime.results import CURSOR, Results
from pooler.runtime.routes import Route
from pooler.runtime.turns import Extras, Outcome, Timing

TIMEOUT_MAX_SECONDS = 86_400.0


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
        if route.shared and not confirm:
            given = None  # its backend asks nobody anything
        question = self._open(call, confirm, given, news)
        if call.extras is None and carrier is None and route.shares(now):
            call.whole = False
        call.deliver = call.ended
        if route.reuse is not None:
            call.carrier = carrier = route.reuse.attend(call, carrier)
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
