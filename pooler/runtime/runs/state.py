"""How a run stands, as a value: for whoever looks at it without following it. Nothing here changes a run."""

from dataclasses import dataclass
from enum import StrEnum

from pooler.errors import Fault, Reason
from pooler.runtime.runs.happenings import Asked, Done, Happening, Page, Progress, Queued, Starting


class RunStatus(StrEnum):
    """The words of MCP's tasks."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as it stands. Times are Unix times in seconds; `keep_seconds` count from its end."""

    handle: str
    operation: str
    status: RunStatus
    message: str
    """What is happening, in a few words for people; may be empty."""
    created_at: float
    updated_at: float
    keep_seconds: float
    note: bytes
    requests: bytes = b""
    """While input is required: MCP's `inputRequests`, those that have no answer yet."""
    page: Page | None = None
    """Once completed."""
    fault: Fault | None = None
    """Once failed or cancelled."""


def status(done: Done | None, asking: bool) -> RunStatus:
    """The status of a run that has ended so, or has not."""
    if done is None:
        return RunStatus.INPUT_REQUIRED if asking else RunStatus.WORKING
    if done.fault is None:
        return RunStatus.COMPLETED
    return RunStatus.CANCELLED if done.fault.reason is Reason.CANCELLED else RunStatus.FAILED


def words(what: Happening | None) -> str:
    """What is happening, in a few words for people."""
    match what:
        case Queued(1, _):
            return "queued, next in line"
        case Queued(place, _):
            return f"queued, {place - 1} ahead"
        case Starting(seconds):
            return f"starting a client, about {seconds:.0f} s" if seconds >= 1 else "starting a client"
        case Progress(progress, total, message):
            return message or (f"{progress:g} of {total:g}" if total is not None else f"{progress:g}")
        case Asked():
            return "waiting for input"
        case Done(Fault() as fault):
            return fault.message
        case _:
            return ""
