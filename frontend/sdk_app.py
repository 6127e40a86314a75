"""Everything of MCP but the short way, as one ASGI application on the SDK. Its import is what makes a cold start slow.

`POST /mcp` is answered by the SDK once a caller has been let in, or by the leg for conversations; any other address is
told where MCP is. This file knows nothing of MCP's messages, and nothing of the pooler's.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import orjson
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import SERVER_INFO_META_KEY
from mcp_types.methods import serialize_server_result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from sse_starlette.sse import AppStatus
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.auth import Gatekeeper
from frontend.compiled import Compiled
from frontend.config import Settings
from frontend.conversations import Conversations, Streams, TakeBack, is_of_era
from frontend.errors import INTERNAL_ERROR, ProtocolError
from frontend.events import Reply
from frontend.logs import Logger
from frontend.mcp_server import McpServer
from frontend.operations import Offer
from frontend.pooler_client import PoolerClient
from frontend.rendering import TOOL, Note, result_of
from frontend.requests import CALLER

log = Logger(__name__)

PATH = "/mcp"


class SdkApp:
    """`start` on a running loop before use. `health`: who answers `GET /healthz`. `take_back`: ends plain calls."""

    def __init__(
        self, settings: Settings, gate: Gatekeeper, pooler: PoolerClient, health: ASGIApp, take_back: TakeBack
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._health = health
        self._mcp = McpServer(settings, gate.default, pooler)
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
        self._conversations = Conversations(
            settings, self._mcp, pooler, security, self._sessions.handle_request, take_back
        )
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
    def streams(self) -> Streams:
        """The event streams that conversations have open here."""
        return self._conversations.streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, of whose headers only the values without white space around them are left."""
        await self._http(scope, receive, send)

    async def start(self) -> None:
        """Once only, and before any request."""
        self._life = asyncio.create_task(self._live())
        # Also when it failed, so that nobody waits for a start that will not come.
        self._life.add_done_callback(lambda _: self._started.set())
        await self._started.wait()
        if self._life.done():
            self._life.result()

    async def stop(self) -> None:
        """Ends what is still under way."""
        self._stopping.set()
        if self._life is not None:
            await self._life

    def publish(self, offer: Offer, compiled: Compiled) -> None:
        """Takes a new revision of what the pooler offers."""
        self._mcp.publish(offer, compiled)
        self._conversations.publish(offer)

    def leave(self) -> None:
        """Ends the streams that clients take up again with another frontend; all other requests are still answered."""
        self._conversations.leave()
        self._mcp.subscriptions.leave()

    def render(self, name: str, reply: Reply, version: str) -> bytes:
        """A tool's reply that is in MCP's own form, as its result. Raises ProtocolError for what is no result."""
        try:
            made = serialize_server_result(TOOL, version, result_of(reply, Note(TOOL, name)))
        except ValidationError:
            log.exception("a result that is none", method=TOOL, name=name)
            raise ProtocolError(INTERNAL_ERROR, "Handler returned an invalid result") from None
        return orjson.dumps(self._stamped(made) if version in MODERN_PROTOCOL_VERSIONS else made)

    def _stamped(self, result: dict[str, Any]) -> dict[str, Any]:
        """With what the revision wants of each result, as the SDK says it, unless the worker has said it itself."""
        meta = result.get("_meta") or {}
        if meta.get(SERVER_INFO_META_KEY) is not None:
            return result
        return result | {"_meta": {**meta, SERVER_INFO_META_KEY: self._mcp.sdk.server_info_stamp}}

    async def run_stdio(self) -> None:
        """Serves one client on standard input and output, until it closes its end."""
        async with stdio_server() as (incoming, outgoing):
            await self._mcp.sdk.run(incoming, outgoing, self._mcp.sdk.create_initialization_options())

    async def _live(self) -> None:
        """One task from start to stop: the SDK's task group must be left by the task that entered it."""
        async with self._sessions.run():
            self._started.set()
            await self._stopping.wait()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PATH:
            refused = self._refusal(scope)
            if refused is None:
                mine = self._settings.conversations and is_of_era(scope)
                await (self._conversations if mine else self._sessions.handle_request)(scope, receive, send)
                return
            answer: ASGIApp = refused
        elif scope["path"] == "/healthz":
            answer = self._health
        else:
            answer = PlainTextResponse(f"Not found: MCP is at {PATH}\n", status_code=404)
        await answer(scope, receive, send)

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


def leave_draining_to_the_server() -> None:
    """It would cut every event stream of the process the moment a signal comes; our server lets calls be answered."""
    AppStatus.enable_automatic_graceful_drain = False


def _origins_regex(patterns: Iterable[str]) -> str:
    """The origins that a browser's page may have, as one expression: `:*` at the end stands for any port."""
    return "|".join(
        re.escape(pattern.removesuffix(":*")) + (r":\d+" if pattern.endswith(":*") else "") for pattern in patterns
    )
