"""What a caller is told whose session does not take a call: one sentence each, which says what became of its work."""

from dataclasses import dataclass

from pooler.backends.base import Failure, FailureKind
from pooler.core.sessions import Ending, Tools
from pooler.errors import Fault, Reason
from pooler.runtime import faults
from pooler.runtime.turns import Turn

_ENDINGS = {
    Ending.COMMITTED: "was committed",
    Ending.ROLLED_BACK: "was rolled back as its caller asked",
    Ending.NOT_COMMITTED: "was rolled back, because its commit was refused",
    Ending.IDLED: "was not used for too long and has been rolled back",
    Ending.OUTLIVED: "had lasted as long as a session may and has been rolled back",
    Ending.LOST: "was rolled back with the end of its connection",
    Ending.KILLED: "was ended by an administrator and rolled back",
    Ending.DRAINED: "was rolled back, because its backend is being shut down",
    Ending.LEFT: "was rolled back with the end of the conversation that it belonged to",
    Ending.UNKNOWN: "ended with a commit of which nobody knows whether it took effect: check before you repeat it",
}
_ENDINGS_WITHOUT_TRANSACTION = {
    Ending.ROLLED_BACK: "was closed as its caller asked",
    Ending.IDLED: "was not used for too long and has been closed",
    Ending.OUTLIVED: "had lasted as long as a session may and has been closed",
    Ending.LOST: "ended with its connection",
    Ending.KILLED: "was ended by an administrator",
    Ending.DRAINED: "was closed, because its backend is being shut down",
    Ending.LEFT: "was closed with the end of the conversation that it belonged to",
}


def restarted() -> Fault:
    """Its pooler has come back without it."""
    return Fault(
        Reason.HANDLE_LOST,
        "The pooler has been restarted since this session began: it is over, and what it had not committed is rolled "
        "back. Begin another one.",
    )


@dataclass(frozen=True, slots=True)
class Sentences:
    """What callers of one backend's sessions are told."""

    backend: str
    tools: Tools
    transactional: bool

    def in_use(self) -> Fault:
        """Two calls at once."""
        return self._fault(
            Reason.SESSION_IN_USE,
            f"Another call is under way in this session of backend {self.backend}, which does one thing at a time: "
            "wait for its answer.",
        )

    def waited(self, seconds: float) -> Fault:
        """The call before, which has had its answer, was not done in time."""
        return self._fault(
            Reason.QUEUE_TIMEOUT,
            f"Waited {seconds:.1f} s until the call before in this session of backend {self.backend} would be done; it "
            "still brings the pages behind its first one, or is being stopped. Nothing was done.",
        )

    def failed(self, why: str) -> Fault:
        """Its transaction takes nothing but its rollback."""
        return self._fault(Reason.REFUSED, f"Nothing was done, because {self.why_failed(why)}.")

    def why_failed(self, why: str) -> str:
        """The same as a part of another sentence; why, where that has not been said already."""
        because = f" ({why})" if why else ""
        return (
            f"the transaction of this session has failed{because}, and none of it will take effect: end it with "
            f"{self.tools.rollback}, and begin another one"
        )

    def over(self, ending: Ending) -> Fault:
        """Asked after its end: whatever it was, it was not done."""
        sentence = f"This session of backend {self.backend} {self._ended(ending)}. Nothing was done now; "
        return self._fault(Reason.HANDLE_EXPIRED, f"{sentence}{self.tools.begin} begins another one.")

    def ended_under(self, turn: Turn, ending: Ending) -> Fault:
        """The session ended while a call in it was under way."""
        unknown = "" if self.transactional or turn.read else " Whether it took effect is unknown: check."
        sentence = f"The session in which {turn.operation} was under way {self._ended(ending)}.{unknown}"
        return self._fault(Reason.KILLED if ending is Ending.KILLED else Reason.HANDLE_EXPIRED, sentence)

    def too_many(self, most: int, retry_seconds: float) -> Fault:
        """As many as may be are open, or being opened."""
        sentence = (
            f"Backend {self.backend} has {most} sessions, as many as it may. Try again in {retry_seconds:.1f} s, "
            "or end one."
        )
        retry = {"retry_after_ms": str(max(1, round(retry_seconds * 1000)))}
        return self._fault(Reason.TOO_MANY_SESSIONS, sentence, retry)

    def elsewhere(self, operation: str, backend: str) -> Fault:
        """A session of another backend."""
        sentence = f"{operation} belongs to backend {self.backend}, but the session is one of backend {backend}."
        return self._fault(Reason.INVALID_ARGUMENTS, sentence)

    def slow(self, turn: Turn, seconds: float) -> Fault:
        """A call in it outlived its bound, and is being stopped."""
        fault = faults.slow(self.backend, turn.operation, seconds, turn.read or self.transactional)
        if not self.transactional:
            return fault
        goes_on = "The session goes on, unless its transaction has failed with it: then the next call is told so."
        return Fault(fault.reason, f"{fault.message} {goes_on}", fault.metadata)

    def refused(self, turn: Turn, failure: Failure, failed: bool) -> Fault:
        """The backend answered a call in it with a failure. `failed`: and its transaction has failed with it."""
        fault = faults.failed(self.backend, turn.operation, failure, turn.read or self.transactional)
        if not failed:
            return fault
        reason = fault.reason if fault.reason is Reason.PROTOCOL else Reason.REFUSED  # repeated alone, it is no use
        sentence = f"{fault.message} With it {self.why_failed('')}."
        return Fault(reason, sentence, fault.metadata)

    def broke(self, turn: Turn, failure: Failure) -> Fault:
        """Its connection is good for nothing any more, and so is the session."""
        if failure.kind is FailureKind.BUG or not (self.transactional or turn.read):
            fault = faults.failed(self.backend, turn.operation, failure, turn.read)
            return Fault(fault.reason, f"{fault.message} The session {self._ended(Ending.LOST)}.", fault.metadata)
        return self._fault(
            Reason.HANDLE_EXPIRED,
            f"The connection of this session of backend {self.backend} broke during {turn.operation}: "
            f"{failure.message}. It {self._ended(Ending.LOST)}; {self.tools.begin} begins another one.",
        )

    def not_committed(self, turn: Turn, failure: Failure) -> Fault:
        """The backend refused the commit."""
        fault = faults.failed(self.backend, turn.operation, failure, read=True)
        sentence = f"{fault.message} Nothing of the session has taken effect, and it is over."
        return Fault(Reason.REFUSED if fault.reason is Reason.BUSY else fault.reason, sentence, fault.metadata)

    def unknown(self, turn: Turn, why: str) -> Fault:
        """Nobody knows what became of a commit."""
        return self._fault(
            Reason.OUTCOME_UNKNOWN,
            f"Whether {turn.operation} took effect is unknown ({why}): check before you repeat anything. A further "
            "call in the session says what became of it, once that is known.",
        )

    def _ended(self, ending: Ending) -> str:
        if not self.transactional and ending in _ENDINGS_WITHOUT_TRANSACTION:
            return _ENDINGS_WITHOUT_TRANSACTION[ending]
        return _ENDINGS[ending]

    def _fault(self, reason: Reason, sentence: str, facts: dict[str, str] | None = None) -> Fault:
        return Fault(reason, sentence, {"backend": self.backend, **(facts or {})})
