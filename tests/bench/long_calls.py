"""How soon a cancel reaches PostgreSQL, by every way in which a caller can give a long call up.

The server is the judge: the time ends with the first look at `pg_stat_activity` that no longer shows the statement.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction import wire
from tests.interaction.modern_client import KNOWS_TASKS, ModernClient
from tests.programs import Frontend, Pooler

CANCELS = 40
BOUND_SECONDS = 0.1
NAP_SECONDS = 60
PATIENCE_SECONDS = 30.0
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

Rows = list[tuple[str, str, str]]
Way = Callable[[], Awaitable[Callable[[], Awaitable[Any]]]]
"""Begins a long call, and returns what gives it up."""


def config(url: str) -> dict[str, Any]:
    nap = {"backend": "db", "statement": f"SELECT 1 FROM pg_sleep({NAP_SECONDS})", "effect": "read"}
    nap["timeout_seconds"] = 2 * NAP_SECONDS  # type: ignore[assignment]
    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": {"cap": 2, "warm": 1}}},
        "operations": {"nap": nap, "long_nap": {**nap, "long": True}},
    }


class Server:
    """What PostgreSQL itself is at, on a connection beside the pooler's."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def until(self, sleeping: int) -> float:
        """The moment at which so many statements are seen to sleep."""
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while time.perf_counter() < deadline:
            row = self._connection.execute(SLEEPING).fetchone()
            if row is not None and row[0] == sleeping:
                return time.perf_counter()
        raise TimeoutError(f"never {sleeping} statements that sleep")


async def measure(server: Server, way: Way) -> list[float]:
    """The seconds that each of so many cancels took, the shortest first."""
    took = []
    for _ in range(CANCELS):
        give_up = await way()
        await asyncio.to_thread(server.until, 1)
        over = asyncio.create_task(asyncio.to_thread(server.until, 0))
        began = time.perf_counter()
        await give_up()
        took.append(await over - began)
    return sorted(took)


class Callers:
    """The ways: each method begins a call."""

    def __init__(self, stub: Any, client: ModernClient) -> None:
        self._stub = stub
        self._client = client

    async def call(self) -> Callable[[], Awaitable[Any]]:
        """A plain call whose caller leaves."""
        call = self._stub.Call(wire.request("nap", 2 * NAP_SECONDS * 1000))
        return _at_once(call.cancel)

    async def stream(self) -> Callable[[], Awaitable[Any]]:
        """A run without grace whose stream breaks."""
        stream = self._stub.Run(pb.RunRequest(call=wire.request("nap", 2 * NAP_SECONDS * 1000)))
        await stream.read()
        return _at_once(stream.cancel)

    async def run(self) -> Callable[[], Awaitable[Any]]:
        """A run that is cancelled by its handle."""
        request = pb.RunRequest(call=wire.request("nap", 2 * NAP_SECONDS * 1000), detach_grace_ms=-1)
        stream = self._stub.Run(request)
        handle = (await stream.read()).accepted.run
        stream.cancel()
        context = pb.CallContext(timeout_ms=10_000)
        return lambda: self._stub.CancelRun(pb.CancelRunRequest(context=context, run=handle))

    async def disconnect(self) -> Callable[[], Awaitable[Any]]:
        """An MCP client of a frontend that drops its connection."""
        request = asyncio.create_task(self._client.call("nap"))

        async def leave() -> None:
            request.cancel()
            await asyncio.wait({request})

        return leave

    async def task(self) -> Callable[[], Awaitable[Any]]:
        """A task of a frontend that is cancelled by `tasks/cancel`."""
        task = (await self._client.call("long_nap")).result["taskId"]
        return lambda: self._client.ask("tasks/cancel", taskId=task)


def _at_once(cancel: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def give_up() -> None:
        cancel()

    return give_up


@asynccontextmanager
async def callers(url: str) -> AsyncIterator[Callers]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pooler = stack.enter_context(Pooler(Path(folder), config(url)))
        frontend = stack.enter_context(Frontend(pooler.address))
        stub = await stack.enter_async_context(wire.stub(pooler.address))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_SECONDS))
        yield Callers(stub, ModernClient(http, frontend.url, KNOWS_TASKS))


async def run(url: str) -> Rows:
    """Rows of (what, figure, beside what)."""
    server = Server(url)
    rows = []
    try:
        async with callers(url) as ways:
            for name, way in (
                ("a call's caller leaves", ways.call),
                ("a run's stream breaks", ways.stream),
                ("CancelRun", ways.run),
                ("an MCP client disconnects", ways.disconnect),
                ("tasks/cancel", ways.task),
            ):
                took = await measure(server, way)
                late = sum(seconds > BOUND_SECONDS for seconds in took)
                rows.append(
                    (
                        f"until PostgreSQL has stopped: {name}",
                        f"{1000 * took[len(took) // 2]:.1f} ms, at most {1000 * took[-1]:.1f} ms",
                        f"{late} of {len(took)} over {1000 * BOUND_SECONDS:.0f} ms",
                    )
                )
    finally:
        server.close()
    return rows
