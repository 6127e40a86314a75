"""One request of this era by the SDK's own machinery: the handshake, lists, completion, ping, and what is no method.

Each is answered at once and by itself; nothing can be sent to the client meanwhile, and nothing is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson
from mcp.server.connection import Connection
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import ServerRunner, aclose_shielded, serve_one
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import JSONRPCRequest, LoggingCapability, RequestId, ResourcesCapability
from mcp_types.version import LATEST_HANDSHAKE_VERSION
from starlette.requests import Request

from frontend.conversations.messages import Json, failure, result

EMPTY_LIFESPAN: Mapping[str, Any] = {}
"""No handler of ours looks at it."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """An `initialize` that was understood. `capabilities`: what the client can do, as it said it, in JSON."""

    answer: Json
    version: str
    capabilities: bytes


@dataclass
class _Alone:
    """A request with no way back to its client but its answer, as the SDK wants it to be told."""

    request_id: RequestId
    message_metadata: MessageMetadata
    transport: TransportContext = field(
        default_factory=lambda: TransportContext(kind="streamable-http", can_send_request=False)
    )
    can_send_request: bool = False
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """What is answered at once has nothing to tell before."""

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Nor has it any progress."""


async def serve(sdk: "Server[Any]", http: Request, request: JSONRPCRequest, version: str) -> Json:
    """The JSON-RPC response to one request."""
    connection = Connection.from_envelope(version, None, None)
    try:
        content = await serve_one(
            sdk,
            _alone(http, request),
            request.method,
            request.params,
            connection=connection,
            lifespan_state=EMPTY_LIFESPAN,
        )
    except Exception as error:  # noqa: BLE001 - the SDK's own ladder says what its client may know of it
        return failure(request.id, error)
    return result(request.id, content)


async def shake_hands(sdk: "Server[Any]", http: Request, request: JSONRPCRequest) -> Handshake | Json:
    """Negotiates as the SDK does, and offers beside what conversations make possible. A refusal is a response."""
    connection = Connection.from_envelope(LATEST_HANDSHAKE_VERSION, None, None)
    runner = ServerRunner(sdk, connection, EMPTY_LIFESPAN, init_options=_offer(sdk))
    try:
        content = await runner.on_request(_alone(http, request), request.method, request.params)
    except Exception as error:  # noqa: BLE001 - the same
        return failure(request.id, error)
    finally:
        await aclose_shielded(connection)
    capabilities = orjson.dumps((request.params or {}).get("capabilities") or {})
    return Handshake(result(request.id, content), connection.protocol_version, capabilities)


def _alone(http: Request, request: JSONRPCRequest) -> _Alone:
    return _Alone(request.id, ServerMessageMetadata(request_context=http))


def _offer(sdk: "Server[Any]") -> InitializationOptions:
    """What a client with a conversation gets more than others: log lines, subscriptions, and news of the lists."""
    changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    options = sdk.create_initialization_options(changes)
    more = {"logging": LoggingCapability(), "resources": ResourcesCapability(subscribe=True, list_changed=True)}
    return options.model_copy(update={"capabilities": options.capabilities.model_copy(update=more)})
