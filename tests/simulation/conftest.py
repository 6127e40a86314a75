"""Assertions in the rig and the worlds say what they compared; and the pool's own log is silent, being enormous."""

import logging
from collections.abc import Iterator

import pytest
import structlog

pytest.register_assert_rewrite("tests.simulation.rig", "tests.simulation.world")


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """A minute of virtual time would log thousands of lines."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
