"""One POST as the JSON-RPC message in it, and answers as HTTP. Nothing here knows what a message means."""

from http import HTTPStatus
from typing import Any, TypeAlias

import orjson
from mcp.server.runner import modern_error_data
from mcp.server.streamable_http import check_accept_headers
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from frontend.errors import PoolerError, ProtocolError
from frontend.rendering import RequestId

Json: TypeAlias = dict[str, Any]
Message: TypeAlias = JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError

RETRY_AFTER_SECONDS = "2"


class NoMessage(Exception):
    """A POST that holds no message; `response` says so to its client."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.response = refusal(HTTPStatus.BAD_REQUEST, sentence, code)


def message_of(body: bytes) -> Message:
    """The message of a POST. Raises NoMessage."""
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NoMessage(PARSE_ERROR, "The body is no JSON") from None
    try:
        return jsonrpc_message_adapter.validate_python(decoded, by_name=False)
    except ValidationError:
        raise NoMessage(INVALID_REQUEST, "The body is no single JSON-RPC message") from None


def unacceptable(request: Request, *, json: bool) -> Response | None:
    """What to say to a client that would not take the answer: always an event stream, with `json` either form."""
    takes_json, takes_events = check_accept_headers(request)
    if takes_events and (takes_json or not json):
        return None
    forms = "application/json and text/event-stream" if json else "text/event-stream"
    return refusal(HTTPStatus.NOT_ACCEPTABLE, f"Not Acceptable: the client must accept {forms}")


def refusal(status: HTTPStatus, sentence: str, code: int = INVALID_REQUEST) -> Response:
    """Said of the HTTP request as a whole, whatever message it holds."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": sentence}}
    return Response(orjson.dumps(body), status, media_type="application/json")


def gone(error: PoolerError) -> Response:
    """The conversation is none, or none any more: the client has to begin another."""
    return refusal(HTTPStatus.NOT_FOUND, f"Session not found: {error.message}")


def away(error: PoolerError) -> Response:
    """Whether the conversation still is cannot be said at the moment."""
    return refused_for_now(error.message)


def refused_for_now(sentence: str) -> Response:
    """Of a request that may be repeated a little later."""
    response = refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence)
    response.headers["retry-after"] = RETRY_AFTER_SECONDS
    return response


def accepted() -> Response:
    """For what has no answer."""
    return Response(status_code=HTTPStatus.ACCEPTED)


def answered(message: Json) -> Response:
    """A JSON-RPC response as plain JSON."""
    return Response(orjson.dumps(message), media_type="application/json")


def result(request_id: RequestId, content: Json | orjson.Fragment) -> Json:
    return {"jsonrpc": "2.0", "id": request_id, "result": content}


def failure(request_id: RequestId | None, error: Exception) -> Json:
    """What its client may know of a failure; of one that is not meant for it, by the SDK's own ladder."""
    if isinstance(error, ProtocolError):
        said = error.error
    else:
        said = modern_error_data(error).model_dump(mode="json", exclude_none=True)
    return {"jsonrpc": "2.0", "id": request_id, "error": said}
