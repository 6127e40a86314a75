"""What a worker's error, or an exception on the way to it, means."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from pooler.backends.base import BackendError, Failure, FailureKind, ProtocolError
from pooler.backends.process.wire import CANCELLED
from pooler.runtime.workers import SpawnError

MESSAGE_CHARS_MAX = 500


def classify(error: BaseException) -> Failure:
    """Says what an exception of this adapter means."""
    match error:
        case BackendError():
            return error.failure
        case SpawnError():
            return Failure(FailureKind.LIMIT if error.crowded else FailureKind.DEAD, str(error))
        case _:
            return Failure(FailureKind.BUG, f"the process adapter failed with {type(error).__name__}: see the log")


def refusal(error: Mapping[str, Any], mask: Callable[[str], str] = str) -> Failure:
    """The meaning of a JSON-RPC error object, in the worker's own words, which are masked before they are cut."""
    message = error.get("message")
    words = brief(mask(message)) if isinstance(message, str) and message else "the worker gave no reason"
    data = error.get("data")
    facts: Mapping[str, Any] = data if isinstance(data, dict) else {}
    named = facts.get("kind")
    if named is None:
        kind = FailureKind.CANCELLED if error.get("code") == CANCELLED else FailureKind.USER_ERROR
    elif named in FailureKind.__members__:
        kind = FailureKind(named)
    else:
        return Failure(FailureKind.BUG, f"{words} (the worker names the kind {named!r:.60}, which does not exist)")
    return Failure(kind, words, _protocol_error(facts.get("mcp")))


def brief(text: str) -> str:
    """What fits a message."""
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def _protocol_error(mcp: Any) -> ProtocolError | None:
    if not isinstance(mcp, dict) or type(mcp.get("code")) is not int:
        return None
    return ProtocolError(mcp["code"], orjson.dumps(mcp["data"]) if "data" in mcp else None)
