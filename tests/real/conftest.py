"""The real servers, for tests of the programs as processes; and one event loop for the asynchronous ones."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.fixtures import mariadb_server, postgres_server

__all__ = ["mariadb_server", "postgres_server"]


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: object) -> AsyncIterator[None]:
    """Keeps one event loop for all tests here: gRPC's own thread still wakes a loop that has been closed meanwhile."""
    yield  # noqa: PT022 - a fixture that returns would end, and the loop with it
