"""From what happened to a run to what its client reads of it: notifications, results and errors, as plain JSON.

Every function depends on the event and on the note that its starter left with the run, and on nothing else, so that any
frontend can tell a run's client what another one has begun to. Nothing here sends, waits or remembers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, TypeAlias

import orjson
from mcp_types import CallToolResult, GetPromptResult, InputRequiredResult, ReadResourceResult, Result
from pydantic import ValidationError

from frontend.errors import PoolerError, ProtocolError, as_protocol_error, as_tool_result, invalid_params
from frontend.events import Done, Log, Page, Progress, Queued, Reply, RunEvent, Starting, Working
from frontend.logs import Logger
from frontend.splicing import meta_of

log = Logger(__name__)

TOOL, RESOURCE, PROMPT = "tools/call", "resources/read", "prompts/get"

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

NOTE_BYTES_MAX = 16 * 1024
"""What a pooler keeps with a run."""

WAITING_STEP = 1e-6
"""How far progress gets with each event before the work itself says something.

Progress must increase with every notification, and a worker counts from 0 in a unit of its own: what comes before must
stay below the least that it may say. A million such steps are one of its smallest usual unit.
"""

Json: TypeAlias = dict[str, Any]
RequestId: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Note:
    """What has to be known of a request to tell its client about its run."""

    method: str
    """`tools/call`, `resources/read` or `prompts/get`."""
    name: str
    """The tool's or the prompt's name, or the resource's URI."""
    request_id: RequestId | None = None
    progress_token: RequestId | None = None
    """None: the client wants to hear of no progress."""
    log_level: str = ""
    """The least level of log lines that it wants to hear; empty: none."""
    mime_type: str = ""
    """Of a resource."""
    description: str = ""
    """Of a prompt."""
    digest: str = ""
    """Of the arguments, for a request that is made again to be told from another."""

    def pack(self) -> bytes:
        """As it travels with the run. Raises ProtocolError when a client's own words make it too large."""
        packed = orjson.dumps({key: value for key, value in asdict(self).items() if value not in (None, "")})
        if len(packed) > NOTE_BYTES_MAX:
            sentence = (
                f"The request's id, progress token and name take {len(packed)} bytes; {NOTE_BYTES_MAX} at most do"
            )
            raise invalid_params(sentence)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> "Note":
        """From a run's note; one that another program has left reads as a tool call's."""
        try:
            found = orjson.loads(packed)
        except orjson.JSONDecodeError:
            found = {}
        known = {field.name for field in fields(cls)}
        given = {key: value for key, value in found.items() if key in known} if isinstance(found, dict) else {}
        return cls(**{"method": TOOL, "name": "", **given})


class Step(NamedTuple):
    """One `notifications/progress`, without its token."""

    progress: float
    total: float | None
    message: str


# While it runs


def notifications_of(event: RunEvent, note: Note) -> list[Json]:
    """The JSON-RPC notifications that tell a client of an event; empty for what it did not ask to hear."""
    if (step := step_of(event)) is not None and note.progress_token is not None:
        params: Json = {"progressToken": note.progress_token, "progress": step.progress, "message": step.message}
        if step.total is not None:
            params["total"] = step.total
        return [{"jsonrpc": "2.0", "method": "notifications/progress", "params": params}]
    if (line := line_of(event, note)) is not None:
        return [{"jsonrpc": "2.0", "method": "notifications/message", "params": line}]
    return []


def step_of(event: RunEvent) -> Step | None:
    """An event as progress; None where it is none.

    It increases from event to event as long as the worker's own numbers do.
    """
    waited = event.seq * WAITING_STEP
    match event.what:
        case Queued(place):
            return Step(waited, None, _queued(place))
        case Starting(remaining_ms):
            return Step(waited, None, _starting(remaining_ms))
        case Working():
            return Step(waited, None, "at work")
        case Progress(progress, total, message):
            return Step(max(progress, waited), total, message or _so_far(progress, total))
    return None


def line_of(event: RunEvent, note: Note) -> Json | None:
    """An event as the parameters of `notifications/message`; None where it is none that the client wants."""
    line = event.what
    if not isinstance(line, Log) or not note.log_level or line.level not in LEVELS:
        return None
    if LEVELS.index(line.level) < LEVELS.index(note.log_level):
        return None
    params: Json = {"level": line.level, "data": orjson.loads(line.data or b"null")}
    return params | ({"logger": line.logger} if line.logger else {})


def _queued(place: int) -> str:
    ahead = place - 1
    return f"queued, {ahead:,} ahead" if ahead > 0 else "queued, next in line"


def _starting(remaining_ms: int) -> str:
    seconds = round(remaining_ms / 1000)
    return f"starting a client, about {seconds} s" if seconds > 0 else "starting a client"


def _so_far(progress: float, total: float | None) -> str:
    return f"{_number(progress)} of {_number(total)}" if total is not None else f"{_number(progress)} so far"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


# When it is done


def answer_of(event: RunEvent, note: Note) -> Json | None:
    """The JSON-RPC response that an event brings; None where it brings none.

    It comes with the page, or with the end of a run that has none.
    """
    try:
        match event.what:
            case Page(reply):
                answer: Json = {"result": result_of(reply, note)}
            case Done(PoolerError() as error):
                answer = {"result": failure_of(error, note)}
            case _:
                return None
    except ProtocolError as error:
        answer = {"error": error.error}
    return {"jsonrpc": "2.0", "id": note.request_id, **answer}


def result_of(reply: Reply, note: Note) -> Json:
    """A reply as the result that the request's method asks for. Raises ProtocolError for what is no such result."""
    try:
        if reply.asks:
            return workers_own(InputRequiredResult, note.name, reply) | {"resultType": "input_required"}
        return _RESULTS[note.method](reply, note) | {"resultType": "complete"}
    except PoolerError as error:
        return failure_of(error, note)


def failure_of(error: PoolerError, note: Note) -> Json:
    """A failure as the request's client reads it: a tool's as a result. Raises ProtocolError where there is none."""
    if note.method != TOOL:
        raise as_protocol_error(error)
    return as_tool_result(error) | {"resultType": "complete"}


def _tool(reply: Reply, note: Note) -> Json:
    """A value as structured content, and again as text; a worker's own form as it is."""
    if reply.content:
        return timed(workers_own(CallToolResult, note.name, reply), reply)
    text = {"type": "text", "text": reply.body.decode()}
    return timed({"content": [text], "structuredContent": orjson.loads(reply.body)}, reply)


def _resource(reply: Reply, note: Note) -> Json:
    if reply.content:
        return timed(workers_own(ReadResourceResult, note.name, reply), reply)
    contents = {"uri": note.name, "mimeType": note.mime_type or "application/json", "text": reply.body.decode()}
    return timed({"contents": [contents]}, reply)


def _prompt(reply: Reply, note: Note) -> Json:
    messages = workers_own(GetPromptResult, note.name, reply) if reply.content else user_says(reply.body.decode())
    return timed(described(messages, note.description), reply)


_RESULTS = {TOOL: _tool, RESOURCE: _resource, PROMPT: _prompt}


def workers_own(form: type[Result], name: str, reply: Reply) -> Json:
    """A result in MCP's own form, untouched. Raises PoolerError when it is none.

    The SDK's own check lets much through, since what is no tool result may still be a request for input.
    """
    answer: Json = orjson.loads(reply.body)
    if form is CallToolResult:
        answer.setdefault("content", [])
    try:
        form.model_validate(answer, by_name=False)
    except ValidationError as error:
        faults = [".".join(map(str, each["loc"])) for each in error.errors(include_input=False)][:5]
        log.warning("an answer that is no MCP", name=name, form=form.__name__, faults=faults)
        sentence = f"{name!r} answered with what is no MCP {form.__name__}: its worker has to be mended."
        raise PoolerError("INTERNAL", sentence) from None
    return answer


def user_says(text: str) -> Json:
    """A prompt of one message."""
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


def described(result: Json, description: str) -> Json:
    """A prompt with its description, where it has one."""
    return {"description": description} | result if description else result


def timed(result: Json, reply: Reply) -> Json:
    """A result that says where its time went, and how much of it is somebody else's."""
    meta: Mapping[str, Any] = result.get("_meta") or {}
    return result | {"_meta": {**meta, **meta_of(reply)}}
