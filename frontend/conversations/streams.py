"""Event streams to clients: opened, fed, kept alive by pings, and ended when the client or this process leaves.

A slow client slows whoever feeds its stream, and nobody else. What is on a stream is none of this file's business.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import anyio
import orjson
from anyio.streams.memory import MemoryObjectSendStream
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.conversations.messages import Json

PING_SECONDS = 15
"""Proxies drop what is silent for longer than 30 to 60 s."""

RETRY_MS = 1000
"""How long a client waits before it comes again: those of the SDK try twice, a frontend's successor needs its time."""

HEADERS = {"cache-control": "no-cache, no-transform"}

Put: TypeAlias = Callable[[ServerSentEvent], Awaitable[None]]
Feed: TypeAlias = Callable[[Put], Awaitable[None]]
"""Puts events on a stream, until it returns or is cancelled."""


class Streams:
    """All that this process has open."""

    def __init__(self) -> None:
        self._open: set[anyio.CancelScope] = set()
        self._leaving = False

    def __len__(self) -> int:
        return len(self._open)

    def leave(self) -> None:
        """Ends them, as a server ends a stream: their clients go on elsewhere. Any later one ends as it begins."""
        self._leaving = True
        for scope in self._open:
            scope.cancel()

    def respond(self, feed: Feed) -> ASGIApp:
        """Answers a request with a stream. It ends when the feed does; the feed is cancelled when the client leaves."""

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            # No buffer: whoever feeds it goes at the client's own pace.
            writer, reader = anyio.create_memory_object_stream[ServerSentEvent](0)
            pump = partial(self._pump, feed, writer)
            with reader:
                response = EventSourceResponse(reader, data_sender_callable=pump, headers=HEADERS, ping=PING_SECONDS)
                await response(scope, receive, send)

        return respond

    async def _pump(self, feed: Feed, writer: "MemoryObjectSendStream[ServerSentEvent]") -> None:
        with writer, anyio.CancelScope() as own:
            self._open.add(own)
            try:
                if self._leaving:
                    own.cancel()
                await feed(writer.send)
            finally:
                self._open.discard(own)


def opening(name: str | None = None) -> ServerSentEvent:
    """The first event: says when to come again, and gives a client whose stream breaks at once a name to go on from."""
    return ServerSentEvent(data=None if name is None else "", id=name, retry=RETRY_MS)


def event(message: Json, name: str | None = None) -> ServerSentEvent:
    """A message of JSON-RPC."""
    return ServerSentEvent(data=orjson.dumps(message).decode(), event="message", id=name)
