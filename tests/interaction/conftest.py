"""Fixtures of the tests that join the programs."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.interaction.line import LEGACY, MODERN, PATIENCE_SECONDS, Line
from tests.interaction.talker import Talker
from tests.interaction.talking import ELICITS, TALKING, url


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: object) -> AsyncIterator[None]:
    """Keeps one event loop for all tests here: gRPC's own thread still wakes a loop that has been closed meanwhile."""
    yield  # noqa: PT022 - a fixture that returns would end, and the loop with it


@pytest.fixture
async def bare_line(tmp_path: Path) -> AsyncIterator[Line]:
    """A line of which nothing has been started."""
    line = Line(tmp_path)
    yield line
    await line.close()


@pytest.fixture
async def line(bare_line: Line) -> Line:
    """A line with a simulated backend, all of it running."""
    await bare_line.start_pooler()
    await bare_line.start_frontend()
    return bare_line


@pytest.fixture(params=[MODERN, LEGACY])
def era(request: pytest.FixtureRequest) -> str:
    """Both eras of the protocol, one after the other."""
    return str(request.param)


@pytest.fixture
async def lines(bare_line: Line) -> Line:
    """A pooler with two frontends, and operations that report and ask."""
    await bare_line.start_pooler(TALKING)
    for _ in range(2):
        await bare_line.start_frontend(detach_grace_seconds=30)
    return bare_line


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
async def talker(lines: Line, http: httpx.AsyncClient) -> Talker:
    """A client whose conversation was begun at the first of two frontends, and who can be asked."""
    talking = Talker(http, url(lines, 0))
    await talking.open(ELICITS)
    return talking
