"""The frontend as an ASGI application: who answers what, and how it starts and stops.

`POST /mcp` is the protocol, answered by the SDK once a caller has been let in; `GET /healthz` says that the process
lives. This file knows nothing of MCP's messages, and nothing of the pooler's.
"""

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import Iterable

import structlog
import uvicorn
import uvloop
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from sse_starlette.sse import AppStatus
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from frontend.auth import Gatekeeper
from frontend.config import Settings
from frontend.conversations import Conversations, Streams, is_of_era
from frontend.mcp_server import McpServer
from frontend.operations import Offer
from frontend.pooler_client import PoolerClient
from frontend.requests import CALLER

log = structlog.get_logger(__name__)

PATH = "/mcp"

GRACE_SECONDS = 25
"""How long calls under way may still take when the process is asked to stop; orchestrators kill after 30."""

KEEP_ALIVE_SECONDS = 65
"""Longer than the 60 s after which proxies drop an idle connection, so that none of them meets a closed one."""


class Frontend:
    """One frontend. It starts with the host's lifespan, or with the first request where a host has none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gate = Gatekeeper(settings)
        self._pooler = PoolerClient(settings.pooler, self._gate.default, settings.calls_max, settings.result_bytes_max)
        self._mcp = McpServer(settings, self._gate.default, self._pooler)
        security = TransportSecuritySettings(
            allowed_hosts=list(settings.allowed_hosts), allowed_origins=list(settings.allowed_origins)
        )
        self._sessions = StreamableHTTPSessionManager(
            self._mcp.sdk,
            # No session outlives its request: any instance answers any request.
            stateless=True,
            # The one mode in which a client that leaves cancels its call; a plain answer is plain JSON all the same.
            json_response=False,
            security_settings=security,
            max_request_body_size=settings.request_bytes_max,
        )
        self._conversations = Conversations(settings, self._mcp, self._pooler, security, self._sessions.handle_request)
        self._http = CORSMiddleware(
            self._answer,
            allow_origin_regex=_origins_regex(settings.allowed_origins),
            allow_methods=["POST", "GET", "DELETE"],
            allow_headers=["*"],
            expose_headers=["WWW-Authenticate", "Mcp-Session-Id"],
        )
        self._life: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether calls have an open way to the pooler; the next call opens one where there is none."""
        return self._pooler.connected

    @property
    def streams(self) -> Streams:
        """The event streams that conversations have open here."""
        return self._conversations.streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._follow_host(receive, send)
        elif scope["type"] == "http":
            await self.start()
            # httptools leaves the white space that may follow a header's value; it is no part of it.
            headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
            await self._http({**scope, "headers": headers}, receive, send)

    async def start(self) -> None:
        """Begins to follow the pooler; waits for nothing of it. Harmless when started already."""
        if self._life is None:
            self._life = asyncio.create_task(self._live())
            # Also when it failed, so that nobody waits for a start that will not come.
            self._life.add_done_callback(lambda _: self._started.set())
        await self._started.wait()
        if self._life.done():
            self._life.result()

    def leave(self) -> None:
        """Ends the streams that clients take up again with another frontend; all other requests are still answered."""
        self._conversations.leave()
        self._mcp.subscriptions.leave()

    async def stop(self) -> None:
        """Ends what is still under way. A frontend is started once only."""
        self.leave()
        self._stopping.set()
        if self._life is not None:
            await self._life

    async def run_stdio(self) -> None:
        """Serves one client on standard input and output, until it closes its end."""
        await self.start()
        try:
            async with stdio_server() as (incoming, outgoing):
                await self._mcp.sdk.run(incoming, outgoing, self._mcp.sdk.create_initialization_options())
        finally:
            await self.stop()

    async def _live(self) -> None:
        """One task from start to stop: the SDK's task group must be left by the task that entered it."""
        async with self._sessions.run():
            self._pooler.start(self._publish)
            self._started.set()
            try:
                await self._stopping.wait()
            finally:
                await self._pooler.close()

    def _publish(self, offer: Offer) -> None:
        self._mcp.publish(offer)
        self._conversations.publish(offer)

    async def _follow_host(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await self.start()
            await send({"type": "lifespan.startup.complete"})
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PATH:
            response = self._refusal(scope)
            if response is None:
                mine = self._settings.conversations and is_of_era(scope)
                await (self._conversations if mine else self._sessions.handle_request)(scope, receive, send)
                return
        elif scope["path"] == "/healthz":
            response = self._health(scope)
        else:
            response = PlainTextResponse(f"Not found: MCP is at {PATH}\n", status_code=404)
        await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request does not reach the protocol at all; None when it does, with its caller noted in the scope."""
        if scope["method"] != "POST" and not self._names_conversation(scope):
            # No stream to listen on and nothing to delete: nothing is kept here.
            return PlainTextResponse("Method not allowed: POST only\n", status_code=405, headers={"Allow": "POST"})
        caller = self._gate.admit(scope["headers"])
        if caller is None:
            shown = any(name == b"authorization" for name, _ in scope["headers"])
            error = ', error="invalid_token", error_description="The token is not known here"' if shown else ""
            challenge = {"WWW-Authenticate": f'Bearer realm="penstock"{error}'}
            return JSONResponse({"error": "invalid_token"}, status_code=401, headers=challenge)
        scope[CALLER] = caller
        return None

    def _names_conversation(self, scope: Scope) -> bool:
        return self._settings.conversations and scope["method"] in ("GET", "DELETE") and is_of_era(scope)

    def _health(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Method not allowed\n", status_code=405, headers={"Allow": "GET, HEAD"})
        return JSONResponse({"status": "ok", "catalogue": self._mcp.revision, "connected": self.connected})


class Server(uvicorn.Server):
    """uvicorn with a frontend in it, saying where it listens in one line that programs can read."""

    def __init__(self, settings: Settings) -> None:
        self.frontend = Frontend(settings)
        # It would cut every event stream of the process the moment a signal comes; `shutdown` lets calls be answered.
        AppStatus.enable_automatic_graceful_drain = False
        super().__init__(
            uvicorn.Config(
                self.frontend,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                # What it says below that is about its own insides.
                log_level="warning",
                access_log=False,
                server_header=False,
                # Calls are counted, and refused in words, further in; this bounds the sockets, idle ones included.
                limit_concurrency=2 * settings.calls_max + 64,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.address = ""
        """Where MCP is served, once `listening` is set."""
        self.listening = asyncio.Event()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams that would outlast any grace, then what uvicorn knows of."""
        self.frontend.leave()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Binds, and says where: with port 0 nobody else knows."""
        await super().startup(sockets)
        bound = [each for server in self.servers for each in server.sockets]
        if bound:
            host, port = bound[0].getsockname()[:2]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            log.info("listening", address=self.address)
            self.listening.set()


def serve(settings: Settings) -> None:
    """Serves MCP over HTTP until a signal ends it. Exits with 3 when the address cannot be had, after saying so."""
    # uvicorn repeats the signal once it has stopped; to end as asked is no failure, and needs no traceback.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    Server(settings).run()


def serve_stdio(settings: Settings) -> None:
    """Serves MCP to the one client that started this process."""
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(Frontend(settings).run_stdio())


def _origins_regex(patterns: Iterable[str]) -> str:
    """The origins that a browser's page may have, as one expression: `:*` at the end stands for any port."""
    return "|".join(
        re.escape(pattern.removesuffix(":*")) + (r":\d+" if pattern.endswith(":*") else "") for pattern in patterns
    )
