"""The fixture that the public MCP conformance suite expects of a server, as a worker behind a pooler.

Everything the suite looks for (texts, images, error codes) is here and nowhere else: it crosses the worker protocol,
the pool, gRPC and the frontend, none of which know of it. Standard library only; one process per connection.
"""

import json
import struct
import sys
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

Params = dict[str, Any]
Result = dict[str, Any]
Notify = Callable[[str, Params], None]
"""Sends a notification of a name about the request that is being answered."""
Handler = Callable[[Params, Notify], Result]


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
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return b64encode(image).decode()


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


# Tools


def test_simple_text(params: Params, note: Notify) -> Result:
    return content(text("This is a simple text response for testing."))


def test_image_content(params: Params, note: Notify) -> Result:
    return content(image())


def test_audio_content(params: Params, note: Notify) -> Result:
    return content({"type": "audio", "data": wav(), "mimeType": "audio/wav"})


def test_embedded_resource(params: Params, note: Notify) -> Result:
    return content(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


def test_multiple_content_types(params: Params, note: Notify) -> Result:
    data = json.dumps({"test": "data", "value": 123})
    mixed = embedded("test://mixed-content-resource", "application/json", data)
    return content(text("Multiple content types test:"), image(), mixed)


def test_error_handling(params: Params, note: Notify) -> Result:
    return content(text("This tool intentionally returns an error for testing"), isError=True)


def test_tool_with_logging(params: Params, note: Notify) -> Result:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        note("log", {"level": "info", "message": words})
    return content(text("Three messages were logged."))


def test_tool_with_progress(params: Params, note: Notify) -> Result:
    for progress in (0, 50, 100):
        note("progress", {"progress": progress, "total": 100})
    return content(text("Progress was reported three times."))


def test_missing_capability(params: Params, note: Notify) -> Result:
    declared = params.get("_meta", {}).get("clientCapabilities", {})
    if "sampling" not in declared:
        raise Refusal(-32021, "This tool needs a client that can sample", {"requiredCapabilities": {"sampling": {}}})
    return content(text("The client can sample."))


def test_streaming_elicitation(params: Params, note: Notify) -> Result:
    return content(text("There is nothing to ask."))


def test_logging_tool(params: Params, note: Notify) -> Result:
    note("log", {"level": "info", "message": "This message is for clients that ask for messages"})
    return content(text("One message was logged."))


def test_header_parameter(params: Params, note: Notify) -> Result:
    return content(text(f"The region is {params['region']}."))


# Resources


def static_text(params: Params, note: Notify) -> Result:
    return contents("test://static-text", "text/plain", text="This is the content of the static text resource.")


def static_binary(params: Params, note: Notify) -> Result:
    return contents("test://static-binary", "image/png", blob=png())


def template_data(params: Params, note: Notify) -> Result:
    number = params["id"]
    data = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
    return contents(f"test://template/{number}/data", "application/json", text=data)


# Prompts


def simple_prompt(params: Params, note: Notify) -> Result:
    return messages(text("This is a simple prompt for testing."))


def prompt_with_arguments(params: Params, note: Notify) -> Result:
    return messages(text(f"Prompt with arguments: arg1='{params['arg1']}', arg2='{params['arg2']}'"))


def prompt_with_embedded_resource(params: Params, note: Notify) -> Result:
    resource = embedded(params["resourceUri"], "text/plain", "Embedded resource content for testing.")
    return messages(resource, text("Please process the embedded resource above."))


def prompt_with_image(params: Params, note: Notify) -> Result:
    return messages(image(), text("Please analyze the image above."))


def complete_argument(params: Params, note: Notify) -> Result:
    values = [word for word in ("paris", "park", "party", "test") if word.startswith(params["value"])]
    return {"resultType": "complete", "completion": {"values": values, "total": len(values), "hasMore": False}}


# The worker protocol

HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        test_simple_text,
        test_image_content,
        test_audio_content,
        test_embedded_resource,
        test_multiple_content_types,
        test_error_handling,
        test_tool_with_logging,
        test_tool_with_progress,
        test_missing_capability,
        test_streaming_elicitation,
        test_logging_tool,
        static_text,
        static_binary,
        template_data,
        simple_prompt,
        prompt_with_arguments,
        prompt_with_embedded_resource,
        prompt_with_image,
        complete_argument,
    )
}
OWN: dict[str, Result] = {
    "open": {"protocol": 1, "methods": ["ping", "reset"], "meta": True},
    "ping": {},
    "reset": {},  # nothing is ever kept
    "close": {},
}


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(number: int, method: str, params: Params) -> dict[str, Any]:
    if method in OWN:
        return {"result": OWN[method]}
    if method not in HANDLERS:
        return {"error": {"code": -32601, "message": f"This worker has no method {method!r}"}}

    def notify(name: str, facts: Params) -> None:
        write({"method": name, "params": {"id": number, **facts}})

    try:
        return {"result": HANDLERS[method](params, notify)}
    except Refusal as refusal:
        return {"error": refusal.error}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            write({"id": request["id"], **answer(request["id"], request["method"], request.get("params", {}))})


if __name__ == "__main__":
    main()
