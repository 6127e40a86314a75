"""What the pool itself costs: CPU from asking for a connection to its return, when nothing is done with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from psycopg_pool import AsyncConnectionPool

from pooler.backends import shared
from pooler.backends.base import (
    Adapter,
    Answer,
    Caller,
    Connection,
    Failure,
    FailureKind,
    Operation,
    Tag,
    Traits,
    Verdict,
    Work,
)
from pooler.core.rules import Rules
from pooler.runtime.driver import Driver
from pooler.runtime.starter import Bounds
from pooler.runtime.turns import Kit, Outcome, Turn

CALLERS = 256
CONNECTIONS = 4
STREAMS = 32
CALLS = 20 * CALLERS
"""In one round."""
ROUNDS = 20
TARGET_MICROSECONDS = 15
DONE = Answer(b"{}")
CALLER = Caller("default", "anonymous", "")
NO_ARGUMENTS: dict[str, Any] = {}


class Effortless(Adapter[Connection, tuple[()]]):
    """A backend that answers at once, so that what is measured is not it."""

    traits = Traits(io="async", affinity="none", cancel="native", reset="full", tx="none", fate="shared")

    def prepare(self, operation: Operation) -> tuple[()]:
        return ()

    async def open(self, tag: Tag) -> Connection:
        return Connection(tag)

    async def validate(self, connection: Connection) -> None:
        return None

    async def execute(self, connection: Connection, work: Work) -> Answer:
        return DONE

    async def cancel(self, connection: Connection) -> Verdict:
        return Verdict.CLEAN

    async def reset(self, connection: Connection) -> Verdict:
        return Verdict.CLEAN

    async def close(self, connection: Connection, force: bool) -> bool:
        return True

    def classify(self, error: BaseException) -> Failure:
        return Failure(FailureKind.BUG, str(error))


class Shared(Effortless, shared.Adapter[Connection, tuple[()]]):
    """The same, with connections that are shared; what was submitted in one turn of the loop is answered together."""

    traits = replace(Effortless.traits, streams=STREAMS)

    def __init__(self) -> None:
        self._sent: list[shared.Done] = []

    async def open(self, tag: Tag) -> Connection:
        return Connection(tag, streams=STREAMS)

    def submit(self, connection: Connection, work: Work, done: shared.Done) -> None:
        if not self._sent:
            asyncio.get_running_loop().call_soon(self._answer)
        self._sent.append(done)

    def at_work(self, connection: Connection) -> shared.Done | None:
        return None

    def leave_behind(self, connection: Connection) -> None:
        raise AssertionError("nobody is slow here")

    def _answer(self) -> None:
        sent, self._sent = self._sent, []
        for done in sent:
            done(DONE)


class Callers:
    """So many callers, each of whom asks again as soon as it has its answer."""

    def __init__(self, driver: Driver, calls: int) -> None:
        self.todo = calls
        self.under_way = 0
        self._driver = driver
        self._over = asyncio.get_running_loop().create_future()

    async def all_served(self) -> None:
        for _ in range(CALLERS):
            self._ask()
        await self._over

    def _ask(self) -> None:
        self.todo -= 1
        self.under_way += 1
        now = time.monotonic()
        deadline = now + 60
        self._driver.submit(
            Turn(
                asked_at=now,
                give_up_at=deadline,
                deadline=deadline,
                operation="nothing",
                arguments=NO_ARGUMENTS,
                caller=CALLER,
                timeout_seconds=60,
                deliver=self._take,
            )
        )

    def _take(self, outcome: Outcome) -> None:
        assert outcome.result is DONE
        self.under_way -= 1
        if self.todo > 0:
            self._ask()
        elif not self.under_way:
            self._over.set_result(None)


async def through_the_driver(adapter: Adapter[Any, Any]) -> float:
    """CPU seconds a call."""
    kit = Kit("effortless", adapter, {"nothing": ()})
    driver = Driver("bench", kit, Rules(CONNECTIONS, warm=CONNECTIONS, parallel_starts=CONNECTIONS), Bounds(), "bench")
    driver.run()
    least = await _least(lambda: Callers(driver, CALLS).all_served())
    await driver.drain(10)
    return least


async def through_psycopg_pool(url: str) -> float:
    """The same callers, who take a connection out of psycopg_pool and put it back."""
    async with AsyncConnectionPool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False) as pool:
        await pool.wait()

        async def caller() -> None:
            for _ in range(CALLS // CALLERS):
                async with pool.connection():
                    await asyncio.sleep(0)  # or each caller would have its connection to itself, and nobody wait

        return await _least(lambda: asyncio.gather(*(caller() for _ in range(CALLERS))))


async def _least(work: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds a call in the best of some rounds: the others were disturbed by whoever else uses the machine."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await work()
        spent.append((time.process_time() - began) / CALLS)
    return min(spent)


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what)."""
    ours, theirs = await through_the_driver(Effortless()) * 1e6, await through_psycopg_pool(url) * 1e6
    lane = await through_the_driver(Shared()) * 1e6
    return [
        (
            f"hand-over, {CALLERS} callers on {CONNECTIONS} connections",
            f"{ours:.1f} µs CPU",
            f"{ours / TARGET_MICROSECONDS:.2f} × {TARGET_MICROSECONDS} µs",
        ),
        (f"  the same, {STREAMS} on each connection", f"{lane:.1f} µs CPU", f"{lane / ours:.2f} × ours"),
        ("  psycopg_pool's checkout and return", f"{theirs:.1f} µs CPU", f"{theirs / ours:.1f} × ours"),
    ]
