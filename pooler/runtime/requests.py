"""A call as it arrived from whatever kind of caller: plain values, before anything has been looked up or checked."""

from dataclasses import dataclass

from pooler.backends.base import Input
from pooler.core.slots import Priority


@dataclass(slots=True)
class Request:
    """A call as it arrived, never to be changed; but to have that enforced costs each call a microsecond and a half.

    Times in seconds from now.
    """

    operation: str
    arguments: bytes
    timeout_seconds: float
    tenant: str = "default"
    principal: str = "anonymous"
    priority: Priority = Priority.INTERACTIVE
    request_id: str = ""
    traceparent: str = ""
    input: Input | None = None
    """What the client can be asked, its user's answers, and the sealed state that they belong to; where any came."""
    first_page_only: bool = False
    """Whether nobody will go on with its result."""
    conversation: str = ""
    """The handle of the one that the call belongs to, or empty."""
