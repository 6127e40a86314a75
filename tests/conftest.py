"""What every test shares: the event loop that the programs themselves run on, and the real servers' fixtures."""

from typing import Any

import pytest

pytest_plugins = ["tests.servers.fixtures"]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """asyncio on uvloop, as in production."""
    return "asyncio", {"use_uvloop": True}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first: two processes share the files, and the short ones at the end keep both at work."""
    items.sort(key=lambda item: "tests/real/" not in item.nodeid)
