"""Event streams to clients: opened, fed, kept alive by pings, and ended when the client or this process leaves.

A slow client slows whoever feeds its stream, and nobody else. What is on a stream is none of this file's business.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import orjson
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from frontend.conversations.messages import Json

PING_SECONDS = 15
"""Proxies drop what is silent for longer than 30 to 60 s."""

RETRY_MS = 1000
"""How long a client waits before it comes again: those of the SDK try twice, a frontend's successor needs its time."""

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

    async def respond(self, feed: Feed, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request with a stream. Ends when the feed does; cancels it when the client leaves."""
        # No buffer: whoever feeds it goes at the client's own pace.
        writer, reader = anyio.create_memory_object_stream[ServerSentEvent](0)

        async def pump() -> None:
            with writer, anyio.CancelScope() as own:
                self._open.add(own)
                try:
                    if self._leaving:
                        own.cancel()
                    await feed(writer.send)
                finally:
                    self._open.discard(own)

        headers = {"cache-control": "no-cache, no-transform"}
        with reader:
            response = EventSourceResponse(reader, data_sender_callable=pump, headers=headers, ping=PING_SECONDS)
            await response(scope, receive, send)


def opening(name: str | None = None) -> ServerSentEvent:
    """The first event: says when to come again, and gives a client whose stream breaks at once a name to go on from."""
    return ServerSentEvent(data=None if name is None else "", id=name, retry=RETRY_MS)


def event(message: Json, name: str | None = None) -> ServerSentEvent:
    """A message of JSON-RPC."""
    return ServerSentEvent(data=orjson.dumps(message).decode(), event="message", id=name)
