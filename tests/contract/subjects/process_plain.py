"""A worker that declares nothing, as an old co-process would: it can only be killed and started again."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.subject import Subject
from tests.contract.subjects.process import ProcessSubject


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    with tempfile.TemporaryDirectory() as folder:
        yield ProcessSubject(Path(folder))
