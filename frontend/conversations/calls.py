"""Requests of a conversation that its backends answer: each is a run, told on a stream that any frontend goes on with.

A client that leaves its stream leaves its run alone: it goes on for a while, in which the client may come again. Only a
cancel ends it, or its own time.
"""

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import mcp_types as types
import orjson
from mcp.server.runner import modern_error_data
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types import JSONRPCRequest, RequestId
from mcp_types.methods import validate_client_request
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.catalogue import Catalogue
from frontend.config import Settings
from frontend.conversations.messages import Json, answered, away, failure, gone, refusal, result
from frontend.conversations.streams import Put, Streams, event, opening
from frontend.conversations.talk import Talk
from frontend.conversations.telling import Place, Position, Telling
from frontend.errors import HANDLE_REASONS, PoolerError
from frontend.events import Accepted, ResourceChanged, RunEvent
from frontend.mcp_server import McpServer
from frontend.operations import Operation
from frontend.pooler_client import Call, PoolerClient, Terms
from frontend.preparing import Prepared, prepare_prompt, prepare_resource, prepare_tool
from frontend.rendering import PROMPT, RESOURCE, TOOL, Note
from frontend.requests import traceparent_in

METHODS = frozenset({TOOL, RESOURCE, PROMPT})

USER_SECONDS = 600.0
"""How long a user may take with what an operation asks, beside the time that the operation itself may."""

Events = AsyncGenerator[RunEvent | ResourceChanged, None] | AsyncGenerator[RunEvent, None]


class Calls:
    """What a conversation's client asks of backends."""

    def __init__(self, settings: Settings, mcp: McpServer, pooler: PoolerClient, streams: Streams) -> None:
        self._settings = settings
        self._mcp = mcp
        self._pooler = pooler
        self._streams = streams

    async def begin(self, talk: Talk, request: JSONRPCRequest, scope: Scope, receive: Receive, send: Send) -> None:
        """Carries out a request, and answers it on a stream; at once, when there is nothing to run."""
        try:
            prepared = await self._prepared(talk, request)
        except Exception as error:  # noqa: BLE001 - the SDK's own ladder says what its client may know of it
            await answered(self._refused(request, error))(scope, receive, send)
            return
        if isinstance(prepared, dict):
            await answered(result(request.id, prepared))(scope, receive, send)
            return
        note = self._note(talk, request, prepared.note)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        call = self._call(talk, prepared, traceparent_in((request.params or {}).get("_meta"), headers))
        async with aclosing(self._pooler.runs.run(call, self._terms(note))) as events:
            answer = await self._begun(talk, note, events)
            await answer(scope, receive, send)

    async def resume(self, talk: Talk, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Goes on with a stream, on whichever frontend it was: what came after the event of this name."""
        if (place := Place.named(name)) is None:
            sentence = f"No stream has an event {name[:100]!r}"
            await refusal(HTTPStatus.BAD_REQUEST, sentence)(scope, receive, send)
            return
        # From its beginning, where its note is; the log is bounded, and what the client has is left out.
        follow = self._pooler.conversations.follow(talk.caller, talk.handle, Position(0).name(place.run))
        async with aclosing(follow) as events:
            answer = await self._found(talk, place, events)
            await answer(scope, receive, send)

    async def _prepared(self, talk: Talk, request: JSONRPCRequest) -> Prepared | Json:
        validate_client_request(request.method, talk.version, request.params)
        return _PREPARE[request.method](await self._mcp.known_catalogue(), request.params or {})

    def _note(self, talk: Talk, request: JSONRPCRequest, note: Note) -> Note:
        token = progress_token_from_params(request.params)
        return replace(note, request_id=request.id, progress_token=token, log_level=talk.log_level)

    def _terms(self, note: Note) -> Terms:
        assert note.request_id is not None
        return Terms(
            detach_grace_ms=round(self._settings.detach_grace_seconds * 1000),
            await_input=True,
            note=note.pack(),
            request_key=key_of(note.request_id),
        )

    def _call(self, talk: Talk, prepared: Prepared, traceparent: str) -> Call:
        return Call(
            operation=prepared.operation,
            arguments=prepared.arguments,
            caller=talk.caller,
            timeout_seconds=self._seconds(prepared.operation),
            request_id=uuid.uuid4().hex,
            traceparent=traceparent,
            conversation=talk.handle,
        )

    def _seconds(self, operation: Operation) -> float:
        most = self._settings.timeout_seconds_max
        own = min((operation.timeout_ms + operation.queue_timeout_ms) / 1000 or most, most)
        return own + USER_SECONDS if operation.asks else own

    async def _begun(self, talk: Talk, note: Note, events: AsyncGenerator[RunEvent, None]) -> ASGIApp:
        try:
            first = await anext(events)
        except PoolerError as error:
            return answered(Telling("", note, talk.version).failed(error))
        assert isinstance(first.what, Accepted)
        return self._stream(talk, Place(first.what.name, Position(first.seq)), note, events)

    async def _found(self, talk: Talk, place: Place, events: Events) -> ASGIApp:
        try:
            first = await anext(events)
        except PoolerError as error:
            return await self._not_found(talk, error)
        if not (isinstance(first, RunEvent) and isinstance(first.what, Accepted)):
            return refusal(HTTPStatus.BAD_REQUEST, "What is left of this stream does not say whose it was")
        return self._stream(talk, place, Note.unpack(first.what.note), events)

    async def _not_found(self, talk: Talk, error: PoolerError) -> ASGIApp:
        """Whether it is the conversation that is no more, or only what was kept of one stream."""
        if error.reason not in HANDLE_REASONS:
            return away(error)
        try:
            await self._pooler.conversations.get(talk.caller, talk.handle)
        except PoolerError as ended:
            return gone(ended) if ended.reason in HANDLE_REASONS else away(ended)
        return refusal(HTTPStatus.BAD_REQUEST, f"This stream is kept no more: {error.message}")

    def _stream(self, talk: Talk, place: Place, note: Note, events: Events) -> ASGIApp:
        """`place`: how far the client has been told."""
        telling = Telling(place.run, note, talk.version)

        async def feed(put: Put) -> None:
            if talk.opens_streams:
                await put(opening(place.position.name(place.run)))
            try:
                async for happened in events:
                    assert isinstance(happened, RunEvent)
                    for told in telling.tell(happened):
                        if told.position > place.position:
                            await put(event(told.message, told.position.name(place.run)))
            except PoolerError as error:
                await put(event(telling.failed(error)))

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            await self._streams.respond(feed, scope, receive, send)

        return respond

    def _refused(self, request: JSONRPCRequest, error: Exception) -> Json:
        if isinstance(error, PoolerError):
            return Telling("", Note(request.method, "", request.id), "").failed(error)
        return failure(request.id, modern_error_data(error))


def key_of(request_id: RequestId) -> str:
    """What a request is called within its conversation: `1` is not `"1"`."""
    return orjson.dumps(request_id).decode()


def _tool(catalogue: Catalogue, given: Mapping[str, Any]) -> Prepared | Json:
    params = types.CallToolRequestParams.model_validate(given, by_name=False)
    return prepare_tool(catalogue, params.name, params.arguments or {})


def _resource(catalogue: Catalogue, given: Mapping[str, Any]) -> Prepared | Json:
    params = types.ReadResourceRequestParams.model_validate(given, by_name=False)
    return prepare_resource(catalogue, str(params.uri))


def _prompt(catalogue: Catalogue, given: Mapping[str, Any]) -> Prepared | Json:
    params = types.GetPromptRequestParams.model_validate(given, by_name=False)
    return prepare_prompt(catalogue, params.name, params.arguments or {})


_PREPARE: Mapping[str, Callable[[Catalogue, Mapping[str, Any]], Prepared | Json]] = {
    TOOL: _tool,
    RESOURCE: _resource,
    PROMPT: _prompt,
}
