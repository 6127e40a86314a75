"""Calls to an MCP address over HTTP, in both eras. A caller's connection is his own while his call is under way.

2026-07-28 has no state: each request says who asks for what, and leaving closes its connection, which is the cancel.
2025-11-25 has conversations, which are opened before the first call and take turns; taking a call back is a
notification there. It speaks no more of the protocol than that.
"""

import asyncio
from collections.abc import Mapping
from itertools import count

import aiohttp
import orjson

from pooler.loadtest.mcp_messages import Json, Said, answer_of, offered, result_in
from pooler.loadtest.plan import Where, without_credentials
from pooler.service.load import TIMED_OUT, WAY_BROKEN, Done, Leave, LoadAnswer, LoadCall, LoadError, LoadWay
from pooler.service.load_watch import Offered

MODERN, LEGACY = "2026-07-28", "2025-11-25"
OPEN_SECONDS = 20.0
CLOSE_SECONDS = 5.0
CLIENT = {"name": "penstock loadtest", "version": "1"}


class McpWay(LoadWay):
    """`tokens`: by tenant, the bearer token that stands for it."""

    def __init__(self, where: Where, tokens: Mapping[str, str | None]) -> None:
        assert where.mcp is not None, "no MCP address"
        self._url = where.mcp
        self._era = where.era
        self._tokens = tokens
        self._wanted = where.conversations if where.era == LEGACY else 0
        self._conversations: dict[str, list[str]] = {}
        self._turn = count()
        self._ids = count(1)
        self._calls: set[asyncio.Task[LoadAnswer]] = set()
        self._farewells: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    # Its life

    async def open(self) -> None:
        """Opens the conversations, where there are to be any. Raises LoadError."""
        # As many connections as calls: waiting for one here would be a queue of the generator's own.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        for tenant in self._tokens or {"": None}:
            self._conversations[tenant] = [await self._open_one(tenant) for _ in range(self._wanted)]

    async def close(self) -> None:
        """Ends what is under way, and the conversations."""
        for task in (*self._calls, *self._farewells):
            task.cancel()
        await asyncio.gather(*self._calls, *self._farewells, return_exceptions=True)
        for tenant, handles in self._conversations.items():
            await asyncio.gather(*(self._close_one(tenant, handle) for handle in handles if handle))
        if self._http is not None:
            await self._http.close()

    async def catalogue(self) -> list[Offered]:
        """The tools that the first tenant may see. Raises LoadError."""
        tenant, cursor, found = next(iter(self._conversations), ""), None, list[Offered]()
        while True:
            try:
                params: Json = {} if cursor is None else {"cursor": cursor}
                listed = await self._opening(tenant, "tools/list", params)
            except Said as said:
                raise LoadError(f"{self._shown} does not list its tools: {said.outcome}") from None
            found += [offered(tool) for tool in listed.get("tools", [])]
            if (cursor := listed.get("nextCursor")) is None:
                return found

    # Calls

    def begin(self, call: LoadCall, done: Done) -> Leave:
        """Sends a call. Leaving closes its connection; in a conversation it is taken back with a word first."""
        number, handle = next(self._ids), self._handle(call.tenant)
        task = asyncio.ensure_future(self._call(call, number, handle))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        task.add_done_callback(lambda ended: None if ended.cancelled() else done(ended.result()))

        def leave() -> None:
            if handle and not call.drops:
                farewell = asyncio.ensure_future(self._take_back(call.tenant, number, handle))
                self._farewells.add(farewell)
                farewell.add_done_callback(self._farewells.discard)
            task.cancel()

        return leave

    async def _call(self, call: LoadCall, number: int, handle: str) -> LoadAnswer:
        params = {"name": call.operation, "arguments": orjson.Fragment(call.arguments)}
        try:
            async with asyncio.timeout(call.timeout_ms / 1000):
                result = await self._ask(call.tenant, "tools/call", params, number, handle)
        except TimeoutError:
            return LoadAnswer(TIMED_OUT)
        except Said as said:
            return LoadAnswer(said.outcome)
        except (aiohttp.ClientError, OSError):
            return LoadAnswer(WAY_BROKEN)
        return answer_of(result)

    async def _ask(self, tenant: str, method: str, params: Json, number: int, handle: str = "") -> Json:
        """The result of one request. Raises Said for any other answer."""
        assert self._http is not None, "not open"
        body, headers = self._request(tenant, method, params, number, handle)
        async with self._http.post(self._url, data=body, headers=headers) as response:
            return await result_in(response, number)

    def _request(
        self, tenant: str, method: str, params: Json, number: int, handle: str
    ) -> tuple[bytes, dict[str, str]]:
        headers = self._headers(tenant, handle)
        if self._era == MODERN:
            meta = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": CLIENT,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            params = {**params, "_meta": meta}
            headers |= {"Mcp-Method": method} | ({"Mcp-Name": params["name"]} if "name" in params else {})
        return orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}), headers

    def _headers(self, tenant: str, handle: str) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": self._era,
        }
        if handle:
            headers["Mcp-Session-Id"] = handle
        if token := self._tokens.get(tenant):
            headers["Authorization"] = f"Bearer {token}"
        return headers

    # Conversations

    def _handle(self, tenant: str) -> str:
        handles = self._conversations.get(tenant)
        return handles[next(self._turn) % len(handles)] if handles else ""

    async def _opening(self, tenant: str, method: str, params: Json) -> Json:
        """What is asked before the calls. Raises LoadError when nobody answers, Said when the answer is no result."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await self._ask(tenant, method, params, next(self._ids), self._handle(tenant))
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise LoadError(
                f"nothing answers at {self._shown} as MCP; start `penstock up`, or name its address"
            ) from None

    async def _open_one(self, tenant: str) -> str:
        """A conversation's handle; empty where the server wants none."""
        assert self._http is not None, "not open"
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
        body, headers = self._request(tenant, "initialize", params, next(self._ids), "")
        try:
            async with (
                asyncio.timeout(OPEN_SECONDS),
                self._http.post(self._url, data=body, headers=headers) as response,
            ):
                if response.status != 200:
                    raise LoadError(f"{self._shown} opens no conversation: HTTP {response.status}")
                await response.read()
            handle = response.headers.get("Mcp-Session-Id", "")
            await self._notify(tenant, handle, "notifications/initialized", {})
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise LoadError(
                f"nothing answers at {self._shown} as MCP; start `penstock up`, or name its address"
            ) from None
        return handle

    async def _close_one(self, tenant: str, handle: str) -> None:
        assert self._http is not None, "not open"
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await (await self._http.delete(self._url, headers=self._headers(tenant, handle))).read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return  # it idles out by itself

    async def _take_back(self, tenant: str, number: int, handle: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._notify(tenant, handle, "notifications/cancelled", {"requestId": number})
        except (aiohttp.ClientError, OSError, TimeoutError):
            return  # as with any client whose word does not arrive

    async def _notify(self, tenant: str, handle: str, method: str, params: Json) -> None:
        assert self._http is not None, "not open"
        body = orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params})
        async with self._http.post(self._url, data=body, headers=self._headers(tenant, handle)) as response:
            await response.read()

    @property
    def _shown(self) -> str:
        return str(without_credentials(self._url))
