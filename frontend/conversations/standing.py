"""The one stream of a conversation that belongs to no request: what its client is told without having asked just now.

Changes of the resources that it has subscribed to come from the pooler; changes of the lists are seen here, where the
catalogue is. Nothing is kept for a client that does not listen.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
from starlette.types import ASGIApp

from frontend.conversations.messages import Json, refused_for_now
from frontend.conversations.streams import Put, Streams, event, opening
from frontend.conversations.talk import Talk
from frontend.errors import PoolerError
from frontend.events import ResourceChanged, RunEvent
from frontend.logs import Logger
from frontend.pooler_client import PoolerClient

log = Logger(__name__)

LISTS = ("tools", "resources", "prompts")


class Changes:
    """Counts the revisions of the catalogue that this process has seen."""

    def __init__(self) -> None:
        self.count = 0
        self._revision = ""
        self._next = asyncio.Event()

    def take(self, revision: str) -> None:
        """A catalogue has come; one that is known already is no change."""
        if revision != self._revision:
            self._revision = revision
            self.count += 1
            happened, self._next = self._next, asyncio.Event()
            happened.set()

    async def after(self, count: int) -> int:
        """Waits until there were more than so many; how many there are then."""
        while self.count <= count:
            await self._next.wait()
        return self.count


class Standing:
    """All such streams of this process. `most`: how many streams there may be, beyond which none of these is begun."""

    def __init__(self, pooler: PoolerClient, streams: Streams, changes: Changes, most: int) -> None:
        self._pooler = pooler
        self._streams = streams
        self._changes = changes
        self._most = most

    def listen(self, talk: Talk) -> ASGIApp:
        """Answers with the stream, until the conversation ends or its client listens by a newer one."""
        if len(self._streams) >= self._most:
            # Who only listens must not keep out who calls.
            sentence = f"This frontend has {self._most} streams open, as many as it may"
            return refused_for_now(sentence)

        async def feed(put: Put) -> None:
            if talk.opens_streams:
                await put(opening())
            async with aclosing(self._pooler.conversations.follow(talk.caller, talk.handle)) as events:
                await self._merge(events, put)

        return self._streams.respond(feed)

    async def _merge(self, events: AsyncGenerator[RunEvent | ResourceChanged, None], put: Put) -> None:
        """Tells of both kinds of changes, until there will be none of resources any more."""
        async with anyio.create_task_group() as both:
            both.start_soon(self._tell_of_lists, put, self._changes.count)
            try:
                async for changed in events:
                    if isinstance(changed, ResourceChanged):
                        await put(event(_notification("resources/updated", uri=changed.uri)))
            except PoolerError as error:
                log.info("a conversation is not listened to any more", reason=error.reason)
            both.cancel_scope.cancel()

    async def _tell_of_lists(self, put: Put, count: int) -> None:
        while True:
            count = await self._changes.after(count)
            for each in LISTS:
                await put(event(_notification(f"{each}/list_changed")))


def _notification(name: str, **params: str) -> Json:
    return {"jsonrpc": "2.0", "method": f"notifications/{name}"} | ({"params": params} if params else {})
