"""What a call asks its user, and whether its client can be asked at all: MCP's `inputRequests`, and what answers them.

Plain functions over decoded JSON. They know which capability each request needs and how a confirmation is worded;
whether a call may go on is for `dialogue` to say.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from pooler.errors import Fault, Reason

CONFIRM = "confirm"
"""The key of our own question among a call's `inputRequests`."""
PLACE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
"""Where an argument stands in a confirmation."""
VALUE_CHARACTERS_MAX = 120
"""How much of one argument a confirmation shows: a text that is longer hides the question itself."""

Requests = Mapping[str, Any]
"""MCP's `inputRequests`, or the responses to them, by key."""


def confirmation(template: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The one request that a confirmation consists of: a form without any field, to be accepted or declined."""
    params = {
        "mode": "form",
        "message": worded(template, arguments),
        "requestedSchema": {"type": "object", "properties": {}},
    }
    return {CONFIRM: {"method": "elicitation/create", "params": params}}


def worded(template: str, arguments: Mapping[str, Any]) -> str:
    """A confirmation's text with the arguments in their places. An argument that is not given is shown as nothing."""
    return PLACE.sub(lambda place: _shown(arguments.get(place[1], "")), template)


def _shown(value: Any) -> str:
    """A value on one line: whoever chose it must not be able to write a paragraph of his own under the question."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= VALUE_CHARACTERS_MAX else line[:VALUE_CHARACTERS_MAX] + "…"


def responses(body: bytes) -> dict[str, Any]:
    """The user's answers by key. Raises Fault when they are not an object of objects."""
    try:
        given = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise Fault(Reason.INVALID_ARGUMENTS, f"The inputResponses are no JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Fault(Reason.INVALID_ARGUMENTS, "The inputResponses are no JSON object; give one answer for each key.")
    for key, answer in given.items():
        if not isinstance(answer, dict):
            raise Fault(Reason.INVALID_ARGUMENTS, f"The inputResponse {key[:100]!r} is no JSON object.")
    return given


def accepted(given: Mapping[str, Any], operation: str) -> bool:
    """Whether the confirmation has been accepted; False when it has not been answered yet. Raises Fault for a no."""
    answer = given.get(CONFIRM)
    if answer is None:
        return False
    match answer.get("action"):
        case "accept":
            return True
        case "decline" | "cancel":
            raise Fault(
                Reason.INPUT_DECLINED, f"The user was asked to confirm {operation} and did not; nothing was done."
            )
        case _:
            sentence = f"The answer to {CONFIRM!r} needs an `action`: accept, decline or cancel."
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)


def check_client(operation: str, requests: Requests, capabilities: bytes) -> None:
    """Raises Fault when the client has not said that it can be asked what a call wants to ask."""
    known = _object(capabilities)
    for request in requests.values():
        needed = needs(request)
        if not _has(known, needed):
            (name,) = needed
            raise Fault(
                Reason.INPUT_UNAVAILABLE,
                f"Operation {operation} has to ask its user, for which this client must have the capability "
                f"{_named(needed)!r}; it has not declared it. Call it from a client that has.",
                {"capability": name, "required_capabilities": orjson.dumps(needed).decode()},
            )


def needs(request: Mapping[str, Any]) -> dict[str, Any]:
    """The client capabilities that a request takes, as MCP's `ClientCapabilities`. Raises Fault for an unknown one."""
    method, params = request.get("method"), request.get("params")
    params = params if isinstance(params, dict) else {}
    match method:
        case "elicitation/create":
            return {"elicitation": {"url" if params.get("mode") == "url" else "form": {}}}
        case "sampling/createMessage":
            return {"sampling": {"tools": {}} if "tools" in params else {}}
        case "roots/list":
            return {"roots": {}}
    raise Fault(Reason.INTERNAL, f"The backend asks its user by {str(method)[:100]!r}, which no MCP client knows.")


def _has(known: Mapping[str, Any], needed: Mapping[str, Any]) -> bool:
    ((name, modes),) = needed.items()
    declared = known.get(name)
    if not isinstance(declared, dict):
        return False
    if modes == {"form": {}} and "url" not in declared:
        return True  # before there were two modes, an empty capability meant the form
    return all(mode in declared for mode in modes)


def _named(needed: Mapping[str, Any]) -> str:
    ((name, modes),) = needed.items()
    return ".".join((name, *modes))


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
