"""A whole line in one process: an MCP client over HTTP, a frontend, gRPC, a pooler, a backend.

Nothing in it is replaced: the frontend and the pooler are the ones of production, and only their addresses are free
ports. Between the two stands a relay that can be cut, since the network is the one part that a test must be able to
break.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from frontend.config import Settings
from frontend.server import Server
from pooler.app import Pooler
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.system import System
from pooler.config import load

PATIENCE_SECONDS = 20
"""How long a test waits for what must happen before it fails."""

MODERN, LEGACY = "2026-07-28", "legacy"

SIMULATED: dict[str, Any] = {
    "backends": {"sim": {"kind": "simulated", "pool": {"cap": 2, "parallel_starts": 2, "queue_timeout_seconds": 5}}},
    "operations": {
        "echo": {
            "backend": "sim",
            "description": "Says it again.",
            "method": "echo",
            "arguments": {"value": {"type": "string"}},
            "effect": "read",
            "resource": "echo://{value}",
            "mime_type": "application/json",
        },
        "work": {
            "backend": "sim",
            "method": "work",
            "arguments": {"seconds": {"type": "number", "minimum": 0}},
            "effect": "read",
            "timeout_seconds": 120,
        },
        "write_slowly": {
            "backend": "sim",
            "method": "work",
            "arguments": {"seconds": {"type": "number", "minimum": 0}},
            "effect": "write",
        },
        "rows": {
            "backend": "sim",
            "method": "rows",
            "arguments": {"count": {"type": "integer"}},
            "effect": "read",
            "page_rows": 100_000,
            "page_bytes": 4 << 20,
        },
        "wrong": {"backend": "sim", "method": "wrong", "effect": "read"},
        "motto": {
            "backend": "sim",
            "method": "rows",
            "arguments": {"count": {"type": "integer", "default": 2}},
            "effect": "read",
            "tool": False,
            "resource": "sim://motto",
        },
    },
    "prompts": {
        "greet": {"description": "A greeting.", "text": "Dear {name}!", "arguments": {"name": {"description": "Who"}}}
    },
}


async def eventually(true: Callable[[], bool]) -> None:
    """Waits until a condition holds; fails when it does not within the patience of a test."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110 - the conditions are of many kinds, few of which have an event
            await asyncio.sleep(0.005)


class Relay:
    """Carries bytes between a frontend and a pooler, until it is cut; then it refuses, until it is mended."""

    def __init__(self) -> None:
        self.address = ""
        self.target = ""
        self.accepted = 0
        self._pairs: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"

    async def cut(self) -> None:
        """Ends every connection by a reset, and takes no new one."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._pairs:
            writer.transport.abort()
        await eventually(lambda: not self._pairs)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far_writer = await self._reach()
        except OSError:
            writer.transport.abort()
            return
        self._pairs |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            for each in (writer, far_writer):
                each.transport.abort()
                self._pairs.discard(each)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not self.target:
            raise ConnectionRefusedError
        host, _, port = self.target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


class Line:
    """One line. `start_pooler` and `start_frontend` in any order; `close` ends whatever was started."""

    def __init__(self, folder: Path) -> None:
        self.relay = Relay()
        self.frontends: list[Server] = []
        self._folder = folder
        self._pooler: Pooler | None = None
        self._serving: list[asyncio.Task[None]] = []

    @property
    def pooler(self) -> Pooler:
        assert self._pooler is not None
        return self._pooler

    @property
    def url(self) -> str:
        return f"http://{self.frontends[0].address}/mcp"

    def system(self, backend: str = "sim") -> System:
        """The far side of a simulated backend, to watch and to change."""
        adapter = self.pooler._parts[backend].kit.adapter
        assert isinstance(adapter, SimulatedAdapter)
        return adapter.system

    async def start_pooler(self, configuration: dict[str, Any] | None = None) -> None:
        document = {**(configuration or SIMULATED)}
        document["pooler"] = {
            "listen": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "state_dir": str(self._folder / "state"),
            "drain_grace_seconds": 5,
            **document.get("pooler", {}),
        }
        file = self._folder / "penstock.yaml"
        file.write_text(yaml.safe_dump(document))
        self._pooler = Pooler(load(file))
        await self._pooler.start()
        self.relay.target = self._pooler.address

    async def stop_pooler(self) -> None:
        pooler, self._pooler = self.pooler, None
        await pooler.stop()

    async def reload(self, configuration: dict[str, Any]) -> None:
        file = self._folder / "penstock.yaml"
        document = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**document, **configuration}))
        await self.pooler.reload(load(file))

    async def start_frontend(self, host: type[Server] = Server, **settings: Any) -> None:
        """`host`: what serves it."""
        if not self.relay.address:
            await self.relay.open()
        server = host(Settings.model_validate({"listen": "127.0.0.1:0", "pooler": self.relay.address, **settings}))
        self.frontends.append(server)
        self._serving.append(asyncio.create_task(server.serve()))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await server.listening.wait()

    @asynccontextmanager
    async def client(self, mode: str = MODERN, token: str = "") -> AsyncIterator[Client]:
        """An MCP client of the SDK, in the era that `mode` names."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS))
            transport = streamable_http_client(self.url, http_client=http)
            yield await stack.enter_async_context(Client(transport, mode=mode, cache=None))

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        """A plain HTTP client, for what no MCP client would do."""
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            yield client

    async def close(self) -> None:
        for server in self.frontends:
            server.should_exit = True
        await asyncio.gather(*self._serving)
        if self._pooler is not None:
            await self._pooler.stop()
        await self.relay.cut()


def modern(method: str, params: dict[str, Any] | None = None, name: str = "") -> dict[str, Any]:
    """A 2026-07-28 request as keyword arguments of `httpx.post`."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    request = legacy(method, {**(params or {}), "_meta": meta})
    request["headers"] |= {"mcp-protocol-version": MODERN, "mcp-method": method} | ({"mcp-name": name} if name else {})
    return request


def legacy(method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A stateless 2025-11-25 request as keyword arguments of `httpx.post`."""
    return {
        "json": {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}},
        "headers": {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"},
    }
