"""A raw client of the 2025-11-25 era: every message, stream and header in a test's hand.

For what the SDK's client does not do: leave a stream in its midst, go on with it elsewhere, answer at another frontend.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
from httpx2 import EventSource

VERSION = "2025-11-25"
ACCEPT = "application/json, text/event-stream"

Message = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One event of a stream; `message` is empty for the one that a stream opens with."""

    id: str
    message: Message


class Talker:
    """One conversation. `url` may be changed at any time: the next request goes to another frontend."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str = "", version: str = VERSION) -> None:
        self.url = url
        self.handle = ""
        self.version = version
        self._http = http
        self._token = token

    async def open(self, capabilities: Message | None = None) -> Message:
        """Shakes hands; the result of it."""
        params = {
            "protocolVersion": self.version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "talker", "version": "1"},
        }
        answer = await self.post(request(0, "initialize", params))
        self.handle = answer.headers.get("mcp-session-id", "")
        result: Message = answer.json()["result"]
        return result

    def headers(self, **more: str) -> dict[str, str]:
        given = {"accept": ACCEPT, "mcp-protocol-version": self.version, "mcp-session-id": self.handle}
        if self._token:
            given["authorization"] = f"Bearer {self._token}"
        return {name: value for name, value in (given | more).items() if value}

    async def post(self, message: Message, **headers: str) -> httpx.Response:
        """Sends one message; the whole answer."""
        return await self._http.post(self.url, json=message, headers=self.headers(**headers))

    async def ask(self, method: str, params: Message | None = None, number: int = 1) -> Message:
        """Sends a request; its response, by whichever form it comes."""
        answer = await self.post(request(number, method, params))
        if answer.headers["content-type"].startswith("application/json"):
            plain: Message = answer.json()
            return plain
        return [event.message for event in events_in(answer.text) if "id" in event.message][-1]

    @asynccontextmanager
    async def stream(self, message: Message) -> AsyncIterator[AsyncIterator[Event]]:
        """Sends a request; the events of its stream, until the block is left."""
        async with self._http.stream("POST", self.url, json=message, headers=self.headers()) as answer:
            yield read(answer)

    @asynccontextmanager
    async def listen(self, after: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        """The stream of no request; or what came `after` an event, on the stream that it was on."""
        headers = self.headers(**({"last-event-id": after} if after else {}))
        async with self._http.stream("GET", self.url, headers=headers) as answer:
            yield read(answer)

    async def get(self, **headers: str) -> httpx.Response:
        return await self._http.get(self.url, headers=self.headers(**headers))

    async def delete(self) -> httpx.Response:
        return await self._http.delete(self.url, headers=self.headers())


async def read(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream. Raises AssertionError when it is none."""
    if answer.status_code != 200 or not answer.headers["content-type"].startswith("text/event-stream"):
        raise AssertionError(f"no stream, but {answer.status_code}: {(await answer.aread())[:500]!r}")
    async for each in EventSource(answer, max_event_size=None):
        if each.id or each.data:
            yield Event(each.id or "", json.loads(each.data) if each.data else {})


def events_in(text: str) -> list[Event]:
    """The events of a stream that was read to its end."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if fields.get("data"):
            found.append(Event(fields.get("id", ""), json.loads(fields["data"])))
    return found


def request(number: int, method: str, params: Message | None = None) -> Message:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}


def tool(name: str, arguments: Message | None = None, number: int = 1, token: str = "") -> Message:
    """A `tools/call`. `token`: of its progress."""
    meta = {"_meta": {"progressToken": token}} if token else {}
    return request(number, "tools/call", {"name": name, "arguments": arguments or {}, **meta})


def notification(method: str, params: Message | None = None) -> Message:
    return {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params or {}}
