"""MCP's forms, as the fixture's tools make them: content, contents, messages, questions to the user, refusals."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

Params = dict[str, Any]
Result = dict[str, Any]
Notify = Callable[[str, Params], None]
"""Sends a notification of a name about the request that is being answered."""
Handler = Callable[[Params, Notify], Result | Awaitable[Result]]


class Refusal(Exception):
    """An error that the MCP client is to see as JSON-RPC."""

    def __init__(self, code: int, message: str, data: Any) -> None:
        super().__init__(message)
        self.error = {"code": -32000, "message": message, "data": {"mcp": {"code": code, "data": data}}}


# Content


def png() -> str:
    """One red pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return b64encode(picture).decode()


def wav() -> str:
    """A hundredth of a second of silence: 80 samples of 8 bits at 8 kHz."""
    samples = b"\x80" * 80
    layout = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(samples)) + samples
    return b64encode(b"RIFF" + struct.pack("<I", len(body)) + body).decode()


def text(words: str) -> Result:
    return {"type": "text", "text": words}


def image() -> Result:
    return {"type": "image", "data": png(), "mimeType": "image/png"}


def embedded(uri: str, mime_type: str, words: str) -> Result:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": words}}


def content(*blocks: Result, **more: Any) -> Result:
    return {"resultType": "complete", "content": list(blocks), **more}


def contents(uri: str, mime_type: str, **body: str) -> Result:
    return {"resultType": "complete", "contents": [{"uri": uri, "mimeType": mime_type, **body}]}


def messages(*blocks: Result) -> Result:
    return {"resultType": "complete", "messages": [{"role": "user", "content": block} for block in blocks]}


# Questions


def asked(state: str = "", **requests: Result) -> Result:
    """Instead of a result: what has to be known first, and what this worker wants to be reminded of."""
    result: Result = {"resultType": "input_required", "inputRequests": requests}
    return result | ({"requestState": state} if state else {})


def form(message: str, **fields: str) -> Result:
    """A form of fields, each of a JSON type, all of them required."""
    properties = {name: {"type": kind} for name, kind in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sample(words: str, tokens: int) -> Result:
    """A question to the client's model."""
    message = {"role": "user", "content": text(words)}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


def roots() -> Result:
    """A question for the client's folders."""
    return {"method": "roots/list", "params": {}}


def meta(params: Params) -> dict[str, Any]:
    """What came beside the arguments: who calls, what the client can, what its user has answered."""
    found: dict[str, Any] = params.get("_meta", {})
    return found


def answers(params: Params) -> dict[str, Any]:
    """What the user has answered so far, by key."""
    found: dict[str, Any] = meta(params).get("inputResponses") or {}
    return found


def state(params: Params) -> str:
    """What this worker wanted to be reminded of."""
    return str(meta(params).get("requestState") or "")


def filled(params: Params, key: str) -> dict[str, Any] | None:
    """A form as its user has filled it in; None while he has not, empty when he did not want to."""
    answer = answers(params).get(key)
    return None if answer is None else answer.get("content") or {}
