"""What the simulated system's errors mean."""

from pooler.backends.base import BackendError, Failure, FailureKind
from pooler.backends.simulated import methods, system

KINDS: dict[type[BaseException], FailureKind] = {
    system.LicenceError: FailureKind.LIMIT,
    system.DownError: FailureKind.DEAD,
    system.BrokenError: FailureKind.DEAD,
    system.PoisonedError: FailureKind.SESSION_LOST,
    system.AbortedError: FailureKind.USER_ERROR,
    methods.WrongRequestError: FailureKind.USER_ERROR,
}


def classify(error: BaseException) -> Failure:
    """Says what an exception of this adapter means."""
    if isinstance(error, BackendError):
        return error.failure
    kind = KINDS.get(type(error))
    if kind is None:
        return Failure(FailureKind.BUG, f"the simulated adapter failed with {type(error).__name__}: see the log")
    # A poisoned session answers that it will do nothing; of a dead one nobody knows what it still did.
    return Failure(kind, str(error), started=not isinstance(error, system.PoisonedError))
