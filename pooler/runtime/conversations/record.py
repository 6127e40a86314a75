"""What is kept of a conversation from one process to the next: plain values, and the same as bytes for the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import orjson

from pooler.errors import Fault, Reason

CAPABILITIES_BYTES_MAX = 65_536
TARGET_BYTES_MAX = 16_384
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""MCP's."""


class Target(NamedTuple):
    """A resource to be watched: the name by which changes are told, the operation that reads it, and with what."""

    uri: str
    operation: str
    arguments: bytes = b""
    """A JSON object, or empty."""

    def check(self) -> Self:
        """Itself, where it can be kept. Raises Fault."""
        size = len(self.uri) + len(self.operation) + len(self.arguments)
        if not self.uri or size > TARGET_BYTES_MAX:
            sentence = f"A subscription needs a URI, and takes at most {TARGET_BYTES_MAX} bytes; this one has {size}."
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)
        _check_object(self.arguments, "The arguments of a subscription")
        return self


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation's. Times are Unix time, in seconds."""

    tenant: str
    principal: str
    opened_at: float
    used_at: float
    capabilities: bytes = b""
    """MCP's `clientCapabilities`, or empty."""
    log_level: str = ""
    """One of MCP's, or empty."""
    subscriptions: Mapping[str, Target] = field(default_factory=dict)
    """By their URIs."""

    def check(self) -> Self:
        """Itself, where it can be kept. Raises Fault."""
        if len(self.capabilities) > CAPABILITIES_BYTES_MAX:
            sentence = (
                f"client_capabilities takes at most {CAPABILITIES_BYTES_MAX} bytes, not {len(self.capabilities)}."
            )
            raise Fault(Reason.INVALID_ARGUMENTS, sentence)
        _check_object(self.capabilities, "client_capabilities")
        return self

    def used(self, at: float) -> Self:
        return replace(self, used_at=at)

    def with_log_level(self, level: str) -> Self:
        """The same, with another level. Raises Fault for one that MCP does not know."""
        if level not in LOG_LEVELS:
            raise Fault(
                Reason.INVALID_ARGUMENTS, f"There is no log level {level[:40]!r}; known are {', '.join(LOG_LEVELS)}."
            )
        return replace(self, log_level=level)

    def with_subscription(self, target: Target) -> Self:
        """The same, with one more. Raises Fault for one that cannot be kept."""
        return replace(self, subscriptions={**self.subscriptions, target.uri: target.check()})

    def without_subscription(self, uri: str) -> Self:
        """The same, without it."""
        return replace(self, subscriptions={key: kept for key, kept in self.subscriptions.items() if key != uri})

    def pack(self) -> bytes:
        """The record as bytes."""
        targets = [(uri, operation, arguments.decode()) for uri, operation, arguments in self.subscriptions.values()]
        return orjson.dumps(
            {
                "tenant": self.tenant,
                "principal": self.principal,
                "opened_at": self.opened_at,
                "used_at": self.used_at,
                "capabilities": self.capabilities.decode(),
                "log_level": self.log_level,
                "subscriptions": targets,
            }
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What `pack` made bytes of. Raises ValueError, TypeError or KeyError for anything else."""
        facts: dict[str, Any] = orjson.loads(data)
        targets = [Target(uri, operation, text.encode()) for uri, operation, text in facts["subscriptions"]]
        facts["subscriptions"] = {target.uri: target for target in targets}
        facts["capabilities"] = facts["capabilities"].encode()
        return cls(**facts)


def _check_object(body: bytes, what: str) -> None:
    """Refuses what is no JSON object; nothing at all is fine."""
    try:
        sound = not body or isinstance(orjson.loads(body), dict)
    except ValueError:
        sound = False
    if not sound:
        raise Fault(Reason.INVALID_ARGUMENTS, f"{what} must be a JSON object, or left out.")
