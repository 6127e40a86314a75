"""What a conversation's client says that no backend answers: responses, cancels, its log level, its subscriptions.

All of it goes to the pooler, which knows what it is about, whichever frontend heard it; but for the cancel of a call
that is still a plain one of this process, which a pooler has no name for.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

import mcp_types as types
import orjson
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.methods import validate_client_request
from starlette.responses import Response

from frontend.auth import Caller
from frontend.catalogue import Catalogue
from frontend.conversations.asking import key_of
from frontend.conversations.messages import Json, accepted, away, failure, refusal, result
from frontend.conversations.talk import Talk
from frontend.conversations.telling import Question
from frontend.errors import HANDLE_REASONS, PoolerError, as_protocol_error, resource_not_found
from frontend.events import Answer, Cancel, Delivery, LogLevel, Subscribe, Unsubscribe, Watched
from frontend.logs import Logger
from frontend.mcp_server import McpServer
from frontend.pooler_client import PoolerClient
from frontend.preparing import checked_arguments

log = Logger(__name__)

TakeBack: TypeAlias = Callable[[Caller, str, bytes], bool]
"""Ends a call of a caller's conversation that no run was begun for, by the id of its request; false: there is none."""

SET_LEVEL, SUBSCRIBE, UNSUBSCRIBE = "logging/setLevel", "resources/subscribe", "resources/unsubscribe"
METHODS = frozenset({SET_LEVEL, SUBSCRIBE, UNSUBSCRIBE})


class Sayings:
    """Passes them on."""

    def __init__(self, mcp: McpServer, pooler: PoolerClient, take_back: TakeBack) -> None:
        self._mcp = mcp
        self._pooler = pooler
        self._take_back = take_back

    async def request(self, talk: Talk, request: JSONRPCRequest) -> Json:
        """The response to one that has a response."""
        try:
            validate_client_request(request.method, talk.version, request.params)
            await self._pooler.conversations.deliver(talk.caller, talk.handle, await self._delivery(request))
        except PoolerError as error:
            return failure(request.id, as_protocol_error(error))
        except Exception as error:  # noqa: BLE001 - the SDK's own ladder says what its client may know of it
            return failure(request.id, error)
        return result(request.id, {})

    async def remark(self, talk: Talk, message: JSONRPCNotification | JSONRPCResponse | JSONRPCError) -> Response:
        """What to say over HTTP to one that has no response."""
        if (what := _delivery_of(message)) is None:
            return accepted()
        if isinstance(what, Cancel) and self._take_back(talk.caller, talk.handle, what.request_key.encode()):
            return accepted()
        try:
            await self._pooler.conversations.deliver(talk.caller, talk.handle, what)
        except PoolerError as error:
            if error.reason in HANDLE_REASONS:
                # What it was about is over; its client will have heard, or is about to.
                log.info("said too late", what=type(what).__name__, reason=error.reason)
            elif error.reason == "INVALID_ARGUMENTS":
                return refusal(HTTPStatus.BAD_REQUEST, error.message)
            else:
                return away(error)
        return accepted()

    async def _delivery(self, request: JSONRPCRequest) -> Delivery:
        if request.method == SET_LEVEL:
            return LogLevel(types.SetLevelRequestParams.model_validate(request.params, by_name=False).level)
        catalogue = await self._mcp.known_catalogue()
        if request.method == SUBSCRIBE:
            asked = types.SubscribeRequestParams.model_validate(request.params, by_name=False)
            return Subscribe(_watched(catalogue, str(asked.uri)))
        given = types.UnsubscribeRequestParams.model_validate(request.params, by_name=False)
        # By its address alone: the resource itself may be gone by now.
        return Unsubscribe(Watched(str(given.uri), ""))


def _watched(catalogue: Catalogue, uri: str) -> Watched:
    """Raises ProtocolError for an address that nothing answers for."""
    if (match := catalogue.resources.match(uri)) is None:
        raise resource_not_found(uri)
    operation, arguments = match
    return Watched(uri, operation.name, checked_arguments(catalogue, operation, arguments))


def _delivery_of(message: JSONRPCNotification | JSONRPCResponse | JSONRPCError) -> Delivery | None:
    """None for what nobody needs to hear."""
    if isinstance(message, JSONRPCNotification):
        if message.method != "notifications/cancelled":
            return None
        request_id = cancelled_request_id_from_params(message.params)
        return Cancel(key_of(request_id)) if request_id is not None else None
    if (question := Question.named(message.id)) is None:
        return None
    given = orjson.dumps(message.result) if isinstance(message, JSONRPCResponse) else b""
    return Answer(question.run, question.key, given)
