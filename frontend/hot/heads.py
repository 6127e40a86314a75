"""The headers of a request: whether they are those of a plain call, and what they say of it.

A header that is wrong, doubled, or of no plain call at all makes the answer None; nothing is refused here.
"""

from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from frontend.auth import Caller, Gatekeeper
from frontend.config import Settings

BODY_BYTES_MAX = 64 * 1024
"""Larger bodies go the long way, which stops reading while it has as much as this."""

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, in the order in which they came."""

_HANDED_ON = frozenset({b"origin", b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"last-event-id"})
"""What takes more than a plain answer: a browser's page, a body in pieces, another protocol, a broken stream."""

_BASE64 = b"=?base64?"
"""How a name begins that no header could carry as it is."""


class Form(Enum):
    """How a request wants to be answered."""

    MODERN = "2026-07-28"
    STATELESS = "2025-11-25"
    """On an event stream, as that revision's clients without a conversation are."""
    CONVERSATION = "2025-11-25 in a conversation"

    @property
    def version(self) -> str:
        """The protocol's."""
        return self.value[:10]


class Head(NamedTuple):
    """What the headers say. `name`: the tool's, where the revision has it there. `conversation`: its handle."""

    form: Form
    caller: Caller
    length: int
    name: bytes = b""
    conversation: str = ""
    traceparent: str = ""


class Heads:
    """Reads headers as the SDK would, for the settings of this frontend."""

    def __init__(self, settings: Settings, gate: Gatekeeper) -> None:
        self._gate = gate
        self._conversations = settings.conversations
        self._most = min(BODY_BYTES_MAX, settings.request_bytes_max)
        hosts = tuple(settings.allowed_hosts)
        self._is_host = lru_cache(256)(lambda host: _is_allowed(host, hosts))

    def read(self, headers: Headers) -> Head | None:
        """None where the request has to go the long way."""
        found = dict(headers)
        if len(found) != len(headers) or not _HANDED_ON.isdisjoint(found):
            return None
        version = found.get(b"mcp-protocol-version")
        if version == b"2026-07-28":
            form, name, handle = Form.MODERN, _routed_name(found), b""
            if not name:
                return None
        elif version == b"2025-11-25":
            name, handle = b"", found.get(b"mcp-session-id", b"")
            form = Form.CONVERSATION if b"mcp-session-id" in found else Form.STATELESS
            if form is Form.CONVERSATION and not (self._conversations and handle and handle.isascii()):
                return None
        else:
            return None
        return self._admitted(found, headers, form, name, handle)

    def _admitted(
        self, found: dict[bytes, bytes], headers: Headers, form: Form, name: bytes, handle: bytes
    ) -> Head | None:
        length = found.get(b"content-length", b"")
        if not (_takes_both(found.get(b"accept", b"")) and _is_json(found.get(b"content-type", b""))):
            return None
        if not (length.isdigit() and int(length) <= self._most and self._is_host(found.get(b"host", b""))):
            return None
        caller = self._gate.admit(headers)
        if caller is None:
            return None
        trace = found.get(b"traceparent", b"")
        return Head(form, caller, int(length), name, handle.decode(), trace.decode("latin-1"))


def _routed_name(found: dict[bytes, bytes]) -> bytes:
    """The tool that a request was routed by; empty where the SDK has more to judge than that."""
    name = found.get(b"mcp-name", b"")
    if found.get(b"mcp-method") != b"tools/call" or not name.isascii() or name.startswith(_BASE64):
        return b""
    return name


@lru_cache(256)
def _takes_both(accept: bytes) -> bool:
    """Whether a client takes plain JSON and an event stream, whichever its answer becomes."""
    types = {each.strip().split(b";")[0].strip().lower() for each in accept.split(b",")}
    everything = b"*/*" in types
    json = everything or not types.isdisjoint({b"application/json", b"application/*"})
    return json and (everything or not types.isdisjoint({b"text/event-stream", b"text/*"}))


@lru_cache(256)
def _is_json(content_type: bytes) -> bool:
    return content_type == b"application/json" or content_type.startswith(b"application/json;")


def _is_allowed(host: bytes, allowed: tuple[str, ...]) -> bool:
    """The SDK's own rule: `HOST:*` is any port of it."""
    name = host.decode("latin-1")
    ports = tuple(each[:-1] for each in allowed if each.endswith(":*"))
    return bool(name) and (name in allowed or (bool(ports) and name.startswith(ports)))
