"""What a failed call means: what its caller is told, a sentence and facts to act on, and what it leaves behind."""

from pooler.backends.base import Failure, FailureKind, Traits
from pooler.core.actions import Refuse
from pooler.core.rules import Fate
from pooler.errors import Fault, Reason
from pooler.runtime.turns import Turn

LOST = frozenset({FailureKind.DEAD, FailureKind.SESSION_LOST})

FATES = {
    FailureKind.DEAD: Fate.DEAD,
    FailureKind.SESSION_LOST: Fate.BROKEN,
    FailureKind.AUTH: Fate.BROKEN,
    FailureKind.LIMIT: Fate.BROKEN,
    FailureKind.BUG: Fate.BROKEN,
}
"""What a failed request leaves of its connection; the kinds that are not here leave it sound, but to be reset."""


def worth_another_try(turn: Turn, failure: Failure, traits: Traits) -> bool:
    """Whether a call lost its connection through no doing of its own: once, and never a write that has begun.

    A worker process has a fate of its own, so a request that it died of would kill the next one too.
    """
    harmless = not failure.started or (turn.read and traits.fate == "shared")
    return failure.kind in LOST and harmless and not turn.retried and turn.deliver is not None


def refused(backend: str, refusal: Refuse, waited_seconds: float) -> Fault:
    """A call that got no connection; no work was started for it."""
    metadata = {"backend": backend}
    if refusal.retry_after_seconds is not None:
        metadata["retry_after_ms"] = str(max(1, round(refusal.retry_after_seconds * 1000)))
    return Fault(refusal.reason, _refusal_sentence(backend, refusal, waited_seconds), metadata)


def _refusal_sentence(backend: str, refusal: Refuse, waited: float) -> str:
    words = f" The backend said: {refusal.words}" if refusal.words else ""
    match refusal.reason:
        case Reason.QUEUE_FULL:
            retry = refusal.retry_after_seconds or 0.0
            return f"The queue of backend {backend} is full. Try again in {retry:.1f} s."
        case Reason.QUEUE_TIMEOUT:
            return f"Waited {waited:.1f} s for a connection to backend {backend}; none became free in time.{words}"
        case Reason.START_TIMEOUT:
            return f"Waited {waited:.1f} s for a client of backend {backend} to start; it was not ready in time.{words}"
        case Reason.SHED:
            return (
                f"After {waited:.1f} s in the queue of backend {backend} there was too little time left for the work, "
                "so it was not begun. Try again with a longer time-out, or later."
            )
        case Reason.PAUSED:
            return f"Backend {backend} is paused for maintenance; waited {waited:.1f} s. Try again later."
        case Reason.KILLED:
            return f"The call was ended by an administrator of backend {backend} before its work began."
        case Reason.START_FAILED:
            return f"Backend {backend} cannot be reached: no client could be started.{words}"
        case _:
            return f"Backend {backend} is being shut down and takes no new calls."


def interrupted(backend: str, operation: str, reason: Reason, read: bool) -> Fault:
    """Running work that was stopped from outside: by its caller, an administrator, or the end of the pooler's grace."""
    if reason is not Reason.KILLED:
        sentence = f"Operation {operation} on backend {backend} was cancelled."
        return Fault(Reason.CANCELLED, sentence, {"backend": backend})
    sentence = f"Operation {operation} was ended by an administrator of backend {backend}.{_unknown(read)}"
    return Fault(Reason.KILLED, sentence, {"backend": backend})


def slow(backend: str, operation: str, seconds: float, read: bool) -> Fault:
    """The work outlived its bound, and has been cancelled."""
    sentence = f"Operation {operation} on backend {backend} took longer than {seconds:g} s and was cancelled."
    return Fault(Reason.WORK_TIMEOUT, sentence + _unknown(read), {"backend": backend})


def _unknown(read: bool) -> str:
    return "" if read else " It may have taken effect nevertheless: check before you repeat it."


def failed(backend: str, operation: str, failure: Failure, read: bool) -> Fault:
    """The backend answered with a failure, or could no longer answer."""
    metadata = {"backend": backend}
    if failure.protocol is not None:
        metadata["mcp_code"] = str(failure.protocol.code)
        if failure.protocol.data is not None:
            metadata["mcp_data"] = failure.protocol.data.decode()
        return Fault(Reason.PROTOCOL, failure.message, metadata)
    if failure.kind in LOST and not read:
        sentence = (
            f"The connection to backend {backend} broke during {operation}: {failure.message}. "
            "Whether it took effect is unknown: check before you repeat it."
        )
        return Fault(Reason.OUTCOME_UNKNOWN, sentence, metadata)
    reason, sentence = _failure_sentence(backend, operation, failure)
    return Fault(reason, sentence, metadata)


def _failure_sentence(backend: str, operation: str, failure: Failure) -> tuple[Reason, str]:
    said = failure.message
    match failure.kind:
        case FailureKind.USER_ERROR:
            return Reason.REFUSED, f"Backend {backend} refused {operation}: {said}"
        case FailureKind.BUSY_RETRY:
            return Reason.BUSY, f"Backend {backend} was busy, nothing happened; try {operation} again: {said}"
        case FailureKind.TOO_LARGE:
            return Reason.RESULT_TOO_LARGE, f"The answer of {operation} on backend {backend} is too large: {said}"
        case FailureKind.TIMEOUT | FailureKind.CANCELLED:
            return Reason.WORK_TIMEOUT, f"Backend {backend} stopped {operation}: {said}"
        case FailureKind.DEAD | FailureKind.SESSION_LOST:
            return Reason.CONNECTION_LOST, f"The connection to backend {backend} broke during {operation}: {said}"
        case FailureKind.AUTH | FailureKind.LIMIT:
            return Reason.START_FAILED, f"Backend {backend} does not let us in: {said}"
        case _:
            return Reason.INTERNAL, f"Operation {operation} on backend {backend} failed by a defect: {said}"
