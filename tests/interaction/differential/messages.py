"""Bodies that are no plain call: what is no JSON, no JSON-RPC, another method, or more than a plain call."""

import json
from typing import Any

from tests.interaction.differential.case import ERAS, STATELESS_ERAS, Calls, Case, Cases, one
from tests.interaction.differential.request import (
    Request,
    legacy_message,
    message,
    modern,
    modern_message,
    modern_meta,
)

PREFIX = "io.modelcontextprotocol/"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def nested(depth: int) -> Any:
    """An object in an object in an object."""
    return {"in": nested(depth - 1)} if depth else {}


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n\t ",
    "a word": b"hello",
    "an open object": b"{",
    "an open text": b'{"jsonrpc":"2.0","id":1,"method":"tools/call',
    "null": b"null",
    "a number": b"7",
    "a text": b'"tools/call"',
    "an empty list": b"[]",
    "an empty object": b"{}",
    "two objects": b'{"jsonrpc":"2.0","id":1,"method":"ping"}{}',
    "zeros": b"\0\0\0\0",
    "bytes that are no text": b"\xff\xfe\xfd",
    "a response": b'{"jsonrpc":"2.0","id":1,"result":{}}',
    "an error": b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}',
    "a response to nothing": b'{"jsonrpc":"2.0","id":null,"result":{}}',
}
IDS: dict[str, str] = {
    "a text": '"a"',
    "an empty text": '""',
    "a text beyond latin": '"\u6771\u4eac \U0001f6b0"',
    "a text of quotes": '"\\"\\\\\\n\\u0000"',
    "half a pair": '"\\ud800"',
    "a text like a number": '"1"',
    "zero": "0",
    "minus one": "-1",
    "minus zero": "-0",
    "the largest exact": "9007199254740992",
    "beyond 64 bits": "18446744073709551616",
    "huge": "1" * 100,
    "of too many digits": "1" * 5000,
    "a fraction": "1.5",
    "a whole fraction": "1.0",
    "an exponent": "1e3",
    "null": "null",
    "true": "true",
    "a list": "[1]",
    "an object": '{"a":1}',
    "not a number": "NaN",
    "long": json.dumps("x" * 2000),
}
ENVELOPES: dict[str, tuple[bytes, bytes]] = {
    "another version": (b'"jsonrpc":"2.0"', b'"jsonrpc":"1.0"'),
    "a version that is a number": (b'"jsonrpc":"2.0"', b'"jsonrpc":2.0'),
    "no version": (b'"jsonrpc":"2.0",', b""),
    "no id": (b'"id":1,', b""),
    "an id twice": (b'"id":1,', b'"id":1,"id":2,'),
    "a method twice": (b'"method":"tools/call",', b'"method":"tools/list","method":"tools/call",'),
    "the other method last": (b'"method":"tools/call",', b'"method":"tools/call","method":"tools/list",'),
    "no method": (b'"method":"tools/call",', b""),
    "a method that is a number": (b'"method":"tools/call"', b'"method":7'),
    "an escaped method": (b'"method":"tools/call"', b'"method":"tools\\/call"'),
    "another method": (b'"method":"tools/call"', b'"method":"tools/Call"'),
    "a method of nobody": (b'"method":"tools/call"', b'"method":"nope"'),
    "escaped keys": (b'"method"', b'"\\u006dethod"'),
    "more keys": (b'"id":1,', b'"id":1,"more":{"a":[1]},'),
    "a result beside": (b'"id":1,', b'"id":1,"result":{},'),
    "an error beside": (b'"id":1,', b'"id":1,"error":{"code":1,"message":"x"},'),
    "params twice": (b'"params":', b'"params":{},"params":'),
    "no params": (b'"params":', b'"other":'),
    "arguments twice": (b'"arguments":', b'"arguments":{"value":0},"arguments":'),
    "a name twice": (b'"name":"echo",', b'"name":"nope","name":"echo",'),
    "another name last": (b'"name":"echo",', b'"name":"echo","name":"write",'),
    "an escaped name": (b'"name":"echo"', b'"name":"\\u0065cho"'),
    "NaN beside": (b'"id":1,', b'"id":1,"more":NaN,'),
    "half a pair beside": (b'"id":1,', b'"id":1,"more":"\\ud800",'),
    "a huge number beside": (b'"id":1,', b'"id":1,"more":1e999,'),
    "a zero byte beside": (b'"id":1,', b'"id":1,\0'),
    "no text beside": (b'"id":1,', b'"id":1,"more":"\xff",'),
    "half a character beside": (b'"id":1,', b'"id":1,"more":"\xe6\x9d",'),
    "a surrogate in UTF-8": (b'"id":1,', b'"id":1,"more":"\xed\xa0\x80",'),
    "deep beside": (b'"id":1,', b'"id":1,"more":' + b"[" * 3000 + b"]" * 3000 + b","),
    "a task": (b'"arguments":', b'"task":{"ttl":1000},"arguments":'),
    "a task that is none": (b'"arguments":', b'"task":7,"arguments":'),
    "an empty task": (b'"arguments":', b'"task":{},"arguments":'),
    "null for a task": (b'"arguments":', b'"task":null,"arguments":'),
    "answers": (b'"arguments":', b'"inputResponses":{"a":{"action":"accept"}},"arguments":'),
    "no answers": (b'"arguments":', b'"inputResponses":{},"arguments":'),
    "null for answers": (b'"arguments":', b'"inputResponses":null,"arguments":'),
    "answers that are none": (b'"arguments":', b'"inputResponses":[],"arguments":'),
    "an empty state": (b'"arguments":', b'"requestState":"","arguments":'),
    "null for a state": (b'"arguments":', b'"requestState":null,"arguments":'),
    "a number for a state": (b'"arguments":', b'"requestState":5,"arguments":'),
    "more params": (b'"arguments":', b'"more":{"a":1},"arguments":'),
    "a cursor among params": (b'"arguments":', b'"cursor":"x","arguments":'),
}
DEEPER_THAN_IS_WRITTEN = 300
"""How deep a `_meta` is that the short way's parser reads, and does not write again."""

METAS: dict[str, Any] = {
    "nothing": {},
    "a progress token": {"progressToken": "t"},
    "a progress token that is a number": {"progressToken": 0},
    "a progress token that is none": {"progressToken": 1.5},
    "a progress token that is true": {"progressToken": True},
    "null for a progress token": {"progressToken": None},
    "an empty progress token": {"progressToken": ""},
    "a trace": {"traceparent": TRACE},
    "a trace that is none": {"traceparent": "x"},
    "a trace that is a number": {"traceparent": 7},
    "null for a trace": {"traceparent": None},
    "more": {"example.com/more": {"a": [1]}},
    "a level": {f"{PREFIX}logLevel": "debug"},
    "a level that is none": {f"{PREFIX}logLevel": "loud"},
    "null for a level": {f"{PREFIX}logLevel": None},
    "who it is": {f"{PREFIX}clientInfo": {"name": "x", "version": "1"}},
    "who it is not": {f"{PREFIX}clientInfo": {"name": 5}},
    "null for who it is": {f"{PREFIX}clientInfo": None},
    "capabilities": {f"{PREFIX}clientCapabilities": {"elicitation": {}, "sampling": {}}},
    "tasks": {f"{PREFIX}clientCapabilities": {"extensions": {f"{PREFIX}tasks": {}}}},
    "capabilities that are none": {f"{PREFIX}clientCapabilities": []},
    "capabilities of wrong types": {f"{PREFIX}clientCapabilities": {"elicitation": 5}},
    "unknown capabilities": {f"{PREFIX}clientCapabilities": {"telepathy": {}}},
    "deep capabilities": {f"{PREFIX}clientCapabilities": {"experimental": {"x": nested(DEEPER_THAN_IS_WRITTEN)}}},
    "null for capabilities": {f"{PREFIX}clientCapabilities": None},
    "another version": {f"{PREFIX}protocolVersion": "2025-11-25"},
    "a version that is none": {f"{PREFIX}protocolVersion": "x"},
    "a version that is a number": {f"{PREFIX}protocolVersion": 5},
    "null for a version": {f"{PREFIX}protocolVersion": None},
    "a related task": {f"{PREFIX}related-task": {"taskId": "x"}},
}
OTHER_MESSAGES: dict[str, Any] = {
    "ping": {},
    "initialize": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
    "server/discover": {},
    "tools/list": {},
    "resources/list": {},
    "resources/templates/list": {},
    "prompts/list": {},
    "resources/read": {"uri": "echo://x"},
    "prompts/get": {"name": "greet", "arguments": {"name": "x"}},
    "completion/complete": {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": ""}},
    "logging/setLevel": {"level": "info"},
    "tasks/get": {"taskId": "none"},
    "nope": {},
}


def bodies() -> Cases:
    for era, call in ERAS.items():
        for kind, body in BODIES.items():
            yield one(f"{era}: {kind} for a body", call("echo").with_body(body), hot=False)
        request = call("echo", {"value": 1})
        text = request.body.decode()
        for kind, written in (
            ("a batch", f"[{text}]"), ("two in a batch", f"[{text},{text}]"), ("a text of it", json.dumps(text)),
            ("a mark before it", "\ufeff" + text), ("white space around it", f" \r\n\t{text}\n "),
            ("something behind it", text + "x"), ("a zero behind it", text + "\0"), ("two of it", text + text),
            ("half of it", text[: len(text) // 2]), ("UTF-16", text.encode("utf-16")),
            ("UTF-32", text.encode("utf-32")),
            ("UTF-16 without a mark", text.encode("utf-16-le")),
        ):  # fmt: skip
            yield one(f"{era}: {kind}", request.with_body(written))


def ids() -> Cases:
    for era, call in ERAS.items():
        for kind, text in IDS.items():
            request = call("echo", {"value": 1})
            body = request.body.replace(b'"id":1', b'"id":' + text.encode())
            yield one(f"{era}: {kind} for an id", request.with_body(body))


def envelopes() -> Cases:
    for era, call in ERAS.items():
        for kind, (right, wrong) in ENVELOPES.items():
            request = call("echo", {"value": 1})
            body = request.body.replace(right, wrong, 1)
            assert body != request.body, kind
            yield one(f"{era}: {kind}", request.with_body(body))
        for kind, params in (("a list", []), ("null", None), ("a text", "x"), ("an empty object", {})):
            said = json.loads(call("echo", {"value": 1}).body) | {"params": params}
            yield one(f"{era}: {kind} for params", call("echo").with_body(json.dumps(said)), hot=False)


def metas() -> Cases:
    for kind, meta in METAS.items():
        for name in ("echo", "explain", "long"):
            yield one(f"modern: {kind} in _meta ({name})", modern(name, {"value": 1}, meta=modern_meta(**meta)))
            for era in ("legacy", "conversation"):
                yield one(f"{era}: {kind} in _meta ({name})", ERAS[era](name, {"value": 1}, _meta=meta))
    for key in ("protocolVersion", "clientCapabilities"):
        meta = modern_meta()
        del meta[PREFIX + key]
        yield one(f"modern: no {key}", modern("echo", {"value": 1}, meta=meta), hot=False)
    for era, call in ERAS.items():
        for kind, text in (("null", b"null"), ("a list", b"[]"), ("a text", b'"x"'), ("a number", b"1")):
            yield one(f"{era}: {kind} for what it says of itself", _meta_as(call, text))


def others() -> Cases:
    """Other methods, told right and told wrong, and messages that are no requests."""
    for method, params in OTHER_MESSAGES.items():
        name = params.get("name") or params.get("uri") or ""
        told = modern_message(message(method, params | {"_meta": modern_meta()}), name)
        yield one(f"modern: {method}", told, hot=False)
        yield one(f"modern: {method} for a call", told.with_header("mcp-method", "tools/call"), hot=False)
        for talk in ("", "@talk@"):
            if not (talk and method == "initialize"):
                era = "conversation" if talk else "legacy"
                yield one(f"{era}: {method}", legacy_message(message(method, params), talk=talk), hot=False)
    for method in ("notifications/initialized", "notifications/cancelled", "tools/call", "nope"):
        said = {"jsonrpc": "2.0", "method": method, "params": {"_meta": modern_meta(), "requestId": 5}}
        yield one(f"modern: {method} without an id", modern_message(said), hot=False)
        for talk in ("", "@talk@"):
            era = "conversation" if talk else "legacy"
            yield one(f"{era}: {method} without an id", legacy_message(said, talk=talk), hot=False)


def sizes() -> Cases:
    """Around the largest body that a frontend takes, and results around the largest that it passes on."""
    for era, call in STATELESS_ERAS.items():
        for more in (-1, 0, 1, 1000):
            empty = call("echo", {"value": ""}).and_header("authorization", "Bearer @token@")
            full = empty.with_body(empty.body.replace(b'""', b'"' + b"x" * (2048 + more - len(empty.body)) + b'"'))
            yield one(f"{era}: a body of the bound and {more}", full, settings=("guarded",))
            yield one(
                f"{era}: a body of the bound and {more}, in chunks", full.chunked(100, 500), settings=("guarded",)
            )


def _meta_as(call: Calls, text: bytes) -> Request:
    request = call("echo", {"value": 1})
    if b'"_meta":' not in request.body:
        return request.with_body(request.body.replace(b'"arguments":', b'"_meta":' + text + b',"arguments":'))
    at = request.body.index(b'"_meta":') + len(b'"_meta":')
    return request.with_body(request.body[:at] + text + b"}}")


def all_messages() -> list[Case]:
    families = (bodies, ids, envelopes, metas, others, sizes)
    return [case for family in families for case in family()]
