"""How the command ends: exit codes that scripts can rely on, and one sentence on stderr."""

import sys
from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """What the command's exit status means."""

    FAILED = 1
    """It did not work; the sentence says why. A configuration with faults, a program that died."""
    USAGE = 2
    """The command line is wrong."""
    REFUSED = 3
    """The pooler or the backend refused the request; the same again would be refused again."""
    AGAIN = 4
    """Busy, down or draining; nothing happened, and a later try may succeed."""
    TIMEOUT = 5
    """The time was up."""
    UNKNOWN = 6
    """The connection broke under a write: it may or may not have happened."""
    DENIED = 7
    """An administrator's token is missing or unknown, or its bearer may not do this."""


_STATUSES = {
    "INVALID_ARGUMENT": Exit.REFUSED,
    "NOT_FOUND": Exit.REFUSED,
    "FAILED_PRECONDITION": Exit.REFUSED,
    "OUT_OF_RANGE": Exit.REFUSED,
    "RESOURCE_EXHAUSTED": Exit.AGAIN,
    "UNAVAILABLE": Exit.AGAIN,
    "ABORTED": Exit.AGAIN,
    "DEADLINE_EXCEEDED": Exit.TIMEOUT,
    "UNKNOWN": Exit.UNKNOWN,
    "UNAUTHENTICATED": Exit.DENIED,
    "PERMISSION_DENIED": Exit.DENIED,
}


def exit_of(status: str) -> Exit:
    """The exit code for a gRPC status."""
    return _STATUSES.get(status, Exit.FAILED)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Ends the command with a sentence."""
    print(message, file=sys.stderr)
    raise SystemExit(int(code))
