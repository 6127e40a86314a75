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
"""Declarations of capabilities that are remembered: as many kinds of clients as one frontend is likely to see."""

_MESSAGE = frozenset({"jsonrpc", "id", "method", "params"})
_PARAMS = frozenset({"name", "arguments", "_meta"})
_TRACE = frozenset({"traceparent", "tracestate", "baggage"})
_MODERN = _TRACE | {VERSION, CAPABILITIES, CLIENT}
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


class Message(NamedTuple):
    """A plain call. `id`, `capabilities` and `arguments`: JSON. `trace`: whatever `_meta` has for a traceparent."""

    id: bytes
    name: str
    arguments: dict[str, Any]
    capabilities: bytes
    trace: Any


class Messages:
    """Reads bodies, and remembers which capabilities have been found sound."""

    def __init__(self) -> None:
        self._known: set[bytes] = {b"{}"}

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
        # The long way's parser knows integers of any size.
        if _LONG_NUMBER.search(body) is not None or (id_ := _id(message["id"])) is None:
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
        if type(meta) is not dict or not meta.keys() <= _MODERN or meta.get(VERSION) != form.value:
            return None
        if CLIENT in meta and not _is_client(meta[CLIENT]):
            return None
        declared = meta.get(CAPABILITIES)
        packed = orjson.dumps(declared)
        if packed not in self._known:
            if not _is_sound(declared):
                return None
            if len(self._known) < KNOWN_MAX:
                self._known.add(packed)
        return packed if declared else b""


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
