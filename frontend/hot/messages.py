"""A body as a plain `tools/call`: every member of it is one that is known to be harmless, or it is none.

Stricter than the protocol on purpose: what is unusual but sound has the same answer from the long way.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from frontend.hot.heads import Form

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"

KNOWN_MAX = 256
"""What so many kinds of clients say of themselves is remembered, each in so many bytes at most: more than are seen."""
KNOWN_BYTES_MAX = 4096

_MESSAGE = frozenset({"jsonrpc", "id", "method", "params"})
_PARAMS = frozenset({"name", "arguments", "_meta"})
_TRACE = frozenset({"traceparent", "tracestate", "baggage"})
_MODERN = frozenset({VERSION, CAPABILITIES, CLIENT})
_CLIENT = frozenset({"name", "version", "title", "description", "websiteUrl"})
_PARTS: Mapping[str, frozenset[str] | None] = {
    "elicitation": frozenset({"form", "url"}),
    "sampling": frozenset({"tools", "context"}),
    "roots": frozenset(),
    "extensions": None,
    "experimental": None,
}
"""By capability, which parts it may have, each an object; None: any."""

_LONG_NUMBER = re.compile(rb"[0-9]{18}")
"""Digits that may be an integer beyond 64 bits, which the parser here would take for a rounded one."""

_DEPTH_MAX = 64
"""How many objects and arrays a body may have before its depth is the long way's to judge."""

_EXACT = frozenset({str, int, bool, type(None)})
"""What is read the same by every parser."""


class Message(NamedTuple):
    """A plain call. `id`, `capabilities` and `arguments`: JSON. `trace`: whatever `_meta` has for a traceparent."""

    id: bytes
    name: str
    arguments: dict[str, Any]
    capabilities: bytes
    trace: Any


class Messages:
    """Reads bodies, and remembers what clients say of themselves with each."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def read(self, body: bytes, form: Form) -> Message | None:
        """None where the request has to go the long way."""
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if type(message) is not dict or message.keys() != _MESSAGE:
            return None
        params = message["params"]
        if message["jsonrpc"] != "2.0" or message["method"] != "tools/call" or type(params) is not dict:
            return None
        name, arguments = params.get("name"), params.get("arguments", {})
        if type(name) is not str or type(arguments) is not dict or not params.keys() <= _PARAMS:
            return None
        if (id_ := _id(message["id"])) is None or not _is_exact(arguments, body):
            return None
        meta = params.get("_meta")
        capabilities = self._capabilities(meta, form)
        if capabilities is None:
            return None
        return Message(id_, name, arguments, capabilities, meta.get("traceparent") if meta else None)

    def _capabilities(self, meta: Any, form: Form) -> bytes | None:
        """What the client says that it can, empty where it says nothing; None for a `_meta` that is not plain."""
        if form is not Form.MODERN:
            return b"" if meta is None or (type(meta) is dict and meta.keys() <= _TRACE) else None
        if type(meta) is not dict:
            return None
        if not _TRACE.isdisjoint(meta):
            meta = {name: value for name, value in meta.items() if name not in _TRACE}
        try:
            said = orjson.dumps(meta)
        except orjson.JSONEncodeError:  # deeper than it writes, though not than it reads
            return None
        known = self._known.get(said)
        if known is None:
            known = _declared(meta)
            if known is not None and len(self._known) < KNOWN_MAX and len(said) <= KNOWN_BYTES_MAX:
                self._known[said] = known
        return known


def _declared(meta: dict[str, Any]) -> bytes | None:
    """The capabilities in a `_meta` of this revision, empty where there are none; None where it is not plain."""
    declared = meta.get(CAPABILITIES)
    if not meta.keys() <= _MODERN or meta.get(VERSION) != Form.MODERN.value or not _is_sound(declared):
        return None
    if (CLIENT in meta and not _is_client(meta[CLIENT])) or _has_float(declared):
        return None
    return orjson.dumps(declared) if declared else b""


def _has_float(value: Any) -> bool:
    """Whether a number in it may be a rounded one. An array is taken for one that has: no capability needs any."""
    return type(value) in (float, list) or (type(value) is dict and any(map(_has_float, value.values())))


def _is_exact(arguments: dict[str, Any], body: bytes) -> bool:
    """Whether every parser reads the same: the long way's knows integers of any size, and has another idea of depth."""
    if _EXACT.issuperset(map(type, arguments.values())):
        return True
    return _LONG_NUMBER.search(body) is None and body.count(b"{") + body.count(b"[") <= _DEPTH_MAX


def _id(given: Any) -> bytes | None:
    """As JSON; None for what is no id."""
    if type(given) is int:
        return b"%d" % given
    return orjson.dumps(given) if type(given) is str else None


def _is_client(client: Any) -> bool:
    return (
        type(client) is dict
        and client.keys() >= {"name", "version"}
        and client.keys() <= _CLIENT
        and all(type(value) is str for value in client.values())
    )


def _is_sound(declared: Any) -> bool:
    """Whether all that is declared is known, and of the form that it has to be."""
    if type(declared) is not dict or not declared.keys() <= _PARTS.keys():
        return False
    for name, parts in declared.items():
        if type(parts) is not dict or not all(type(part) is dict for part in parts.values()):
            return False
        allowed = _PARTS[name]
        if allowed is not None and not parts.keys() <= allowed:
            return False
    return True
