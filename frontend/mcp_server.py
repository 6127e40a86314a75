"""The MCP server: each request of the protocol, answered from the catalogue or by a call to the pooler.

It keeps nothing of a request once that is answered. Cancelling a handler, which is what a client's leaving does, takes
the call back from the pooler. The SDK looks after both eras of the protocol, its headers and its error codes.
"""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, TypeVar

import mcp_types as types
import orjson
import structlog
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from pydantic import ValidationError

from frontend import completion
from frontend.auth import Caller
from frontend.catalogue import Catalogue, check_prompt_arguments, render
from frontend.config import Settings
from frontend.errors import (
    PoolerError,
    as_protocol_error,
    as_tool_result,
    invalid_arguments,
    invalid_params,
    pooler_away,
    resource_not_found,
)
from frontend.events import Reply
from frontend.operations import Offer, Operation
from frontend.pooler_client import Call, PoolerClient

log = structlog.get_logger(__name__)

CALLER = "penstock.caller"
"""Where the HTTP side leaves the caller of a request, in its ASGI scope."""

TIMING_META = "penstock/timing"
"""Where a call's timing stands in a result's `_meta`."""

CATALOGUE_SECONDS = 5.0
"""How long a frontend that has never seen a catalogue lets its first clients wait for one."""

LIST_TTL_MS = 60_000
"""How long clients may keep a list: about as long as an operator who changed one is ready to wait."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]
Params = TypeVar("Params", bound=types.RequestParams)


class McpServer:
    """The handlers, and the last catalogue that they answer from."""

    def __init__(self, settings: Settings, default_caller: Caller, pooler: PoolerClient) -> None:
        self._settings = settings
        self._default_caller = default_caller
        self._pooler = pooler
        self._catalogue: Catalogue | None = None
        self._catalogue_taken = asyncio.Event()
        # Whoever must show a token may see another list tomorrow; nobody between may serve it to others.
        lists = CacheHint(LIST_TTL_MS, "private" if settings.tokens else "public")
        self.sdk: Server[Any] = Server(
            settings.name,
            version=version("penstock"),
            instructions=settings.instructions or None,
            get_tool_input_schema=self._input_schema,
            cache_hints={
                "server/discover": lists,
                "tools/list": lists,
                "resources/list": lists,
                "resources/templates/list": lists,
                "prompts/list": lists,
                "resources/read": CacheHint(0, "private"),
            },
        )
        self._register()

    @property
    def revision(self) -> str | None:
        """The catalogue's revision, or None before the first."""
        return self._catalogue.revision if self._catalogue else None

    def publish(self, offer: Offer) -> None:
        """Takes a new revision of what the pooler offers."""
        self._catalogue = Catalogue(offer)
        self._catalogue_taken.set()

    def _register(self) -> None:
        self._add("tools/list", types.PaginatedRequestParams, self._lists(Catalogue.list_tools))
        self._add("tools/call", types.CallToolRequestParams, self._call_tool)
        self._add("resources/list", types.PaginatedRequestParams, self._lists(Catalogue.list_resources))
        self._add(
            "resources/templates/list", types.PaginatedRequestParams, self._lists(Catalogue.list_resource_templates)
        )
        self._add("resources/read", types.ReadResourceRequestParams, self._read_resource)
        self._add("prompts/list", types.PaginatedRequestParams, self._lists(Catalogue.list_prompts))
        self._add("prompts/get", types.GetPromptRequestParams, self._get_prompt)
        self._add("completion/complete", types.CompleteRequestParams, self._complete)

    def _add(
        self, method: str, params_type: type[Params], handler: Callable[[Context, Params], Awaitable[Result]]
    ) -> None:
        """Registers a handler whose result is plain JSON, so that a worker's own passes through as it is."""

        async def handle(ctx: Context, params: Params) -> Result:
            # The SDK adds what 2026-07-28 requires of a result to its own types only.
            try:
                return {"resultType": "complete"} | await handler(ctx, params)
            except PoolerError as error:
                raise as_protocol_error(error) from None

        self.sdk.add_request_handler(method, params_type, handle)

    # Answered from the catalogue

    def _lists(
        self, page: Callable[[Catalogue, str | None], Result]
    ) -> Callable[[Context, types.PaginatedRequestParams], Awaitable[Result]]:
        async def handle(_: Context, params: types.PaginatedRequestParams) -> Result:
            return page(await self._known_catalogue(), params.cursor)

        return handle

    async def _known_catalogue(self) -> Catalogue:
        """The last known catalogue; a cold frontend waits for its first one, rather than say that there is nothing."""
        if self._catalogue is None:
            try:
                async with asyncio.timeout(CATALOGUE_SECONDS):
                    await self._catalogue_taken.wait()
            except TimeoutError:
                raise pooler_away() from None
        assert self._catalogue is not None
        return self._catalogue

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        return self._catalogue.input_schema(name) if self._catalogue else None

    # Answered by the pooler

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Result:
        try:
            catalogue = await self._known_catalogue()
            operation = catalogue.tool(params.name)
            arguments = params.arguments or {}
            encoded = _encoded(arguments)
            if faults := catalogue.faults(operation, arguments):
                return invalid_arguments(faults)
            reply = await self._call(ctx, operation, encoded)
            return _timed(_tool_result(operation, reply), reply)
        except PoolerError as error:
            return as_tool_result(error)

    async def _read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> Result:
        catalogue = await self._known_catalogue()
        uri = str(params.uri)
        if (match := catalogue.resources.match(uri)) is None:
            raise resource_not_found(uri)
        operation, arguments = match
        reply = await self._checked_call(ctx, catalogue, operation, arguments)
        if reply.content:
            return _timed(_workers_own(types.ReadResourceResult, operation, reply), reply)
        contents = {"uri": uri, "mimeType": operation.mime_type or "application/json", "text": reply.body.decode()}
        return _timed({"contents": [contents]}, reply)

    async def _get_prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> Result:
        catalogue = await self._known_catalogue()
        prompt = catalogue.prompt(params.name)
        arguments = params.arguments or {}
        if not prompt.operation:
            return _described(_user_says(render(prompt, arguments)), prompt.description)
        check_prompt_arguments(prompt, arguments)
        operation = catalogue.operation(prompt.operation)
        reply = await self._checked_call(ctx, catalogue, operation, arguments)
        if reply.content:
            messages = _workers_own(types.GetPromptResult, operation, reply)
        else:
            messages = _user_says(reply.body.decode())
        return _timed(_described(messages, prompt.description), reply)

    async def _complete(self, ctx: Context, params: types.CompleteRequestParams) -> Result:
        catalogue = await self._known_catalogue()
        name, text = params.argument.name, params.argument.value
        operation = completion.operation_for(catalogue, params.ref.model_dump(mode="json"), name)
        if operation is None:
            return {"completion": {"values": []}}
        settled = (params.context.arguments if params.context else None) or {}
        arguments = completion.arguments_for(operation, name, text, settled)
        reply = await self._checked_call(ctx, catalogue, operation, arguments)
        if reply.content:
            return _workers_own(types.CompleteResult, operation, reply)
        return completion.completion_of(reply.body, "" if arguments.keys() & {name, "value"} else text)

    async def _checked_call(
        self, ctx: Context, catalogue: Catalogue, operation: Operation, arguments: Mapping[str, Any]
    ) -> Reply:
        """For what has no error results of its own: every failure is a JSON-RPC error."""
        encoded = _encoded(arguments)
        if faults := catalogue.faults(operation, arguments):
            raise invalid_params(f"Arguments that do not fit: {'; '.join(faults)}")
        return await self._call(ctx, operation, encoded)

    async def _call(self, ctx: Context, operation: Operation, arguments: bytes) -> Reply:
        allowed_seconds = (operation.timeout_ms + operation.queue_timeout_ms) / 1000
        call = Call(
            operation=operation,
            arguments=arguments,
            caller=self._caller(ctx),
            timeout_seconds=min(
                allowed_seconds or self._settings.timeout_seconds_max, self._settings.timeout_seconds_max
            ),
            request_id=uuid.uuid4().hex,
            traceparent=_traceparent(ctx),
        )
        return await self._pooler.call(call)

    def _caller(self, ctx: Context) -> Caller:
        """Whoever the HTTP side let in; without one there is only the caller on stdio."""
        if ctx.request is None:
            return self._default_caller
        caller: Caller = ctx.request.scope[CALLER]
        return caller


def _tool_result(operation: Operation, reply: Reply) -> Result:
    """A value as structured content, and again as text; a worker's own form as it is."""
    if reply.content:
        return _workers_own(types.CallToolResult, operation, reply)
    text = {"type": "text", "text": reply.body.decode()}
    return {"content": [text], "structuredContent": orjson.loads(reply.body)}


def _workers_own(form: type[types.Result], operation: Operation, reply: Reply) -> Result:
    """A result in MCP's own form, untouched. Raises PoolerError when it is none.

    The SDK's own check lets much through, since what is no tool result may still be a request for input.
    """
    answer: Result = orjson.loads(reply.body)
    if form is types.CallToolResult:
        answer.setdefault("content", [])
    try:
        form.model_validate(answer, by_name=False)
    except ValidationError as error:
        faults = [".".join(map(str, each["loc"])) for each in error.errors(include_input=False)][:5]
        log.warning("an answer that is no MCP", operation=operation.name, form=form.__name__, faults=faults)
        sentence = f"{operation.name!r} answered with what is no MCP {form.__name__}: its worker has to be mended."
        raise PoolerError("INTERNAL", sentence) from None
    return answer


def _user_says(text: str) -> Result:
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


def _timed(result: Result, reply: Reply) -> Result:
    return result | {"_meta": {**(result.get("_meta") or {}), TIMING_META: dict(reply.timing_ms)}}


def _described(result: Result, description: str) -> Result:
    return {"description": description} | result if description else result


def _encoded(arguments: Mapping[str, Any]) -> bytes:
    """Arguments as they came. Raises MCPError for what is no JSON, though Python's own parser lets it through."""
    try:
        return orjson.dumps(arguments)
    except TypeError:
        # An integer beyond 64 bits is sound JSON, which orjson does not write; half a surrogate pair is not.
        with contextlib.suppress(ValueError):
            return json.dumps(arguments, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        raise invalid_params("The arguments hold a number or a character that JSON cannot carry") from None


def _traceparent(ctx: Context) -> str:
    """The caller's trace: from the request's own `_meta`, else from the header that carried it; checked, or empty."""
    found = (ctx.meta or {}).get("traceparent")
    if found is None and ctx.request is not None:
        found = ctx.request.headers.get("traceparent")
    return found if isinstance(found, str) and _TRACEPARENT.fullmatch(found) else ""
