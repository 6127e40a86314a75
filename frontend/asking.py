"""Questions to the user of a client that stays connected: requests of the 2025-11-25 era, from server to client.

For the one transport where a process serves a client's whole connection, stdio. It knows neither runs nor poolers.
"""

import asyncio
from typing import Any

import orjson
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitResult,
    InputRequest,
    ListRootsRequest,
    ListRootsResult,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from frontend.logs import Logger
from frontend.requests import Context

log = Logger(__name__)

NO_ANSWER = {"action": "cancel"}
"""What stands for the answer of a client that had none."""

_REQUEST: TypeAdapter[InputRequest] = TypeAdapter(InputRequest)


async def answers_of(ctx: Context, requests: bytes) -> bytes:
    """Asks everything at once, and waits for all answers. `requests`: MCP's `inputRequests`, a JSON object.

    Returns MCP's `inputResponses`, a JSON object.
    """
    asked: dict[str, Any] = orjson.loads(requests)
    async with asyncio.TaskGroup() as group:
        answers = {key: group.create_task(_answer_of(ctx, request)) for key, request in asked.items()}
    return orjson.dumps({key: answer.result() for key, answer in answers.items()})


async def _answer_of(ctx: Context, asked: Any) -> Any:
    try:
        request = _REQUEST.validate_python(asked, by_name=False)
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        answer = await ctx.session.send_request(request, _answer_type(request), metadata=related)
    except (MCPError, ValidationError) as error:
        log.info("a question without an answer", method=asked.get("method"), cause=type(error).__name__)
        return NO_ANSWER
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


def _answer_type(request: InputRequest) -> type[BaseModel]:
    match request:
        case ElicitRequest():
            return ElicitResult
        case ListRootsRequest():
            return ListRootsResult
        case CreateMessageRequest(params=params):
            return CreateMessageResultWithTools if params.tools else CreateMessageResult
