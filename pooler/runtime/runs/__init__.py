"""Calls that can be followed: each a run with a log of its own, which any number of callers read at their own pace."""

from pooler.runtime.runs.room import RunBounds, Runs

__all__ = ["RunBounds", "Runs"]
