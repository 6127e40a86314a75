"""What is known of a conversation while one of its requests is answered: plain values, and how they are noted."""

from dataclasses import dataclass
from typing import Any, Self

import orjson
from mcp_types import DEFAULT_NEGOTIATED_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, is_version_at_least

from frontend.auth import Caller
from frontend.events import Conversation

RESUMABLE_SINCE = "2025-11-25"
"""Clients of older revisions do not read an event without data, which is what a stream opens with."""

LOG_LEVEL = "info"
"""For a client that has asked for none: the protocol leaves it to the server then."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation, and who is at its other end."""

    caller: Caller
    handle: str
    version: str
    """The protocol's, as it was negotiated."""
    log_level: str = LOG_LEVEL

    @classmethod
    def known(cls, caller: Caller, conversation: Conversation) -> Self:
        """One that the pooler has."""
        level = conversation.log_level or LOG_LEVEL
        return cls(caller, conversation.handle, _version_in(conversation.note), level)

    @classmethod
    def unconfirmed(cls, caller: Caller, handle: str, version: str | None) -> Self:
        """One that the pooler could not be asked for. `version`: what the client's header says."""
        return cls(caller, handle, version or DEFAULT_NEGOTIATED_VERSION)

    @property
    def opens_streams(self) -> bool:
        """Whether its streams open with a name from which they can be gone on with."""
        return is_version_at_least(self.version, RESUMABLE_SINCE)


def note_of(version: str, client: Any) -> bytes:
    """What is kept with a conversation. `client`: what it said of itself."""
    return orjson.dumps({"version": version, "client": client})


def _version_in(note: bytes) -> str:
    """As noted; a conversation that another program has opened speaks the oldest."""
    try:
        noted = orjson.loads(note)
    except orjson.JSONDecodeError:
        noted = None
    version = noted.get("version") if isinstance(noted, dict) else None
    return version if version in HANDSHAKE_PROTOCOL_VERSIONS else DEFAULT_NEGOTIATED_VERSION
