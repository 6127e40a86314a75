"""Failures on their way from the pooler to an MCP client: the only place here that turns one kind into the other.

A tool's failure that a model can act on becomes a result with `isError` and a plain sentence. What has no such form (a
resource, a prompt, a completion, a name that nobody has) becomes a JSON-RPC error. Neither ever holds a stack, a
connection string or a secret: the pooler's sentences have none, and nothing else is passed on. Nothing here needs the
SDK: its edge (`requests`) says a `ProtocolError` in the SDK's words.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import orjson

INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
MISSING_REQUIRED_CLIENT_CAPABILITY = -32021

REQUEST_CANCELLED = -32800
"""As the SDK has it for the revisions in which a cancelled request is answered."""

# The range left to servers is -32000…-32019; -32001 and -32002 meant other things in older revisions.
UNAVAILABLE = -32010
TIMED_OUT = -32011
REFUSED = -32012
OUTCOME_UNKNOWN = -32013

CODE_DIGITS_MAX = 18
"""A worker may say any number; a larger one is not written by every library that writes JSON."""

HANDLE_REASONS = frozenset({"HANDLE_UNKNOWN", "HANDLE_EXPIRED", "HANDLE_LOST"})
"""What a handle stood for is not there, or no more."""

ERROR_META = "penstock/error"
"""Where a failed tool call's reason stands in the result's `_meta`, for programs."""

_CODES: Mapping[str, int] = {
    "INVALID_ARGUMENTS": INVALID_PARAMS,
    "OPERATION_NOT_FOUND": INVALID_PARAMS,
    "QUEUE_FULL": UNAVAILABLE,
    "TOO_MANY_CALLS": UNAVAILABLE,
    "START_FAILED": UNAVAILABLE,
    "PAUSED": UNAVAILABLE,
    "KILLED": REFUSED,
    "SHED": TIMED_OUT,
    "CONNECTION_LOST": UNAVAILABLE,
    "DRAINING": UNAVAILABLE,
    "POOLER_AWAY": UNAVAILABLE,
    "BUSY": UNAVAILABLE,
    "QUEUE_TIMEOUT": TIMED_OUT,
    "START_TIMEOUT": TIMED_OUT,
    "WORK_TIMEOUT": TIMED_OUT,
    "REFUSED": REFUSED,
    "RESULT_TOO_LARGE": REFUSED,
    "OUTCOME_UNKNOWN": OUTCOME_UNKNOWN,
    "HANDLE_UNKNOWN": INVALID_PARAMS,
    "HANDLE_EXPIRED": INVALID_PARAMS,
    "HANDLE_LOST": UNAVAILABLE,
    "SESSION_IN_USE": UNAVAILABLE,
    "TOO_MANY_SESSIONS": UNAVAILABLE,
    "SPOOL_FULL": UNAVAILABLE,
    "STORE_FULL": UNAVAILABLE,
    "INPUT_UNAVAILABLE": REFUSED,
    "INPUT_DECLINED": REFUSED,
}
"""JSON-RPC code by reason; any other reason is an internal error."""


@dataclass(eq=False)
class PoolerError(Exception):
    """A call that failed, by one of the wire's reasons, or POOLER_AWAY, which only a frontend can notice."""

    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class ProtocolError(Exception):
    """What is answered by a JSON-RPC error: its code, its sentence, and what a program may read of it."""

    code: int
    message: str
    data: Any = None

    def __str__(self) -> str:
        return self.message

    @property
    def error(self) -> dict[str, Any]:
        """The `error` of a JSON-RPC response."""
        said = {"code": self.code, "message": self.message}
        return said if self.data is None else {**said, "data": self.data}


def pooler_away() -> PoolerError:
    """What to tell a caller while there is no pooler to ask. Its address, and why it is away, are the log's."""
    sentence = "The pooler behind this server cannot be reached; nothing was started."
    return PoolerError("POOLER_AWAY", sentence, {"retry_after_ms": "2000"})


def way_interrupted() -> PoolerError:
    """What to say when the way broke under something that exists behind it, and can be asked for again."""
    sentence = "The way to the pooler was interrupted; what was asked for may safely be asked for again."
    return PoolerError("POOLER_AWAY", sentence, {"retry_after_ms": "1000"})


def result_too_large(size: int, most: int) -> PoolerError:
    """A result beyond what this frontend holds in memory, in bytes."""
    sentence = f"The result has {size} bytes; this frontend passes on at most {most}. Ask for less of it."
    return PoolerError("RESULT_TOO_LARGE", sentence)


def unknown(kind: str, name: str, known: Iterable[str]) -> ProtocolError:
    """A name that the catalogue does not have, with the nearest one that it has. -32602, as the protocol asks."""
    nearest = get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ProtocolError(INVALID_PARAMS, f"Unknown {kind}: {name[:200]!r}{hint}")


def invalid_params(message: str) -> ProtocolError:
    """A request that is wrong in a way that its sender, not the model, has to mend."""
    return ProtocolError(INVALID_PARAMS, message)


def missing_capability(message: str, required: Mapping[str, Any]) -> ProtocolError:
    """A request that takes a client who can do more. `required`: what it lacks, as MCP's `ClientCapabilities`."""
    return ProtocolError(MISSING_REQUIRED_CLIENT_CAPABILITY, message, {"requiredCapabilities": dict(required)})


def resource_not_found(uri: str) -> ProtocolError:
    """No resource has this address. The revision asks for -32602 with the address in `data`."""
    return ProtocolError(INVALID_PARAMS, "Resource not found", {"uri": uri})


def tool_error(sentence: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A `tools/call` result that says what went wrong in words a model can act on."""
    return {
        "content": [{"type": "text", "text": sentence}],
        "isError": True,
        "_meta": {ERROR_META: dict(facts)},
    }


def invalid_arguments(faults: list[str]) -> dict[str, Any]:
    """All of a tool call's misfits at once. A tool error, so that the model reads it and tries again (SEP-1303)."""
    counted = "1 argument does" if len(faults) == 1 else f"{len(faults)} arguments do"
    return tool_error(f"{counted} not fit: {'; '.join(faults)}.", {"reason": "INVALID_ARGUMENTS"})


def as_tool_result(error: PoolerError) -> dict[str, Any]:
    """What `tools/call` answers when the pooler refused or failed. Raises ProtocolError for a protocol error."""
    if error.reason in ("PROTOCOL", "OPERATION_NOT_FOUND"):
        raise as_protocol_error(error)
    return tool_error(error.message + _retry_sentence(error), _facts(error))


def as_protocol_error(error: PoolerError) -> ProtocolError:
    """What everything but `tools/call` answers, and what a worker asked the client to see."""
    if error.reason == "PROTOCOL":
        return _workers_own(error)
    return ProtocolError(_CODES.get(error.reason, INTERNAL_ERROR), error.message, _facts(error))


def _workers_own(error: PoolerError) -> ProtocolError:
    try:
        code = _code(error.metadata["mcp_code"])
        data = orjson.loads(error.metadata["mcp_data"]) if error.metadata.get("mcp_data") else None
    except (KeyError, ValueError):
        return ProtocolError(INTERNAL_ERROR, error.message)
    return ProtocolError(code, error.message, data)


def _code(text: str) -> int:
    """Raises ValueError for what is none, or larger than what is written as one."""
    if len(text) > CODE_DIGITS_MAX:
        raise ValueError("no code has so many digits")
    return int(text)


def _facts(error: PoolerError) -> dict[str, Any]:
    facts: dict[str, Any] = {"reason": error.reason}
    if (after := _retry_after_ms(error)) is not None:
        facts["retry_after_ms"] = after
    return facts


def _retry_after_ms(error: PoolerError) -> int | None:
    text = error.metadata.get("retry_after_ms", "")
    return int(text) if text.isdecimal() else None


def _retry_sentence(error: PoolerError) -> str:
    after = _retry_after_ms(error)
    if after is None or "again" in error.message:
        return ""
    return f" Try again in {max(after, 100) / 1000:.1f} s."
