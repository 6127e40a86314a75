"""The same short way under a host that is not ours, for the revision that needs no state: first of all a cold function.

A scope and a task exist already, so that it saves less; but the first call of a process is answered without the SDK.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from frontend.hot.answers import Answer, event, ping
from frontend.hot.desk import Desk, Plain
from frontend.hot.heads import Form
from frontend.hot.watch import CATALOGUE_SECONDS

PING_SECONDS = 15.0

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"Origin"),
]


async def answer_plainly(desk: Desk, scope: Message, receive: Receive, send: Send) -> Receive | None:
    """Answers a plain call. Returns what the long way has to read the request from where it is none."""
    head = desk.head(scope["headers"]) if scope["method"] == "POST" and not scope["query_string"] else None
    if head is None or head.form is not Form.MODERN or not await desk.known(CATALOGUE_SECONDS):
        return receive
    read: list[Message] = []
    body = b""
    while not read or read[-1].get("more_body"):
        read.append(await receive())
        if read[-1]["type"] != "http.request":
            return _replayed(read, receive)
        body += read[-1].get("body", b"")
    plain = desk.read(head, body) if len(body) == head.length else None
    if plain is None:
        return _replayed(read, receive)
    if plain.answer is not None:
        desk.answered += 1
        await _respond(send, plain.answer)
    else:
        await _carry_out(desk, plain, receive, send)
    return None


async def _carry_out(desk: Desk, plain: Plain, receive: Receive, send: Send) -> None:
    answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    leave = desk.begin(plain, lambda _, answer: answered.set_result(answer))
    gone = asyncio.ensure_future(_disconnected(receive))
    awaited: set[asyncio.Future[Any]] = {answered, gone}
    streaming = False
    try:
        while not answered.done():
            await asyncio.wait(awaited, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            if not answered.done():
                if not streaming:
                    await send({"type": "http.response.start", "status": 200, "headers": _STREAM})
                streaming = True
                await send({"type": "http.response.body", "body": ping(plain.form), "more_body": True})
        answer = answered.result()
        assert answer is not None, "only conversations go the long way after all"
        desk.answered += 1
        if streaming:
            await send({"type": "http.response.body", "body": event(answer.message)})
        else:
            await _respond(send, answer)
    finally:
        gone.cancel()
        leave()


async def _respond(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-length", b"%d" % len(answer.message)),
        (b"content-type", b"application/json"),
        (b"vary", b"Origin"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.message})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replayed(read: list[Message], receive: Receive) -> Receive:
    """What has been read, for somebody else to read."""

    async def again() -> Message:
        return read.pop(0) if read else await receive()

    return again
