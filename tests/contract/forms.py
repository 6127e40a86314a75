"""The two forms of the simulated system, each watched and steered by its own side, never through the adapter."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from pooler.backends.base import Answer, Caller, Failure, Operation, Tag, Work
from pooler.backends.simulated.adapter import SimulatedAdapter, build
from pooler.backends.simulated.census import Counts, Peak
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.backends.simulated.settings import Settings
from pooler.backends.simulated.system import System
from tests.servers.counting import CountingServer

LONG = 600.0
"""Seconds that no test waits for: what takes so long is ended by the system when the test has seen it."""
CALLER = Caller("acme", "ann", "1")


class Form(ABC):
    """A system, alone in being used by one test, and the adapter that reaches it."""

    adapter: SimulatedAdapter

    @abstractmethod
    async def behave(self, **manners: Any) -> None:
        """Changes its manners."""

    @abstractmethod
    async def counts(self) -> Counts:
        """Its sessions by state."""

    @abstractmethod
    async def peak(self) -> Peak:
        """The most that there were."""

    @abstractmethod
    async def left(self) -> int:
        """How many of its sessions' clients have closed, as far as it has noticed."""

    @abstractmethod
    async def wait(self, **counts: int) -> None:
        """Until its counts are these."""

    @abstractmethod
    async def kill(self) -> None:
        """Ends every session by itself."""

    async def open(self, slot: int = 1) -> SimulatedConnection:
        return await self.adapter.open(Tag("counting", "legacy", slot))

    async def ask(self, connection: SimulatedConnection, method: str = "echo", **arguments: Any) -> Answer:
        prepared = self.adapter.prepare(Operation(method, "read", method=method))
        arguments = arguments or {"value": "x"}
        return await self.adapter.execute(connection, Work(prepared, arguments, CALLER, timeout_seconds=LONG))

    async def failure(self, awaitable: Any) -> Failure:
        """How the adapter classifies what something raises."""
        try:
            answer = await awaitable
        except Exception as error:  # noqa: BLE001 - whatever it is, the adapter's classify is what is asked
            return self.adapter.classify(error)
        raise AssertionError(f"it did not fail, it answered {answer!r}")


class LocalForm(Form):
    """The system in this process."""

    def __init__(self) -> None:
        self.system = System(Settings())
        self.adapter = build(Settings(), self.system)

    async def behave(self, **manners: Any) -> None:
        self.system.behave(**manners)

    async def counts(self) -> Counts:
        return self.system.counts()

    async def peak(self) -> Peak:
        return self.system.census.peak

    async def left(self) -> int:
        return sum(session.left for session in self.system.sessions)

    async def wait(self, **counts: int) -> None:
        async with asyncio.timeout(20):
            await self.system.census.until(
                lambda seen: all(getattr(seen, state) == number for state, number in counts.items())
            )

    async def kill(self) -> None:
        for session in list(self.system.sessions):
            self.system.kill(session)


class RemoteForm(Form):
    """The system as a process of its own. Asked from a thread, since the adapter needs this loop meanwhile."""

    def __init__(self, server: CountingServer) -> None:
        self.server = server
        self.adapter = build(Settings(address=server.address))

    async def behave(self, **manners: Any) -> None:
        await asyncio.to_thread(self.server.behave, **manners)

    async def counts(self) -> Counts:
        return await asyncio.to_thread(self.server.counts)

    async def peak(self) -> Peak:
        return await asyncio.to_thread(self.server.peak)

    async def left(self) -> int:
        return sum(session.left for session in await asyncio.to_thread(self.server.sessions))

    async def wait(self, **counts: int) -> None:
        await asyncio.to_thread(self.server.wait, **counts)

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.kill_sessions)
