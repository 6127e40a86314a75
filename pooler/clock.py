"""The one source of time for everything that waits: monotonic, so that a wall clock that jumps changes nothing.

Not the event loop's own `time()`: uvloop keeps that to a millisecond and reads it once a turn, which is too coarse to
say where a call's time went. Simulations pass their loop's virtual time instead.
"""

from collections.abc import Callable
from time import monotonic

__all__ = ["Clock", "anchored", "monotonic"]

Clock = Callable[[], float]
"""Seconds since some fixed moment."""


def anchored(unix_now: float, clock: Clock = monotonic) -> Clock:
    """Unix time, in seconds, for what leaves the process: read from the wall once, and monotonic from then on."""
    begun = unix_now - clock()
    return lambda: begun + clock()
