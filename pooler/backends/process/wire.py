"""The lines of the worker protocol, written and read. No process, no state: bytes in, meanings out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

CANCELLED = -32800
"""The error with which a worker answers a request that it was asked to cancel."""


class GarbageError(Exception):
    """A line that no worker of this protocol writes; the message completes the sentence "the worker …".

    It does not quote the line, which may hold a secret: whoever shows it masks it before cutting it short.
    """


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request: a result, or JSON-RPC's error object."""

    id: int
    result: Any = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A notification; `id` is the request that it speaks of, when it names one."""

    method: str
    id: int | None
    params: Mapping[str, Any]


def request(number: int, method: str, params: Mapping[str, Any]) -> bytes:
    """A line that asks for an answer."""
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """A line that asks for none."""
    return orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params})


def parse(line: bytes) -> Reply | Note:
    """What a line of the worker means. Raises GarbageError."""
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise GarbageError("wrote a line that is not JSON") from error
    if not isinstance(message, dict):
        raise GarbageError("wrote a line that is no JSON-RPC object")
    if "method" in message:
        return _note(message)
    return _reply(message)


def _note(message: dict[str, Any]) -> Note:
    method, params = message["method"], message.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise GarbageError("wrote a notification without a name or an object of parameters")
    if "id" in message:
        raise GarbageError(f"asked the pooler for {method!r:.60}, which answers no requests")
    number = params.get("id")
    return Note(method, number if type(number) is int else None, params)


def _reply(message: dict[str, Any]) -> Reply:
    number, error = message.get("id"), message.get("error")
    if error is not None and not isinstance(error, dict):
        raise GarbageError("wrote an error that is no object")
    if number is None and error is not None:
        raise GarbageError(f"could not read a request: {error.get('message')}")
    if type(number) is not int:
        raise GarbageError("wrote an answer without the number of its request")
    if error is None and "result" not in message:
        raise GarbageError(f"answered request {number} with neither a result nor an error")
    return Reply(number, message.get("result"), error)
