"""What every test shares: the event loop that the programs themselves run on, and the real servers' fixtures."""

from typing import Any

import pytest

pytest_plugins = ["tests.servers.fixtures"]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """asyncio on uvloop, as in production."""
    return "asyncio", {"use_uvloop": True}
