"""The extension `io.modelcontextprotocol/tasks`: long operations as tasks, which any frontend can say more of.

A task is a run that goes on without anybody following it, and its id is the run's handle; the pooler keeps all there is
to know. A long operation becomes a task at once, or, where it is configured so, once it has lasted for a while: until
then it is answered like any other, and what it asks its user travels as a multi-round trip, whose `requestState` is the
handle again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson
from mcp.server.lowlevel import Server
from mcp_types import RequestParams
from mcp_types.jsonrpc import METHOD_NOT_FOUND

from frontend.auth import Caller
from frontend.errors import (
    HANDLE_REASONS,
    HEADER_MISMATCH,
    PoolerError,
    ProtocolError,
    as_protocol_error,
    invalid_params,
    missing_capability,
)
from frontend.events import Accepted, Done, InputRequired, Page, Reply, RunEvent, RunState, RunStatus
from frontend.operations import Operation
from frontend.pooler_client import Call, Runs, Terms
from frontend.preparing import digest_of
from frontend.rendering import TOOL, Note, failure_of, result_of
from frontend.requests import Context, caller_of, capabilities_of, in_sdk_words, is_modern, routed_name_of
from frontend.runs import Teller

TASKS = "io.modelcontextprotocol/tasks"

POLL_INTERVAL_MS = 1000
"""How often clients had better ask."""

TO_ITS_END = -1
RUN_KIND = "run."
"""How the handle of a run begins, which tells it from the state of a call that is no run."""

Json: TypeAlias = dict[str, Any]


class TaskParams(RequestParams):
    """What `tasks/get` and `tasks/cancel` name."""

    task_id: str


class UpdateParams(TaskParams):
    """What `tasks/update` brings beside: an answer for each request, or for some of them."""

    input_responses: dict[str, Any]


class Tasks:
    """`operation`: looks up an operation of the catalogue of the moment by its name."""

    def __init__(self, runs: Runs, default_caller: Caller, operation: Callable[[str], Operation | None]) -> None:
        self._runs = runs
        self._default_caller = default_caller
        self._operation = operation

    def offer(self, sdk: "Server[Any]") -> None:
        """Declares the extension, and serves its methods."""
        sdk.extensions[TASKS] = {}
        sdk.add_request_handler("tasks/get", TaskParams, in_sdk_words(self._get))
        sdk.add_request_handler("tasks/update", UpdateParams, in_sdk_words(self._update))
        sdk.add_request_handler("tasks/cancel", TaskParams, in_sdk_words(self._cancel))

    def wanted(self, ctx: Context, operation: Operation, note: Note) -> bool:
        """Whether a request may be answered by a task: a long tool's, from a client that knows tasks."""
        return note.method == TOOL and operation.long and _declared(ctx)

    # tools/call

    async def answer(self, ctx: Context, call: Call, note: Note) -> Json:
        """The result of a long tool call: a task, or what came before it was one. Raises PoolerError, ProtocolError."""
        note = replace(note, digest=digest_of(call.arguments))
        if call.request_state.startswith(RUN_KIND):
            return await self._resume(ctx, call, note)
        terms = Terms(detach_grace_ms=TO_ITS_END, await_input=True, note=note.pack())
        return await self._settle(ctx, call, note, "", self._runs.run(call, terms))

    async def _resume(self, ctx: Context, call: Call, note: Note) -> Json:
        """Goes on with a run that has asked its user, and whose request has come again with the answers."""
        run, _, seq = call.request_state.rpartition("~")
        state = await self._runs.get(call.caller, run)
        if (state.operation, Note.unpack(state.note).digest) != (call.operation.name, note.digest):
            raise invalid_params("The requestState belongs to another call: repeat the one that it came with")
        state = await self._runs.answer(call.caller, run, call.input_responses or b"{}")
        if state.status == RunStatus.INPUT_REQUIRED:
            return _asked(state.input_requests, call.request_state, note)
        events = self._runs.attach(call.caller, run, int(seq) if seq.isdecimal() else 0)
        return await self._settle(ctx, call, note, run, events)

    async def _settle(
        self, ctx: Context, call: Call, note: Note, run: str, events: AsyncGenerator[RunEvent, None]
    ) -> Json:
        """What a run comes to before it is time to make a task of it. `run`: its handle, where it exists already."""
        after_ms = call.operation.long_after_ms
        teller = Teller(ctx, note)
        try:
            async with asyncio.timeout_at(_in(after_ms) if run else None) as patience, aclosing(events):
                async for event in events:
                    match event.what:
                        case Accepted(handle):
                            run = handle
                            if not after_ms:
                                break
                            patience.reschedule(_in(after_ms))
                        case Page(reply):
                            return result_of(reply, note)
                        case InputRequired(requests):
                            return _asked(requests, f"{run}~{event.seq}", note)
                        case Done(PoolerError() as error):
                            run = ""
                            raise error
                        case _:
                            await teller.tell(event)
        except TimeoutError:
            pass
        except (asyncio.CancelledError, PoolerError):
            self._runs.abandon(call.caller, run)
            raise
        return await self._created(call, run)

    async def _created(self, call: Call, run: str) -> Json:
        try:
            state = await self._runs.get(call.caller, run)
        except (asyncio.CancelledError, PoolerError):
            # Whoever asked has not heard of the task, and can neither ask for it again nor cancel it.
            self._runs.abandon(call.caller, run)
            raise
        return _task(state, _bound_ms(call.operation)) | {"resultType": "task"}

    # tasks/…

    async def _get(self, ctx: Context, params: TaskParams) -> Json:
        state = await self._known(ctx, params, lambda caller: self._runs.get(caller, params.task_id))
        operation = self._operation(state.operation)
        return _task(state, _bound_ms(operation) if operation else 0) | _outcome(state)

    async def _update(self, ctx: Context, params: UpdateParams) -> Json:
        answers = orjson.dumps((ctx.params or {}).get("inputResponses") or {})
        await self._known(ctx, params, lambda caller: self._runs.answer(caller, params.task_id, answers))
        return {}

    async def _cancel(self, ctx: Context, params: TaskParams) -> Json:
        await self._known(ctx, params, lambda caller: self._runs.cancel(caller, params.task_id))
        return {}

    async def _known(self, ctx: Context, params: TaskParams, ask: Callable[[Caller], Awaitable[RunState]]) -> RunState:
        """Asks about a task, for a client that may. Raises ProtocolError."""
        _let_in(ctx, params)
        try:
            return await ask(caller_of(ctx, self._default_caller))
        except PoolerError as error:
            # Gone for good, in whichever way: whoever polls for it must stop.
            raise (
                invalid_params(error.message) if error.reason in HANDLE_REASONS else as_protocol_error(error)
            ) from None


def _let_in(ctx: Context, params: TaskParams) -> None:
    if not is_modern(ctx):
        raise ProtocolError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    routed = routed_name_of(ctx)
    if routed is not None and routed != params.task_id:
        raise ProtocolError(HEADER_MISMATCH, "The Mcp-Name header has to be the task's id, as the body has it")
    if not _declared(ctx):
        raise missing_capability(f"{ctx.method} is for clients that declare {TASKS}", {"extensions": {TASKS: {}}})


def _declared(ctx: Context) -> bool:
    extensions = capabilities_of(ctx).get("extensions") if is_modern(ctx) else None
    return isinstance(extensions, dict) and TASKS in extensions


def _in(milliseconds: int) -> float:
    return asyncio.get_running_loop().time() + milliseconds / 1000


def _bound_ms(operation: Operation) -> int:
    return operation.timeout_ms + operation.queue_timeout_ms


def _asked(requests: bytes, state: str, note: Note) -> Json:
    body = {"inputRequests": orjson.loads(requests or b"{}"), "requestState": state}
    return result_of(Reply(orjson.dumps(body), content=False, timing_ms={}, asks=True), note)


def _task(state: RunState, bound_ms: int) -> Json:
    """A run as a task. Its life is counted from its birth here, and from its end in the pooler."""
    lasted = state.updated_ms - state.created_ms
    ended = state.status not in (RunStatus.WORKING, RunStatus.INPUT_REQUIRED)
    task = {
        "taskId": state.run,
        "status": str(state.status),
        "createdAt": _timestamp(state.created_ms),
        "lastUpdatedAt": _timestamp(state.updated_ms),
        "ttlMs": state.keep_ms + (lasted if ended else max(lasted, bound_ms)),
        "pollIntervalMs": POLL_INTERVAL_MS,
    }
    return task | ({"statusMessage": state.message} if state.message else {})


def _outcome(state: RunState) -> Json:
    """What a task has come to. A tool that failed has completed, with a result that says so."""
    note = Note.unpack(state.note)
    try:
        if state.status == RunStatus.INPUT_REQUIRED:
            return {"inputRequests": orjson.loads(state.input_requests or b"{}")}
        if state.reply is not None:
            return {"result": result_of(state.reply, note)}
        if state.error is not None and state.status == RunStatus.FAILED:
            return {"status": "completed", "result": failure_of(state.error, note)}
    except ProtocolError as error:
        return {"status": "failed", "error": error.error}
    return {}


def _timestamp(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
