"""Looks at the pools while a test runs: as the pooler says, and, where it was asked for, as the database itself counts.

What is seen are samples. A peak between two of them is not seen, and a report says so.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from pooler.loadtest.result import PoolSample, SeenSample
from pooler.service.load import LoadError
from pooler.service.load_watch import Watch

OBSERVED = """
SELECT split_part(application_name, '/', 3), count(*) FROM pg_stat_activity
WHERE application_name LIKE 'penstock/%' AND pid <> pg_backend_pid() GROUP BY 1
"""
"""By the tag of a connection, penstock/POOLER/BACKEND/NUMBER: whichever pooler's it is, the database carries it."""
FAILURES_MAX = 5


class Watcher:
    """Samples until it is cancelled. `now`: seconds since the run's first moment."""

    def __init__(self, now: Callable[[], float], period_seconds: float) -> None:
        self.pools: list[PoolSample] = []
        self.seen: list[SeenSample] = []
        self.notes: list[str] = []
        self._now = now
        self._period = period_seconds

    async def watch(self, pooler: Watch) -> None:
        """Asks the pooler, time after time; gives up when it has not answered several times in a row."""
        failures = 0
        while failures < FAILURES_MAX:
            try:
                await self._ask(pooler)
                failures = 0
            except LoadError as error:
                failures += 1
                if failures == FAILURES_MAX:
                    self.notes.append(f"watching ended at {self._now():.1f} s: {error}")
            await asyncio.sleep(self._period)

    async def observe(self, url: str) -> None:
        """Asks PostgreSQL, over one connection of its own, which the cap does not count. Ends at the first failure."""
        from psycopg import AsyncConnection, Error

        try:
            async with await AsyncConnection.connect(
                url, autocommit=True, application_name="penstock loadtest", connect_timeout=10
            ) as connection:
                while True:
                    await self._count(connection)
                    await asyncio.sleep(self._period)
        except Error as error:
            # Its words may hold the address; its class says enough.
            self.notes.append(f"the database was not observed after {self._now():.1f} s: {type(error).__name__}")

    def latest(self) -> dict[str, PoolSample]:
        """The last sample of each backend."""
        return {sample.backend: sample for sample in self.pools[-64:]}

    async def _ask(self, pooler: Watch) -> None:
        states = await pooler.pools()
        at = round(self._now(), 3)
        self.pools += [
            PoolSample(
                at_s=at,
                backend=state.backend,
                cap=state.cap,
                starting=state.starting,
                idle=state.idle,
                in_use=state.in_use,
                ending=state.ending,
                queued=state.queued,
            )
            for state in states
        ]

    async def _count(self, connection: Any) -> None:
        cursor = await connection.execute(OBSERVED)
        at = round(self._now(), 3)
        self.seen += [
            SeenSample(at_s=at, backend=backend, connections=count) for backend, count in await cursor.fetchall()
        ]
