"""What a request says of itself and of its client, read from the SDK's context. Nothing here decides what follows.

A client of 2026-07-28 declares what it can with each request. One of 2025-11-25 has done so when it connected, which is
known where one process serves the whole connection (stdio); over stateless HTTP it can be asked for nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types import CLIENT_CAPABILITIES_META_KEY, LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from frontend.auth import Caller
from frontend.errors import ProtocolError
from frontend.rendering import LEVELS, RequestId
from frontend.traces import traceparent

CALLER = "penstock.caller"
"""Where the HTTP side leaves the caller of a request, in its ASGI scope."""

Context: TypeAlias = ServerRequestContext[Any, Any]
Params = TypeVar("Params")
Result = TypeVar("Result")
Handler: TypeAlias = Callable[[Context, Params], Awaitable[Result]]


def in_sdk_words(handler: Handler[Params, Result]) -> Handler[Params, Result]:
    """The handler as the SDK wants it: what it refuses, it refuses by the SDK's own exception."""

    async def handle(ctx: Context, params: Params) -> Result:
        try:
            return await handler(ctx, params)
        except ProtocolError as error:
            raise MCPError(error.code, error.message, error.data) from None

    return handle


def is_modern(ctx: Context) -> bool:
    """Whether the request is of 2026-07-28, which has multi-round trips and tasks."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def can_be_asked(ctx: Context) -> bool:
    """Whether its client can be sent requests while it waits: one of 2025-11-25 on a connection of its own."""
    return not is_modern(ctx) and ctx.request is None and ctx.session.can_send_request


def caller_of(ctx: Context, default: Caller) -> Caller:
    """Whoever the HTTP side let in; without one there is only the caller on stdio."""
    if ctx.request is None:
        return default
    caller: Caller = ctx.request.scope[CALLER]
    return caller


def capabilities_of(ctx: Context) -> dict[str, Any]:
    """What its client has declared, as MCP's `ClientCapabilities`; nothing for one that cannot be asked."""
    if is_modern(ctx):
        declared: Any = (ctx.meta or {}).get(CLIENT_CAPABILITIES_META_KEY)
        return declared if isinstance(declared, dict) else {}
    known = ctx.session.client_capabilities if can_be_asked(ctx) else None
    return known.model_dump(mode="json", by_alias=True, exclude_none=True) if known else {}


def progress_token_of(ctx: Context) -> RequestId | None:
    """What notifications of its progress must carry; None when it wants none."""
    return progress_token_from_params(ctx.params)


def log_level_of(ctx: Context) -> str:
    """The least level of log lines that it wants to hear; empty: none.

    Before 2026-07-28 a level was set once for a whole conversation; without one, nobody has asked for any.
    """
    level = (ctx.meta or {}).get(LOG_LEVEL_META_KEY) if is_modern(ctx) else None
    return level if isinstance(level, str) and level in LEVELS else ""


def traceparent_of(ctx: Context) -> str:
    """The caller's trace: from the request's own `_meta`, else from the header that carried it; checked, or empty."""
    return traceparent_in(ctx.meta, ctx.request.headers if ctx.request is not None else {})


def traceparent_in(meta: Any, headers: Mapping[str, str]) -> str:
    """The same from a request's `_meta`, whatever that is, and its headers."""
    return traceparent(meta.get("traceparent") if isinstance(meta, Mapping) else None, headers.get("traceparent"))


def routed_name_of(ctx: Context) -> str | None:
    """The `Mcp-Name` header by which a request was routed; empty without one. None: it did not come over HTTP."""
    if ctx.request is None:
        return None
    return decode_header_value(ctx.request.headers.get(MCP_NAME_HEADER, "")) or ""
