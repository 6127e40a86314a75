"""A call and its reply, in this program's own words."""

from collections.abc import Mapping
from dataclasses import dataclass

from frontend.auth import Caller
from frontend.operations import Operation


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation. `arguments`: a JSON object in UTF-8. `timeout_seconds`: how long the caller waits for it all."""

    operation: Operation
    arguments: bytes
    caller: Caller
    timeout_seconds: float
    request_id: str
    traceparent: str = ""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again although it may have been carried out already."""
        return self.operation.reads or self.operation.idempotent


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `body`: a JSON object in UTF-8; `content` marks MCP's own form, to be passed through."""

    body: bytes
    content: bool
    timing_ms: Mapping[str, float]


class Interrupted(Exception):
    """The stream ended, or stayed silent, under a call. `sent`: whether the call may have arrived."""

    def __init__(self, cause: str, sent: bool) -> None:
        super().__init__(cause)
        self.cause = cause
        self.sent = sent
