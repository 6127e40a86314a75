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
        self._open: dict[anyio.CancelScope, bool] = {}
        """Whether each can be gone on with elsewhere."""
        self._leaving = False

    def __len__(self) -> int:
        return len(self._open)

    def leave(self) -> None:
        """Ends those that can be gone on with elsewhere, as a server ends a stream; later ones end as they begin."""
        self._leaving = True
        for scope, resumable in self._open.items():
            if resumable:
                scope.cancel()

    def respond(self, feed: Feed, resumable: bool = True) -> ASGIApp:
        """Answers a request with a stream. It ends when the feed does; the feed is cancelled when the client leaves.

        One that is not `resumable` is left to the server's own grace when this process leaves.
        """

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            # No buffer: whoever feeds it goes at the client's own pace.
            writer, reader = anyio.create_memory_object_stream[ServerSentEvent](0)
            pump = partial(self._pump, feed, resumable, writer)
            with reader:
                response = EventSourceResponse(reader, data_sender_callable=pump, headers=HEADERS, ping=PING_SECONDS)
                await response(scope, receive, send)

        return respond

    async def _pump(self, feed: Feed, resumable: bool, writer: "MemoryObjectSendStream[ServerSentEvent]") -> None:
        with writer, anyio.CancelScope() as own:
            self._open[own] = resumable
            try:
                if self._leaving and resumable:
                    own.cancel()
                await feed(writer.send)
            finally:
                del self._open[own]


def opening(name: str | None = None) -> ServerSentEvent:
    """The first event: says when to come again, and gives a client whose stream breaks at once a name to go on from."""
    return ServerSentEvent(data=None if name is None else "", id=name, retry=RETRY_MS)


def event(message: Json, name: str | None = None) -> ServerSentEvent:
    """A message of JSON-RPC."""
    return ServerSentEvent(data=orjson.dumps(message).decode(), event="message", id=name)
