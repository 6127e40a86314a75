"""The simulated system: it takes part so that what stands in for a backend elsewhere keeps the backend's contract."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from pooler.backends.base import Adapter, Connection, Operation
from pooler.backends.simulated.adapter import SimulatedAdapter, build
from pooler.backends.simulated.local import LocalConnection
from pooler.backends.simulated.settings import Settings
from tests.contract.subject import PAGE_BYTES, PAGE_ROWS, Subject

METHODS = {
    "echo": "echo",
    "rows": "rows",
    "rows_until": "rows",
    "rows_too_long": "rows",
    "put": "put",
    "count": "count",
    "report": "report",
    "slow": "work",
    "wrong": "wrong",
    "write": "write",
    "leave_trace": "leave_trace",
    "see_trace": "see_trace",
}


STREAMS = 32
MANNERS = {"start_seconds": 0.002, "dying_seconds": 0.01}


class SimulatedOperations(Subject):
    """What both forms of the system are asked to do."""

    tells = True

    def operations(self) -> Sequence[Operation]:
        return [
            Operation(
                name,
                "write" if name in ("write", "put") else "read",
                method=method,
                page_rows=PAGE_ROWS,
                page_bytes=PAGE_BYTES,
            )
            for name, method in METHODS.items()
        ]


class SimulatedSubject(SimulatedOperations):
    """One system with its own count."""

    listens = True

    def __init__(self) -> None:
        self.adapter: SimulatedAdapter = build(Settings.model_validate({**MANNERS, "streams": STREAMS}))

    async def connections(self) -> int:
        return self.adapter.system.counts().total

    async def busy(self) -> int:
        return self.adapter.system.counts().busy

    async def kill(self, connection: Connection) -> None:
        assert isinstance(connection, LocalConnection)
        self.adapter.system.kill(connection.session)

    async def say(self, channel: str, payload: str) -> None:
        self.adapter.system.channels.say(channel, payload)

    def unreachable(self) -> Adapter[Any, Any]:
        return build(Settings(refuse="the system is down for the night"))

    def limited(self) -> tuple[Adapter[Any, Any], int]:
        return build(Settings(limit=3)), 3


@contextlib.asynccontextmanager
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    offered = SimulatedSubject()
    yield offered
    await offered.adapter.system.quiet()
