"""A request as the bytes that travel, and every part of it in a test's hand: what is left out, doubled or wrong, too.

Nothing here checks anything. A few words stand for what is known only when a request is sent; see `PLACES`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

PLACES = ("@host@", "@talk@", "@ended@", "@foreign@", "@token@", "@other@")
"""The frontend's address; a conversation, one that has ended, and another tenant's; and both tenants' tokens."""

MODERN, LEGACY, OLDEST = "2026-07-28", "2025-11-25", "2025-03-26"
ACCEPT = "application/json, text/event-stream"

Headers = tuple[tuple[str, str], ...]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `headers` are latin-1, as they are written; the body's length is added to them at the end."""

    headers: Headers
    body: bytes = b""
    method: str = "POST"
    target: str = "/mcp"
    version: str = "HTTP/1.1"
    framed: bool = True
    """Whether its length is said by a header of its own; otherwise the headers say it, or nothing does."""

    def raw(self) -> bytes:
        lines = [f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in self.headers)]
        if self.framed and (self.body or self.method == "POST"):
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    # The same, but for something

    def with_header(self, name: str, value: str) -> Self:
        """With this value of a header in the place of its own, or behind all others where it had none."""
        if not any(each.lower() == name.lower() for each, _ in self.headers):
            return self.and_header(name, value)
        same = tuple((each, value if each.lower() == name.lower() else its) for each, its in self.headers)
        return replace(self, headers=same)

    def and_header(self, name: str, value: str) -> Self:
        """With one more header, behind all others."""
        return replace(self, headers=(*self.headers, (name, value)))

    def without(self, name: str) -> Self:
        return replace(self, headers=tuple(each for each in self.headers if each[0].lower() != name.lower()))

    def renamed(self, name: str, spelt: str) -> Self:
        """With a header's name spelt otherwise."""
        headers = tuple((spelt if each.lower() == name.lower() else each, its) for each, its in self.headers)
        return replace(self, headers=headers)

    def with_body(self, body: bytes | str) -> Self:
        return replace(self, body=body.encode() if isinstance(body, str) else body)

    def chunked(self, *sizes: int) -> Self:
        """With its body in chunks of these sizes, and the rest in one."""
        chunks, at = [], 0
        for size in sizes:
            chunks.append(self.body[at : at + size])
            at += size
        chunks.append(self.body[at:])
        framed = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks if each) + b"0\r\n\r\n"
        return replace(self.and_header("transfer-encoding", "chunked"), body=framed, framed=False)


def filled(raw: bytes, places: Mapping[str, str]) -> bytes:
    """A request on its way: with what the places in it stand for."""
    for name, value in places.items():
        raw = raw.replace(name.encode(), value.encode())
    return raw


def modern_meta(**more: Any) -> Json:
    """What each request of 2026-07-28 says of its client."""
    own = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return own | more


def message(method: str, params: Any, number: Any = 1) -> Json:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def modern(name: str, arguments: Any = None, number: Any = 1, meta: Json | None = None, **params: Any) -> Request:
    """A `tools/call` of 2026-07-28."""
    given = {"name": name, "arguments": arguments or {}, **params, "_meta": modern_meta() if meta is None else meta}
    return modern_message(message("tools/call", given, number), name)


def modern_message(said: Json, name: str = "") -> Request:
    """Any message of 2026-07-28, with the headers that belong to it."""
    routing = [("mcp-protocol-version", MODERN), ("mcp-method", said.get("method", ""))]
    return _post([*routing, *([("mcp-name", name)] if name else [])], said)


def legacy(
    name: str, arguments: Any = None, number: Any = 1, version: str = LEGACY, talk: str = "", **params: Any
) -> Request:
    """A `tools/call` of the era before. `version`: empty for no header. `talk`: the conversation that it belongs to."""
    given = {"name": name, "arguments": arguments or {}, **params}
    return legacy_message(message("tools/call", given, number), version, talk)


def legacy_message(said: Json, version: str = LEGACY, talk: str = "") -> Request:
    """Any message of that era."""
    named = [("mcp-protocol-version", version)] if version else []
    return _post([*named, *([("mcp-session-id", talk)] if talk else [])], said)


def _post(headers: Iterable[tuple[str, str]], said: Json) -> Request:
    fixed = [("host", "@host@"), ("accept", ACCEPT), ("content-type", "application/json")]
    return Request((*fixed, *headers), json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode())
