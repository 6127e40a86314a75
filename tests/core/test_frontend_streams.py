"""Event streams to clients: who feeds them, who waits for whom, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sse_starlette.event import ServerSentEvent
from starlette.types import Message, Scope

from frontend.conversations import streams
from frontend.conversations.streams import Feed, Put, Streams, event, opening

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10
SCOPE: Scope = {"type": "http", "method": "GET", "headers": []}


class Client:
    """Who reads a stream, at a pace of its own, until it leaves."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._left = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def ended(self) -> bool:
        """Whether the stream has come to an end of its own."""
        return bool(self.sent) and self.sent[-1].get("more_body") is False

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
                self._changed.clear()
                await self._changed.wait()


def responding(kept: Streams, client: Client, feed: Feed) -> "asyncio.Future[None]":
    return asyncio.ensure_future(kept.respond(feed)(SCOPE, client.receive, client.send))


def endless(first: ServerSentEvent, ended: asyncio.Event) -> Callable[[Put], Awaitable[None]]:
    async def feed(put: Put) -> None:
        try:
            await put(first)
            await asyncio.Event().wait()
        finally:
            ended.set()

    return feed


async def test_a_stream_ends_with_who_feeds_it():
    async def feed(put: Put) -> None:
        await put(opening("r1.1"))
        await put(event({"a": 1}, "r1.2"))

    kept, client = Streams(), Client()
    await responding(kept, client, feed)
    assert client.text.split("\r\n") == [
        "id: r1.1",
        "data: ",
        f"retry: {streams.RETRY_MS}",
        "",
        "id: r1.2",
        "event: message",
        'data: {"a":1}',
        "",
        "",
    ]
    assert (client.ended, len(kept)) == (True, 0)


async def test_a_client_that_leaves_stops_who_feeds_its_stream():
    kept, client, ended = Streams(), Client(), asyncio.Event()
    task = responding(kept, client, endless(event({}), ended))
    await client.until(lambda: "data" in client.text)
    assert len(kept) == 1
    client.leave()
    await task
    assert (ended.is_set(), len(kept)) == (True, 0)


async def test_streams_end_properly_when_the_process_leaves_and_later_ones_as_they_begin():
    kept, client, ended = Streams(), Client(), asyncio.Event()
    task = responding(kept, client, endless(event({}), ended))
    await client.until(lambda: "data" in client.text)
    kept.leave()
    await task
    assert (client.ended, ended.is_set()) == (True, True)
    late = Client()
    await responding(kept, late, endless(event({}), asyncio.Event()))
    assert (late.ended, "data" in late.text) == (True, False)


async def test_a_stream_that_cannot_be_gone_on_with_is_fed_to_its_end_when_the_process_leaves():
    fed = asyncio.Event()

    async def feed(put: Put) -> None:
        await put(event({"first": 1}))
        await fed.wait()
        await put(event({"last": 1}))

    kept, client = Streams(), Client()
    task = asyncio.ensure_future(kept.respond(feed, resumable=False)(SCOPE, client.receive, client.send))
    await client.until(lambda: "first" in client.text)
    kept.leave()
    fed.set()
    await task
    assert ("last" in client.text, client.ended) == (True, True)


async def test_a_slow_client_slows_who_feeds_its_stream():
    fed: list[int] = []

    async def feed(put: Put) -> None:
        for number in range(100):
            await put(event({"number": number}))
            fed.append(number)

    kept, client = Streams(), Client()
    client.reads.clear()
    task = responding(kept, client, feed)
    for _ in range(100):
        await asyncio.sleep(0)
    # One event on its way to the client, and none behind it.
    assert len(fed) <= 1
    client.reads.set()
    await task
    assert client.text.count("number") == 100


async def test_a_silent_stream_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "PING_SECONDS", 0.01)
    kept, client, ended = Streams(), Client(), asyncio.Event()
    task = responding(kept, client, endless(event({}), ended))
    await client.until(lambda: client.text.count("\r\n: ping") >= 2)
    client.leave()
    await task
