"""The MCP server: each request of the protocol, answered from the catalogue or by a call to the pooler.

It keeps nothing of a request once that is answered. Cancelling a handler, which is what a client's leaving does, takes
the call back from the pooler. The SDK looks after both eras of the protocol, its headers and its error codes.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar

import mcp_types as types
import orjson
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server

from frontend import completion
from frontend.auth import Caller
from frontend.catalogue import Catalogue
from frontend.compiled import Compiled
from frontend.config import Settings
from frontend.errors import (
    HANDLE_REASONS,
    PoolerError,
    as_protocol_error,
    as_tool_result,
    invalid_params,
    missing_capability,
    pooler_away,
)
from frontend.operations import Offer, Operation
from frontend.pooler_client import Call, PoolerClient
from frontend.preparing import Prepared, checked_arguments, prepare_prompt, prepare_resource, prepare_tool
from frontend.rendering import Note, failure_of, result_of, workers_own
from frontend.requests import (
    Context,
    caller_of,
    capabilities_of,
    in_sdk_words,
    is_modern,
    log_level_of,
    progress_token_of,
    traceparent_of,
)
from frontend.runs import reply_of
from frontend.subscriptions import Subscriptions
from frontend.tasks import Tasks

CATALOGUE_SECONDS = 5.0
"""How long a frontend that has never seen a catalogue lets its first clients wait for one."""

LIST_TTL_MS = 60_000
"""How long clients may keep a list: about as long as an operator who changed one is ready to wait."""

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
        self._tasks = Tasks(pooler.runs, default_caller, self._operation)
        self.subscriptions = Subscriptions(pooler.watches, default_caller, self.known_catalogue)
        self._register()

    def publish(self, offer: Offer, compiled: Compiled) -> None:
        """Takes a new revision of what the pooler offers."""
        before, self._catalogue = self._catalogue, Catalogue(offer, compiled)
        self._catalogue_taken.set()
        self.subscriptions.publish(before, self._catalogue)

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
        self._tasks.offer(self.sdk)
        self.sdk.add_request_handler(
            "subscriptions/listen", types.SubscriptionsListenRequestParams, in_sdk_words(self.subscriptions.listen)
        )

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

        self.sdk.add_request_handler(method, params_type, in_sdk_words(handle))

    # Answered from the catalogue

    def _lists(
        self, page: Callable[[Catalogue, str | None], Result]
    ) -> Callable[[Context, types.PaginatedRequestParams], Awaitable[Result]]:
        async def handle(_: Context, params: types.PaginatedRequestParams) -> Result:
            return page(await self.known_catalogue(), params.cursor)

        return handle

    async def known_catalogue(self) -> Catalogue:
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

    def _operation(self, name: str) -> Operation | None:
        return self._catalogue.operations.get(name) if self._catalogue else None

    # Answered by the pooler

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Result:
        try:
            prepared = prepare_tool(await self.known_catalogue(), params.name, params.arguments or {})
        except PoolerError as error:
            return as_tool_result(error)
        return prepared if isinstance(prepared, dict) else await self._carry_out(ctx, prepared)

    async def _read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> Result:
        return await self._carry_out(ctx, prepare_resource(await self.known_catalogue(), str(params.uri)))

    async def _get_prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> Result:
        prepared = prepare_prompt(await self.known_catalogue(), params.name, params.arguments or {})
        return prepared if isinstance(prepared, dict) else await self._carry_out(ctx, prepared)

    async def _complete(self, ctx: Context, params: types.CompleteRequestParams) -> Result:
        catalogue = await self.known_catalogue()
        name, text = params.argument.name, params.argument.value
        operation = completion.operation_for(catalogue, params.ref.model_dump(mode="json"), name)
        if operation is None:
            return {"completion": {"values": []}}
        settled = (params.context.arguments if params.context else None) or {}
        arguments = completion.arguments_for(operation, name, text, settled)
        encoded = checked_arguments(catalogue, operation, arguments)
        reply = await self._pooler.call(self._call(ctx, operation, encoded)._replace(first_page_only=True))
        if reply.content:
            return workers_own(types.CompleteResult, operation.name, reply)
        return completion.completion_of(reply.body, "" if arguments.keys() & {name, "value"} else text)

    async def _carry_out(self, ctx: Context, prepared: Prepared) -> Result:
        """A call as the request wants it: plain, followed, or as a task."""
        call = self._call(ctx, prepared.operation, prepared.arguments)
        note = replace(
            prepared.note,
            request_id=ctx.request_id,
            progress_token=progress_token_of(ctx),
            log_level=log_level_of(ctx),
        )
        try:
            if self._tasks.wanted(ctx, prepared.operation, note):
                return await self._tasks.answer(ctx, call, note)
            if _followed(prepared.operation, note):
                return result_of(await reply_of(self._pooler.runs, ctx, call, note), note)
            return result_of(await self._pooler.call(call), note)
        except PoolerError as error:
            return _refused(ctx, call, error, note)

    def _call(self, ctx: Context, operation: Operation, arguments: bytes) -> Call:
        longest = self._settings.timeout_seconds_max
        # A user takes his time; the pooler still bounds the work and the queue before it.
        allowed = longest if operation.asks else (operation.timeout_ms + operation.queue_timeout_ms) / 1000
        given = ctx.params or {}
        capabilities = capabilities_of(ctx)
        return Call(
            operation=operation,
            arguments=arguments,
            caller=caller_of(ctx, self._default_caller),
            timeout_seconds=min(allowed or longest, longest),
            request_id=uuid.uuid4().hex,
            traceparent=traceparent_of(ctx),
            client_capabilities=orjson.dumps(capabilities) if capabilities else b"",
            input_responses=orjson.dumps(given["inputResponses"]) if given.get("inputResponses") else b"",
            request_state=given.get("requestState") or "",
            first_page_only=not operation.tool,
        )


def _followed(operation: Operation, note: Note) -> bool:
    """Whether a call goes as a run: when its client wants to hear of it, or when it may take its time."""
    return note.progress_token is not None or bool(note.log_level) or operation.asks or operation.long


def _refused(ctx: Context, call: Call, error: PoolerError, note: Note) -> Result:
    """A failure as the request's client reads it. Raises ProtocolError for what its program has to mend."""
    if call.request_state and error.reason in HANDLE_REASONS | {"INVALID_ARGUMENTS"}:
        raise invalid_params(error.message)
    lacking = error.metadata.get("required_capabilities") if is_modern(ctx) else None
    if error.reason == "INPUT_UNAVAILABLE" and lacking:
        raise missing_capability(error.message, orjson.loads(lacking))
    return failure_of(error, note)
