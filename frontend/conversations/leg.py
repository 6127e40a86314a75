"""Who answers what in the era of conversations: POST, GET and DELETE of one endpoint, with or without a conversation.

A conversation is found by its `Mcp-Session-Id`, which is the pooler's own handle; it is asked for with each request,
and nothing of it is kept here. Requests that belong to no conversation pass to whoever serves them without state.
"""

from http import HTTPStatus

from mcp.server.streamable_http import LAST_EVENT_ID_HEADER, MCP_SESSION_ID_HEADER
from mcp.server.transport_security import (
    RequestBodyLimitMiddleware,
    TransportSecurityMiddleware,
    TransportSecuritySettings,
)
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import JSONRPCRequest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from frontend.auth import Caller
from frontend.config import Settings
from frontend.conversations import asking, saying, single
from frontend.conversations.calls import Calls
from frontend.conversations.messages import Message, NoMessage, answered, away, failure, gone, message_of, unacceptable
from frontend.conversations.saying import Sayings, TakeBack
from frontend.conversations.standing import Changes, Standing
from frontend.conversations.streams import Streams
from frontend.conversations.talk import Talk, note_of
from frontend.errors import HANDLE_REASONS, PoolerError, as_protocol_error
from frontend.logs import Logger
from frontend.mcp_server import McpServer
from frontend.operations import Offer
from frontend.pooler_client import PoolerClient
from frontend.requests import CALLER

log = Logger(__name__)

WITHOUT_POOLER = frozenset({"POOLER_AWAY", "DRAINING"})
"""Why there may be no conversation with a client that can be served without one all the same."""

_SESSION = MCP_SESSION_ID_HEADER.encode()
_VERSION = MCP_PROTOCOL_VERSION_HEADER.encode()


def is_of_era(scope: Scope) -> bool:
    """Whether a request may belong to a conversation: a POST of that era, or anything that names one."""
    versions = [value.decode("latin-1") for name, value in scope["headers"] if name == _VERSION]
    if not all(version in HANDSHAKE_PROTOCOL_VERSIONS for version in versions):
        return False
    return scope["method"] == "POST" or any(name == _SESSION for name, _ in scope["headers"])


class Conversations:
    """The leg as an ASGI application. `stateless`: who answers what belongs to no conversation.

    `take_back`: ends what is answered the short way.
    """

    def __init__(
        self,
        settings: Settings,
        mcp: McpServer,
        pooler: PoolerClient,
        security: TransportSecuritySettings,
        stateless: ASGIApp,
        take_back: TakeBack,
    ) -> None:
        self._mcp = mcp
        self._pooler = pooler
        self._stateless = stateless
        self._security = TransportSecurityMiddleware(security)
        self._bounded = RequestBodyLimitMiddleware(self._answer, settings.request_bytes_max)
        self.streams = Streams()
        self._changes = Changes()
        self._calls = Calls(settings, mcp, pooler, self.streams)
        self._sayings = Sayings(mcp, pooler, take_back)
        self._standing = Standing(pooler, self.streams, self._changes, settings.calls_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that `is_of_era`, of a caller who has been let in."""
        await self._bounded(scope, receive, send)

    def publish(self, offer: Offer) -> None:
        """A revision of the catalogue has come: clients that listen hear that the lists have changed."""
        self._changes.take(offer.revision)

    def leave(self) -> None:
        """Ends all streams, so that their clients go on with another frontend."""
        self.streams.leave()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = Request(scope, receive)
        body = await http.body() if scope["method"] == "POST" else b""
        handle = http.headers.get(MCP_SESSION_ID_HEADER)
        if handle is None and not _is_opening(body):
            await self._stateless(scope, _replayed(body, receive), send)
            return
        refused = await self._security.validate_request(http, is_post=scope["method"] == "POST")
        answer = refused or await self._answer_to(http, handle or "", body)
        await answer(scope, receive, send)

    async def _answer_to(self, http: Request, handle: str, body: bytes) -> ASGIApp:
        if http.method == "DELETE":
            return await self._close(http, handle)
        if (refused := unacceptable(http, json=http.method == "POST")) is not None:
            return refused
        if http.method == "GET":
            return await self._listen(http, handle)
        try:
            message = message_of(body)
        except NoMessage as error:
            return error.response
        if isinstance(message, JSONRPCRequest) and message.method == "initialize":
            return await self._open(http, message)
        talk = await self._talk(http, handle)
        return talk if isinstance(talk, Response) else await self._within(talk, http, message)

    async def _within(self, talk: Talk, http: Request, message: Message) -> ASGIApp:
        """The answer to a message of a conversation."""
        if not isinstance(message, JSONRPCRequest):
            return await self._sayings.remark(talk, message)
        if message.method in asking.METHODS:
            return self._calls.begin(talk, message)
        if message.method in saying.METHODS:
            return answered(await self._sayings.request(talk, message))
        return answered(await single.serve(self._mcp.sdk, http, message, talk.version))

    async def _listen(self, http: Request, handle: str) -> ASGIApp:
        talk = await self._talk(http, handle)
        if isinstance(talk, Response):
            return talk
        name = http.headers.get(LAST_EVENT_ID_HEADER)
        return self._standing.listen(talk) if name is None else self._calls.resume(talk, name)

    async def _open(self, http: Request, request: JSONRPCRequest) -> Response:
        """Begins a conversation. Where there can be none, its client is served like one that wants none."""
        shaken = await single.shake_hands(self._mcp.sdk, http, request)
        if not isinstance(shaken, single.Handshake):
            return answered(shaken)
        note = note_of(shaken.version, (request.params or {}).get("clientInfo"))
        try:
            opened = await self._pooler.conversations.open(_caller(http), note, shaken.capabilities)
        except PoolerError as error:
            if error.reason not in WITHOUT_POOLER:
                return answered(failure(request.id, as_protocol_error(error)))
            log.warning("a client goes without a conversation", reason=error.reason)
            return answered(shaken.answer)
        response = answered(shaken.answer)
        response.headers[MCP_SESSION_ID_HEADER] = opened.handle
        return response

    async def _talk(self, http: Request, handle: str) -> Talk | Response:
        """The conversation of a request, or what to say where there is none.

        While the pooler is away a client is believed: lists stay what they were, and calls ask the pooler themselves.
        """
        caller = _caller(http)
        try:
            return Talk.known(caller, await self._pooler.conversations.get(caller, handle))
        except PoolerError as error:
            if error.reason in HANDLE_REASONS:
                return gone(error)
        return Talk.unconfirmed(caller, handle, http.headers.get(MCP_PROTOCOL_VERSION_HEADER))

    async def _close(self, http: Request, handle: str) -> Response:
        try:
            await self._pooler.conversations.close(_caller(http), handle)
        except PoolerError as error:
            return gone(error) if error.reason in HANDLE_REASONS else away(error)
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _caller(http: Request) -> Caller:
    caller: Caller = http.scope[CALLER]
    return caller


def _is_opening(body: bytes) -> bool:
    """Whether a POST without a conversation is to begin one. Any other is left to be judged as a whole."""
    if b'"initialize"' not in body:
        return False
    try:
        message = message_of(body)
    except NoMessage:
        return False
    return isinstance(message, JSONRPCRequest) and message.method == "initialize"


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The same request for somebody else to read."""
    read = False

    async def again() -> Event:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
