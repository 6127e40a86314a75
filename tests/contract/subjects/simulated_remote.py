"""The simulated system as a process of its own, counted by itself and asked over its control port."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pooler.backends.base import Adapter, Connection
from pooler.backends.simulated.adapter import build
from pooler.backends.simulated.remote import RemoteConnection
from pooler.backends.simulated.settings import Settings
from tests.contract.subject import Subject
from tests.contract.subjects.simulated import MANNERS, STREAMS, SimulatedOperations
from tests.servers.counting import CountingServer
from tests.servers.server import free_port

LICENCES = 3


class RemoteSubject(SimulatedOperations):
    """One server for all tests, so each gives it manners of its own and leaves no session."""

    def __init__(self, server: CountingServer) -> None:
        self.server = server
        self.adapter = build(Settings(address=server.address, streams=STREAMS))

    async def connections(self) -> int:
        return self.server.counts().total

    async def busy(self) -> int:
        return self.server.counts().busy

    async def kill(self, connection: Connection) -> None:
        assert isinstance(connection, RemoteConnection)
        self.server.kill_session(connection.session)

    def unreachable(self) -> Adapter[Any, Any]:
        return build(Settings(address=f"127.0.0.1:{free_port()}"))

    def limited(self) -> tuple[Adapter[Any, Any], int]:
        self.server.behave(limit=LICENCES)
        return self.adapter, LICENCES


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    server: CountingServer = request.getfixturevalue("counting_server")
    server.behave(**MANNERS)
    yield RemoteSubject(server)
