"""The one source of time for everything that waits: monotonic, so that a wall clock that jumps changes nothing."""

from time import monotonic

__all__ = ["monotonic"]
