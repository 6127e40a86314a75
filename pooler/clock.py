"""The one source of time for everything that waits: monotonic, so that a wall clock that jumps changes nothing.

Not the event loop's own `time()`: uvloop keeps that to a millisecond and reads it once a turn, which is too coarse to
say where a call's time went. Simulations pass their loop's virtual time instead.
"""

from collections.abc import Callable
from time import monotonic

__all__ = ["Clock", "monotonic"]

Clock = Callable[[], float]
"""Seconds since some fixed moment."""
