"""Breaks of the pool, on purpose: that the tests of each promise notice when it is not kept."""
