"""Requests of a conversation that its backends answer: each is a run, told on a stream that any frontend goes on with.

A client that leaves its stream leaves its run alone: it goes on for a while, in which the client may come again. Only a
cancel ends it, or its own time.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import TypeAlias

from mcp_types import JSONRPCRequest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.config import Settings
from frontend.conversations.asking import Asked, asked
from frontend.conversations.messages import Json, answered, away, failure, gone, refusal, result
from frontend.conversations.streams import Put, Streams, event, opening
from frontend.conversations.talk import Talk
from frontend.conversations.telling import Place, Position, Telling
from frontend.errors import HANDLE_REASONS, PoolerError, result_too_large
from frontend.events import Accepted, Page, ResourceChanged, RunEvent
from frontend.mcp_server import McpServer
from frontend.pooler_client import PoolerClient
from frontend.rendering import Note

Events: TypeAlias = AsyncGenerator[RunEvent | ResourceChanged, None] | AsyncGenerator[RunEvent, None]


class Calls:
    """What a conversation's client asks of backends."""

    def __init__(self, settings: Settings, mcp: McpServer, pooler: PoolerClient, streams: Streams) -> None:
        self._settings = settings
        self._mcp = mcp
        self._pooler = pooler
        self._streams = streams

    def begin(self, talk: Talk, request: JSONRPCRequest) -> ASGIApp:
        """Carries out a request, and answers it on a stream; at once, when there is nothing to run."""

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            wanted = await self._wanted(talk, request, Headers(scope=scope))
            if not isinstance(wanted, Asked):
                await answered(wanted)(scope, receive, send)
                return
            async with aclosing(self._pooler.runs.run(wanted.call, wanted.terms)) as events:
                answer = await self._begun(talk, wanted.note, events)
                await answer(scope, receive, send)

        return respond

    def resume(self, talk: Talk, name: str) -> ASGIApp:
        """Goes on with a stream, on whichever frontend it was: what came after the event of this name."""
        if (place := Place.named(name)) is None:
            return refusal(HTTPStatus.BAD_REQUEST, f"No stream has an event {name[:100]!r}")

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            # From its beginning, where its note is; the log is bounded, and what the client has is left out.
            follow = self._pooler.conversations.follow(talk.caller, talk.handle, Position(0).name(place.run))
            async with aclosing(follow) as events:
                answer = await self._found(talk, place, events)
                await answer(scope, receive, send)

        return respond

    async def _wanted(self, talk: Talk, request: JSONRPCRequest, headers: Mapping[str, str]) -> Asked | Json:
        """What a request asks for; its response, where there is nothing to run."""
        telling = Telling("", Note(request.method, "", request.id), talk.version)
        try:
            wanted = asked(self._settings, await self._mcp.known_catalogue(), talk, request, headers)
        except PoolerError as error:
            return telling.failed(error)
        except Exception as error:  # noqa: BLE001 - the SDK's own ladder says what its client may know of it
            return failure(request.id, error)
        return wanted if isinstance(wanted, Asked) else telling.fitting(result(request.id, wanted))

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
                    for told in telling.tell(self._bounded(happened)):
                        if told.position > place.position:
                            await put(event(told.message, told.position.name(place.run)))
            except PoolerError as error:
                await put(event(telling.failed(error)))

        return self._streams.respond(feed, resumable=talk.opens_streams)

    def _bounded(self, happened: RunEvent | ResourceChanged) -> RunEvent:
        """Raises PoolerError for a result that is larger than what this frontend passes on."""
        assert isinstance(happened, RunEvent)
        most = self._settings.result_bytes_max
        if isinstance(happened.what, Page) and (size := len(happened.what.reply.body)) > most:
            raise result_too_large(size, most)
        return happened
