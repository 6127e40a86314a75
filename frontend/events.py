"""What comes back from a pooler: replies, what happens to a run, how it stands, what a conversation is told.

Plain values, made by `pooler_client` from the wire and read by everybody else. Nothing here decides anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from frontend.errors import PoolerError


class Reuse(NamedTuple):
    """How much of an answer is somebody else's. `state`: miss, hit, stale or joined.

    `age_ms`: how long ago the backend began to make it. `near_ms`: how long it may be given again to callers that are
    alike, unless one of its `tags` is invalidated or the stream that it came on ends; 0: not at all.
    """

    state: str
    age_ms: int
    near_ms: int
    tags: tuple[str, ...]


class Reply(NamedTuple):
    """What an operation answered. `body`: a JSON object in UTF-8.

    `content` marks MCP's own form, to be passed through. `asks` marks a call that is not done: the body has MCP's
    `inputRequests` and a sealed `requestState`.
    """

    body: bytes
    content: bool
    timing_ms: Mapping[str, float]
    asks: bool = False
    reuse: Reuse | None = None
    """None where answers of the operation are not shared."""


# What may happen to a run


@dataclass(frozen=True, slots=True)
class Accepted:
    """The run exists. `name`: its short name within its conversation. `note`: its starter's own."""

    run: str
    name: str
    note: bytes


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits for a connection; place 1 is next."""

    place: int
    of: int


@dataclass(frozen=True, slots=True)
class Starting:
    """It waits for a client of the backend to start. `remaining_ms` is 0 when nobody knows how long."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Working:
    """The backend works on it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is, in the worker's own unit or in rows. `total` is None when nobody knows."""

    progress: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Log:
    """A line that the worker wants its user to see. `level`: one of MCP's. `data`: JSON."""

    level: str
    logger: str
    data: bytes


@dataclass(frozen=True, slots=True)
class InputRequired:
    """It waits for its user. `requests`: MCP's `inputRequests`, a JSON object."""

    requests: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """The result, as a plain call would have answered it."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more will happen. `error` is None when it went well."""

    error: PoolerError | None
    timing_ms: Mapping[str, float]


Happening: TypeAlias = Accepted | Queued | Starting | Working | Progress | Log | InputRequired | Page | Done


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One happening; `seq` counts 1, 2, 3, … within its run."""

    seq: int
    what: Happening


class RunStatus(StrEnum):
    """How a run stands, in the words of MCP's tasks."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as it stands. Times are Unix times; `keep_ms` is how long it is kept after its end."""

    run: str
    operation: str
    status: RunStatus
    message: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    keep_ms: int = 0
    input_requests: bytes = b""
    """While input is required: MCP's `inputRequests` without those that have been answered."""
    reply: Reply | None = None
    """Once completed."""
    error: PoolerError | None = None
    """Once failed or cancelled."""
    note: bytes = b""


# Conversations


@dataclass(frozen=True, slots=True)
class Conversation:
    """The state of a client of the 2025-11-25 era. It ends after `idle_ms` without any use."""

    handle: str
    note: bytes = b""
    log_level: str = ""
    idle_ms: int = 0


@dataclass(frozen=True, slots=True)
class ResourceChanged:
    """A resource that somebody watches has changed; `uri` as it was asked for."""

    uri: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A resource to be watched: the operation that reads it, and with what. `arguments`: a JSON object."""

    uri: str
    operation: str
    arguments: bytes = field(default=b"{}")


# What a conversation's client says that is no request


@dataclass(frozen=True, slots=True)
class Answer:
    """To one of the requests of a run, by the run's short name. An empty `result` stands for an error."""

    run: str
    key: str
    result: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """Takes a request back, by the run's `request_key`."""

    request_key: str


@dataclass(frozen=True, slots=True)
class LogLevel:
    """From now on only log lines of this level and above."""

    level: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Tell of this resource's changes."""

    target: Watched


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Tell of them no more."""

    target: Watched


Delivery: TypeAlias = Answer | Cancel | LogLevel | Subscribe | Unsubscribe
