"""What a frontend knows for the short way: its callers, its tools, its pooler; and the counting of what went by it.

It decides whether a request is a plain call and what its answer is; whoever has the connection reads and writes. A call
is begun without a task, and what has become of it is said by a callback.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Hashable
from itertools import count
from time import monotonic, time
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import orjson

from frontend.auth import Gatekeeper
from frontend.compiled import Compiled
from frontend.config import Settings
from frontend.errors import HANDLE_REASONS, PoolerError, ProtocolError, invalid_arguments
from frontend.events import Reply
from frontend.hot.answers import Answer, Answers
from frontend.hot.heads import Form, Head, Headers, Heads
from frontend.hot.messages import Message, Messages
from frontend.logs import Logger
from frontend.near import Near
from frontend.operations import Operation
from frontend.pooler_client import Call, PoolerClient
from frontend.traces import traceparent

log = Logger(__name__)

UNTOLD = "a result that could not be told"

_PERHAPS_OVER = HANDLE_REASONS | {"CANCELLED"}

Leave: TypeAlias = Callable[[], None]
Render: TypeAlias = Callable[[str, Reply, Form], Awaitable[bytes]]
"""Makes the result of a tool of this name from what is no plain value, as JSON. Raises ProtocolError."""


class Tool(NamedTuple):
    """A tool that may be called the short way."""

    operation: Operation
    fits: Callable[[Any], bool]
    timeout_seconds: float


class Plain(NamedTuple):
    """A plain call, read and checked. `answer`: its answer, where nobody has to be asked: the arguments do not fit, or
    it was answered just now."""

    call: Call
    id: bytes
    form: Form
    answer: Answer | None = None


Done: TypeAlias = Callable[[Plain, Answer | None], None]
"""Hears of a call how it ended."""


class Desk:
    """`render`: what makes results that are in MCP's own form; it may take its time when it is first needed."""

    def __init__(
        self, settings: Settings, version: str, gate: Gatekeeper, pooler: PoolerClient, render: Render
    ) -> None:
        self._longest = settings.timeout_seconds_max
        self._pooler = pooler
        self.near = Near(settings.near_bytes if settings.hot else 0, monotonic, time)
        if self.near:
            pooler.keep_near(self._invalidated, self.near.clear)
        self._render = render
        self._heads = Heads(settings, gate)
        self._messages = Messages()
        self._answers = Answers(settings.name, version)
        self._compiled: Compiled | None = None
        self._published = asyncio.Event()
        self._tools: dict[str, Tool] = {}
        self._prefix = uuid4().hex[:20]
        self._numbers = count(1)
        self._rendering: set[asyncio.Task[None]] = set()
        self.answered = 0
        """Answers that were given the short way."""

    @property
    def ready(self) -> bool:
        """Whether there is a catalogue to look a tool up in."""
        return self._compiled is not None

    async def known(self, patience_seconds: float) -> bool:
        """The same, after some patience."""
        if not self.ready:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self._published.wait()
        return self.ready

    def publish(self, compiled: Compiled) -> None:
        """Takes a new revision of what the pooler offers."""
        self._published.set()
        self._compiled = compiled
        # What a tool of this name answers may be another matter now.
        self.near.clear()
        self._tools = {
            name: self._tool(operation) for name, operation in compiled.tools.items() if _is_plain(operation)
        }

    def head(self, headers: Headers) -> Head | None:
        """What the headers say; None where the request has to go the long way."""
        return self._heads.read(headers)

    def read(self, head: Head, body: bytes) -> Plain | None:
        """A plain call; None where the request has to go the long way."""
        message = self._messages.read(body, head.form)
        if message is None or (tool := self._tools.get(message.name)) is None:
            return None
        if head.form is Form.MODERN and head.name != message.name.encode():
            return None
        if head.form is Form.CONVERSATION and not tool.operation.short:
            return None
        call = self._call(tool, head, message)
        if not tool.fits(message.arguments):
            if head.form is Form.CONVERSATION:
                # Whether it still is comes first, and nobody has been asked.
                return None
            return Plain(call, message.id, head.form, self._misfit(tool, head, message))
        if tool.operation.near and (reply := self.near.find(_alike(call))) is not None:
            return Plain(call, message.id, head.form, self._answers.result(head.form, message.id, reply))
        return Plain(call, message.id, head.form)

    def begin(self, plain: Plain, done: Done) -> Leave:
        """Carries a call out. `done` is called once, on the loop and never before this returns.

        It gets the answer, or None where the request has to go the long way after all. Returns what whoever leaves
        calls: the work stops, and `done` is not called any more, unless there is an answer, which is being rendered.
        """
        asked, epoch = monotonic(), self.near.epoch

        def ended(outcome: Reply | PoolerError) -> None:
            if isinstance(outcome, Reply):
                if outcome.content or outcome.asks:
                    self._render_later(plain, outcome, done)
                    return
                if outcome.reuse is not None:
                    # At once, and not when it is rendered: answers and invalidations have one order.
                    self.near.keep(_alike(plain.call), outcome, asked, epoch, len(plain.call.arguments))
            done(plain, self._answer(plain, outcome))

        return self._pooler.begin(plain.call, ended)

    def _invalidated(self, tags: Collection[str], everything: bool) -> None:
        if everything:
            self.near.clear()
        else:
            self.near.invalidate(tags)

    def _answer(self, plain: Plain, outcome: Reply | PoolerError) -> Answer | None:
        try:
            if isinstance(outcome, Reply):
                return self._answers.result(plain.form, plain.id, outcome)
            if plain.form is Form.CONVERSATION and outcome.reason in _PERHAPS_OVER:
                # Whether it is the conversation that is no more, the long way finds out; nothing was begun.
                return None
            return self._answers.failure(plain.form, plain.id, outcome)
        except Exception:
            # Whoever waits is answered all the same: nobody else would ever do it.
            log.exception(UNTOLD, name=plain.call.operation.name)
            return self._answers.broken(plain.form, plain.id)

    def taken_back(self, plain: Plain) -> Answer:
        """What is said of a call that its client has cancelled."""
        return self._answers.taken_back(plain.form, plain.id)

    def _render_later(self, plain: Plain, reply: Reply, done: Done) -> None:
        async def render() -> None:
            name = plain.call.operation.name
            try:
                answer = self._answers.rendered(plain.id, await self._render(name, reply, plain.form))
            except PoolerError as error:
                answer = self._answers.failure(plain.form, plain.id, error)
            except ProtocolError as error:
                answer = self._answers.error(plain.form, plain.id, error)
            except Exception:
                log.exception(UNTOLD, name=name)
                answer = self._answers.broken(plain.form, plain.id)
            done(plain, answer)

        task = asyncio.get_running_loop().create_task(render())
        self._rendering.add(task)
        task.add_done_callback(self._rendering.discard)

    def _tool(self, operation: Operation) -> Tool:
        assert self._compiled is not None
        own = (operation.timeout_ms + operation.queue_timeout_ms) / 1000
        fits = self._compiled.validator(operation).is_valid
        return Tool(operation, fits, min(own or self._longest, self._longest))

    def _call(self, tool: Tool, head: Head, message: Message) -> Call:
        return Call(
            operation=tool.operation,
            arguments=orjson.dumps(message.arguments),
            caller=head.caller,
            timeout_seconds=tool.timeout_seconds,
            request_id=f"{self._prefix}{next(self._numbers):x}",
            traceparent=traceparent(message.trace, head.traceparent),
            conversation=head.conversation,
            client_capabilities=message.capabilities,
        )

    def _misfit(self, tool: Tool, head: Head, message: Message) -> Answer:
        assert self._compiled is not None
        faults = self._compiled.faults(tool.operation, message.arguments)
        return self._answers.told(head.form, message.id, invalid_arguments(faults))


def _alike(call: Call) -> Hashable:
    """What calls share that have the same answer. One in a conversation is like no other: that it still is, the pooler
    has to say."""
    near, caller = call.operation.near, call.caller
    if call.conversation or not near:
        return None
    whose = None if near == "shared" else caller.tenant if near == "tenant" else caller
    return call.operation.name, whose, call.arguments


def _is_plain(operation: Operation) -> bool:
    """Whether a call of it is nothing but a question and its answer, whose check needs nothing but its schema."""
    return not (operation.asks or operation.long or _has_headers(operation.input_schema))


def _has_headers(schema: Any) -> bool:
    """Whether any part of a schema may want its value in a header of its own, which the SDK compares."""
    if isinstance(schema, dict):
        return "x-mcp-header" in schema or any(map(_has_headers, schema.values()))
    return isinstance(schema, list) and any(map(_has_headers, schema))
