"""From a request of MCP to the call that it asks for: what the catalogue says, and whether the arguments fit.

Nothing here calls anything. A request that needs no call, or can have none, is answered at once.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from frontend.catalogue import Catalogue, check_prompt_arguments, render
from frontend.errors import invalid_arguments, invalid_params, resource_not_found
from frontend.operations import Operation
from frontend.rendering import PROMPT, RESOURCE, TOOL, Note, described, user_says

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that may be made, and the note by which its client is told of it. `arguments`: a JSON object in UTF-8."""

    operation: Operation
    arguments: bytes
    note: Note


def prepare_tool(catalogue: Catalogue, name: str, arguments: Mapping[str, Any]) -> Prepared | Json:
    """A `tools/call`; a result where the arguments do not fit. Raises ProtocolError for a tool that is none."""
    operation = catalogue.tool(name)
    encoded = encoded_arguments(arguments)
    if faults := catalogue.faults(operation, arguments):
        return invalid_arguments(faults)
    return Prepared(operation, encoded, Note(TOOL, name))


def prepare_resource(catalogue: Catalogue, uri: str) -> Prepared:
    """A `resources/read`. Raises ProtocolError for an address that nothing answers for."""
    if (match := catalogue.resources.match(uri)) is None:
        raise resource_not_found(uri)
    operation, arguments = match
    encoded = checked_arguments(catalogue, operation, arguments)
    return Prepared(operation, encoded, Note(RESOURCE, uri, mime_type=operation.mime_type))


def prepare_prompt(catalogue: Catalogue, name: str, arguments: Mapping[str, str]) -> Prepared | Json:
    """A `prompts/get`; its result where it is a text. Raises ProtocolError for a prompt or arguments that are none."""
    prompt = catalogue.prompt(name)
    if not prompt.operation:
        return described(user_says(render(prompt, arguments)), prompt.description)
    check_prompt_arguments(prompt, arguments)
    operation = catalogue.operation(prompt.operation)
    encoded = checked_arguments(catalogue, operation, arguments)
    return Prepared(operation, encoded, Note(PROMPT, name, description=prompt.description))


def checked_arguments(catalogue: Catalogue, operation: Operation, arguments: Mapping[str, Any]) -> bytes:
    """For what has no error results of its own: every misfit is a JSON-RPC error, raised as ProtocolError."""
    encoded = encoded_arguments(arguments)
    if faults := catalogue.faults(operation, arguments):
        raise invalid_params(f"Arguments that do not fit: {'; '.join(faults)}")
    return encoded


def encoded_arguments(arguments: Mapping[str, Any]) -> bytes:
    """Arguments as they came. Raises ProtocolError for what is no JSON, though Python's own parser lets it through."""
    with contextlib.suppress(TypeError):
        encoded = orjson.dumps(arguments)
        # It writes `null` for infinity and for what is no number, without a word.
        if b"null" not in encoded:
            return encoded
    # An integer beyond 64 bits is sound JSON, which orjson does not write; half a surrogate pair is not.
    with contextlib.suppress(ValueError):
        return json.dumps(arguments, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    raise invalid_params("The arguments hold a number or a character that JSON cannot carry")


def digest_of(arguments: bytes) -> str:
    """The same for the same arguments, in whatever order they stand."""
    text = json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
