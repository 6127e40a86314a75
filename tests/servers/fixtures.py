"""The servers as fixtures, one of each for a whole run.

A server that is not installed skips its tests with the reason; with `PENSTOCK_REQUIRE_SERVERS=1`, as in CI, it fails
them, so that nothing is left out unseen.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.counting import CountingServer
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.server import Server, ServerMissing


def _serve(kind: type[Server]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="penstock-", ignore_cleanup_errors=True) as folder:
        try:
            server = kind(Path(folder))
        except ServerMissing as missing:
            if os.environ.get("PENSTOCK_REQUIRE_SERVERS") == "1":
                pytest.fail(str(missing))
            pytest.skip(str(missing))
        with server:
            yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL for all tests of a run."""
    yield from _serve(PostgresServer)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """A MariaDB for all tests of a run."""
    yield from _serve(MariadbServer)


@pytest.fixture(scope="session")
def _counting_server() -> Iterator[CountingServer]:
    with CountingServer() as server:
        yield server


@pytest.fixture
def counting_server(_counting_server: CountingServer) -> Iterator[CountingServer]:
    """A counting legacy system, the same for all tests of a run: with plain manners, and without a session at the end.

    For tests that end it or stop it, a server of their own is started in a moment.
    """
    _counting_server.behave_anew()
    yield _counting_server
    _counting_server.behave(silent=False)
    _counting_server.wait(total=0)
