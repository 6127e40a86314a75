"""What a driver's exceptions mean: its own codes first, then what SQLAlchemy's dialect sees in them.

The text of a SQLAlchemy exception holds the statement; only the driver's own words are used, with secrets masked.
"""

from collections.abc import Collection

from sqlalchemy import exc

from pooler.backends.base import BackendError, Failure, FailureKind
from pooler.backends.sqlalchemy.manners import Manners

MESSAGE_MAX = 400


def classify(error: BaseException, manners: Manners, secrets: Collection[str]) -> Failure:
    """Says what an exception from an open connection means."""
    if isinstance(error, BackendError):
        return error.failure
    original = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    kind = manners.kind_of(original)
    if kind is None and isinstance(error, exc.DBAPIError):
        kind = FailureKind.DEAD if error.connection_invalidated else FailureKind.USER_ERROR
    if kind is None and isinstance(original, OverflowError):
        return Failure(FailureKind.USER_ERROR, "a number is larger than this database can take")
    if kind is None and isinstance(error, exc.PendingRollbackError | exc.ResourceClosedError):
        return Failure(FailureKind.DEAD, "the connection was lost")
    if kind is None and isinstance(original, OSError):
        return Failure(FailureKind.DEAD, f"the server cannot be reached: {original.strerror or 'no answer'}")
    if kind is None:
        return Failure(FailureKind.BUG, f"unforeseen {type(error).__name__} in the SQLAlchemy adapter")
    return Failure(kind, _words(original, manners, secrets))


def classify_start(error: Exception, manners: Manners, secrets: Collection[str]) -> Failure:
    """Says why a connection did not open. Whatever is neither a limit nor about credentials: it cannot be reached."""
    failure = classify(error, manners, secrets)
    if failure.kind is FailureKind.USER_ERROR:
        return Failure(FailureKind.DEAD, failure.message)
    return failure


def _words(error: BaseException, manners: Manners, secrets: Collection[str]) -> str:
    text = " ".join(manners.words_of(error).split())
    for secret in secrets:
        text = text.replace(secret, "***")
    return text if len(text) <= MESSAGE_MAX else text[: MESSAGE_MAX - 1] + "…"
