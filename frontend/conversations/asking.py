"""From a conversation's request to the run that it asks for: which operation, on what terms, and what is noted with it.

Nothing here calls anything.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import mcp_types as types
import orjson
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types import JSONRPCRequest, RequestId
from mcp_types.methods import validate_client_request

from frontend.catalogue import Catalogue
from frontend.config import Settings
from frontend.conversations.messages import Json
from frontend.conversations.talk import Talk
from frontend.operations import Operation
from frontend.pooler_client import Call, Terms
from frontend.preparing import Prepared, prepare_prompt, prepare_resource, prepare_tool
from frontend.rendering import PROMPT, RESOURCE, TOOL, Note
from frontend.requests import traceparent_in

METHODS = frozenset({TOOL, RESOURCE, PROMPT})

USER_SECONDS = 600.0
"""How long a user may take with what an operation asks, beside the time that the operation itself may."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that may be begun. `note`: by which any frontend can tell its client of it."""

    call: Call
    note: Note
    terms: Terms


def asked(
    settings: Settings, catalogue: Catalogue, talk: Talk, request: JSONRPCRequest, headers: Mapping[str, str]
) -> Asked | Json:
    """What a request asks for, or its result where there is nothing to run.

    Raises ProtocolError or ValidationError for what is no sound request.
    """
    validate_client_request(request.method, talk.version, request.params)
    given = request.params or {}
    prepared = _PREPARE[request.method](catalogue, given)
    if isinstance(prepared, dict):
        return prepared
    token = progress_token_from_params(given)
    note = replace(prepared.note, request_id=request.id, progress_token=token, log_level=talk.log_level)
    call = Call(
        operation=prepared.operation,
        arguments=prepared.arguments,
        caller=talk.caller,
        timeout_seconds=_seconds(settings, prepared.operation),
        request_id=uuid.uuid4().hex,
        traceparent=traceparent_in(given.get("_meta"), headers),
        conversation=talk.handle,
        first_page_only=not prepared.operation.tool,
    )
    terms = Terms(
        detach_grace_ms=round(settings.detach_grace_seconds * 1000),
        await_input=True,
        note=note.pack(),
        request_key=key_of(request.id),
    )
    return Asked(call, note, terms)


def key_of(request_id: RequestId) -> str:
    """What a request is called within its conversation: `1` is not `"1"`."""
    return orjson.dumps(request_id).decode()


def _seconds(settings: Settings, operation: Operation) -> float:
    most = settings.timeout_seconds_max
    own = min((operation.timeout_ms + operation.queue_timeout_ms) / 1000 or most, most)
    return own + USER_SECONDS if operation.asks else own


def _tool(catalogue: Catalogue, given: Mapping[str, Any]) -> Prepared | Json:
    params = types.CallToolRequestParams.model_validate(given, by_name=False)
    return prepare_tool(catalogue, params.name, params.arguments or {})


def _resource(catalogue: Catalogue, given: Mapping[str, Any]) -> Prepared | Json:
    params = types.ReadResourceRequestParams.model_validate(given, by_name=False)
    return prepare_resource(catalogue, str(params.uri))


def _prompt(catalogue: Catalogue, given: Mapping[str, Any]) -> Prepared | Json:
    params = types.GetPromptRequestParams.model_validate(given, by_name=False)
    return prepare_prompt(catalogue, params.name, params.arguments or {})


_PREPARE: Mapping[str, Callable[[Catalogue, Mapping[str, Any]], Prepared | Json]] = {
    TOOL: _tool,
    RESOURCE: _resource,
    PROMPT: _prompt,
}
