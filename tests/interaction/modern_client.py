"""A client of 2026-07-28 by hand: each request with its headers and its `_meta`, each response with all its messages.

The SDK's own client hides what is tested here: which messages a response consists of, and what its headers must be.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2 as httpx

from tests.interaction.line import MODERN, PATIENCE_SECONDS

TASKS = "io.modelcontextprotocol/tasks"
KNOWS_TASKS: dict[str, Any] = {"extensions": {TASKS: {}}, "elicitation": {}}

_NAMES = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Response:
    """All messages of a response, the answer last."""

    def __init__(self, status: int, messages: list[dict[str, Any]]) -> None:
        self.status = status
        self.messages = messages

    @property
    def result(self) -> dict[str, Any]:
        answer = self.messages[-1]
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    @property
    def error(self) -> dict[str, Any]:
        answer = self.messages[-1]
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error

    def told(self, method: str) -> list[dict[str, Any]]:
        """The parameters of its notifications of a method."""
        return [message["params"] for message in self.messages if message.get("method") == method]


class ModernClient:
    """Speaks to any of its URLs. `capabilities`: what it declares with each request."""

    def __init__(self, http: httpx.AsyncClient, url: str, capabilities: dict[str, Any] | None = None) -> None:
        self.http = http
        self.url = url
        self.capabilities = capabilities or {}

    def request(self, method: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        """As keyword arguments of `httpx.post`."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            **params.get("_meta", {}),
        }
        name = params.get(_NAMES.get(method, "taskId"))
        routing = {"mcp-protocol-version": MODERN, "mcp-method": method} | ({"mcp-name": name} if name else {})
        return {
            "json": {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}},
            "headers": {"accept": "application/json, text/event-stream", **routing, **(headers or {})},
        }

    async def ask(self, method: str, headers: dict[str, str] | None = None, **params: Any) -> Response:
        response = await self.http.post(self.url, **self.request(method, params, headers))
        return Response(response.status_code, messages_of(response))

    async def call(self, name: str, arguments: dict[str, Any] | None = None, **params: Any) -> Response:
        """A `tools/call`."""
        return await self.ask("tools/call", name=name, arguments=arguments or {}, **params)

    @asynccontextmanager
    async def open(self, method: str, **params: Any) -> AsyncIterator[httpx.Response]:
        """A request whose response is still on its way."""
        async with self.http.stream("POST", self.url, **self.request(method, params)) as response:
            yield response


@asynccontextmanager
async def modern_client(url: str, capabilities: dict[str, Any] | None = None) -> AsyncIterator[ModernClient]:
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        yield ModernClient(http, url, capabilities)


def messages_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Of a plain answer, or of an event stream."""
    if response.headers["content-type"].startswith("text/event-stream"):
        lines = response.text.splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [response.json()]
