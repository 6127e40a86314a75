"""The messages between a simulated system and its clients over TCP: one JSON object a line, answers by number.

A client asks `{"id", "do", …}`, with `do` one of login, validate, request, stop, reset, census; the answer has the same
id and either its facts or `error`. Stops and answers may overtake a request. `{"do": "close"}` has no answer but the
end: the system closes its socket when the session has gone from its count, and not before.
"""

from typing import Any

import orjson

from pooler.backends.base import Failure, FailureKind

LINE_BYTES_MAX = 16 << 20


class ProtocolError(Exception):
    """A line that is no message; nothing that follows can be trusted."""


def encode(**facts: Any) -> bytes:
    """One message."""
    return orjson.dumps(facts) + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The facts of a message. Raises ProtocolError."""
    try:
        facts = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"no JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ProtocolError("no JSON object")
    return facts


def encode_failure(failure: Failure) -> dict[str, Any]:
    """A failure as a message carries it."""
    return {"kind": failure.kind.value, "message": failure.message, "started": failure.started}


def decode_failure(facts: dict[str, Any]) -> Failure:
    """The failure that a message carries."""
    return Failure(FailureKind(facts["kind"]), facts["message"], started=facts["started"])
