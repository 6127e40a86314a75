"""What PostgreSQL's errors mean to the pool: by SQLSTATE, and by text only where the server sends no SQLSTATE.

An error during the login has no SQLSTATE in psycopg, only libpq's text; the server's own words in it may be in another
language, so the limit is looked for in the words that PostgreSQL's translations share with nothing else, and what is
not recognised counts as DEAD. Nothing here ever repeats a connection string.
"""

import re

import psycopg

from pooler.backends.base import BackendError, Failure, FailureKind

_BY_STATE = {
    "25006": FailureKind.USER_ERROR,  # a write in a read-only transaction
    "25P03": FailureKind.DEAD,  # idle in transaction for too long: the server has hung up
    "25P04": FailureKind.DEAD,  # transaction time-out, likewise
    "26000": FailureKind.BUG,  # a prepared statement that we believed in
    "40001": FailureKind.BUSY_RETRY,
    "40P01": FailureKind.BUSY_RETRY,
    "53300": FailureKind.LIMIT,
    "55P03": FailureKind.BUSY_RETRY,
    "57014": FailureKind.CANCELLED,
    "57P01": FailureKind.DEAD,
    "57P02": FailureKind.DEAD,
    "57P03": FailureKind.DEAD,
    "57P04": FailureKind.DEAD,
    "57P05": FailureKind.DEAD,
}

_BY_CLASS = {
    "08": FailureKind.DEAD,
    "28": FailureKind.AUTH,
    "58": FailureKind.DEAD,
    "F0": FailureKind.DEAD,
}
"""Classes of SQLSTATE; any other is about the request: syntax, data, constraints, rights, resources of one query."""

_LIMIT = re.compile(
    "too many clients already|remaining connection slots|too many connections for|sorry, too many"
    "|no more connections allowed|SQLSTATE 53300",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"password authentication failed|no password supplied|authentication failed for|no pg_hba\.conf entry"
    r'|role "[^"]*" (?:does not exist|is not permitted to log in)|SCRAM|permission denied for database',
    re.IGNORECASE,
)
_ATTEMPT = re.compile(
    r"(?:connection failed: )?connection to server (?:at|on socket) "
    r'"[^"]*"(?: \([^)]*\))?,? ?(?:port \d+ )?failed: '
)

MESSAGE_MAX = 400


def classify(error: BaseException) -> Failure:
    """Says what an exception from a connection means."""
    if isinstance(error, BackendError):
        return error.failure
    if not isinstance(error, psycopg.Error):
        return _foreign(error)
    state = error.sqlstate
    if state is None:
        return _without_state(error)
    kind = _BY_STATE.get(state) or _BY_CLASS.get(state[:2], FailureKind.USER_ERROR)
    if state == "57014" and error.diag.source_function == "ProcessInterrupts" and _timed_out(error):
        kind = FailureKind.TIMEOUT
    return Failure(kind, _words(error))


def _timed_out(error: psycopg.Error) -> bool:
    """The server stops a statement with one SQLSTATE, whether it was asked to or has a bound of its own."""
    return "timeout" in (error.diag.message_primary or "")


def _foreign(error: BaseException) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.TIMEOUT, "the server did not answer in time")
    if isinstance(error, OSError):
        return Failure(FailureKind.DEAD, f"the server cannot be reached: {error.strerror or type(error).__name__}")
    if isinstance(error, UnicodeError):
        return Failure(FailureKind.USER_ERROR, "the database holds text that is no UTF-8: convert it in the statement")
    return Failure(FailureKind.BUG, f"unforeseen {type(error).__name__} in the PostgreSQL adapter")


def _without_state(error: psycopg.Error) -> Failure:
    text = str(error)
    if isinstance(error, psycopg.DataError):
        return Failure(FailureKind.USER_ERROR, _cut(text))
    if _LIMIT.search(text):
        return Failure(FailureKind.LIMIT, _connection_words(text))
    if _AUTH.search(text):
        return Failure(FailureKind.AUTH, _connection_words(text))
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Failure(FailureKind.DEAD, _connection_words(text))
    return Failure(FailureKind.BUG, f"unforeseen {type(error).__name__} in the PostgreSQL adapter")


def _words(error: psycopg.Error) -> str:
    """The server's primary message, with its detail and hint where they are short."""
    diag = error.diag
    parts = [diag.message_primary or str(error)]
    parts += [extra for extra in (diag.message_detail, diag.message_hint) if extra and len(extra) <= 160]
    return _cut(". ".join(part.rstrip(".") for part in parts))


def _connection_words(text: str) -> str:
    """libpq's text, without the address that it begins with, and once where it tried several."""
    lines = [_ATTEMPT.sub("", line).strip() for line in text.splitlines()]
    return _cut(next((line for line in lines if line), "the server closed the connection"))


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MESSAGE_MAX else flat[: MESSAGE_MAX - 1] + "…"
