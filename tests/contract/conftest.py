"""Runs each test of the contract once for every subject in `subjects/`."""

from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.contract.subject import Subject

SUBJECTS = sorted(path.stem for path in (Path(__file__).parent / "subjects").glob("[a-z]*.py"))


@pytest.fixture(params=SUBJECTS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """An adapter with a backend of its own."""
    module = import_module(f"tests.contract.subjects.{request.param}")
    async with module.subject(request) as offered:
        yield offered
