"""Faults under calls that share connections, for many calls: how many answers were lost, doubled, or somebody else's.

The crowd of tests/real asks by way of frontend and pooler: mostly short reads, statements that go wrong, long answers,
writes with a token each. Meanwhile connections are ended, callers vanish, and, in the long form, PostgreSQL crashes.
Whatever is wrong is counted here, and not only told: nothing of it may be.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import scalar_row

from tests.programs import Frontend, Pooler
from tests.real.asks import MAKE_TABLE, OPERATIONS, TABLE, digest, digests, note
from tests.real.crowd import Connection, Crowd
from tests.servers.postgres import PostgresServer

CAP, CALLERS = 4, 64
CALLS, SOAK_CALLS = 20_000, 1_000_000
FAULT_CALLS, CRASH_CALLS = 500, 50_000
"""Right answers between two faults, and between two crashes."""

SERVING = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'penstock/%%'"

Row = tuple[str, str, str]


async def run(url: str) -> list[Row]:
    """Rows of (what, figure, beside what). The server is one of its own, since it is made to crash."""
    del url
    return await judge(CALLS, CALLS)


async def soak(url: str) -> list[Row]:
    """The same with a million calls."""
    del url
    return await judge(SOAK_CALLS, CRASH_CALLS)


async def judge(calls: int, crash_calls: int) -> list[Row]:
    """So many right answers under faults; then what became of the others."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as own,
        PostgresServer(Path(folder)) as server,
        Pooler(Path(own), config(server.url)) as pooler,
        Frontend(pooler.address) as frontend,
    ):
        server.run_as_owner(MAKE_TABLE)
        faults = Faults(server, frontend.address)
        async with asking(frontend.address) as crowd:
            while crowd.heard.right.total() < calls:
                await crowd.more(FAULT_CALLS)
                await faults.next(crash=crowd.heard.right.total() // crash_calls > faults.crashes)
            crowd.finish()
        written = await asyncio.to_thread(asked, server, f"SELECT token FROM {TABLE}")
    return rows(crowd, faults, written)


def rows(crowd: Crowd, faults: "Faults", written: list[str]) -> list[Row]:
    heard = crowd.heard
    asked_for = heard.right.total() + heard.failed.total() + len(heard.wrong)
    lost, doubled = len(heard.noted - set(written)), len(written) - len(set(written))
    unknown = len(set(written) - heard.noted - heard.unsure - faults.unsure)
    return [
        (
            f"{asked_for} calls that share {CAP} connections, under faults",
            f"{len(heard.wrong)} answers of somebody else; writes: {lost} lost, {doubled} doubled, {unknown} unasked",
            f"{faults.ended} connections ended, {faults.vanished} callers vanished, {faults.crashes} crashes",
        ),
        (
            "of them",
            f"{heard.right.total()} right, {heard.failed.total()} told why they got no answer",
            f"{len(heard.noted)} writes acknowledged, {len(heard.unsure)} of unknown outcome",
        ),
    ]


class Faults:
    """One after the other, and how many there were."""

    def __init__(self, server: PostgresServer, address: str) -> None:
        self.ended = self.vanished = self.crashes = 0
        self.unsure: set[str] = set()
        """Writes of callers who have vanished."""
        self._server, self._address = server, address
        self._turn = 0

    async def next(self, crash: bool) -> None:
        """Ends a connection, or makes callers vanish, by turns; or crashes the server."""
        self._turn += 1
        if crash:
            await self._crash()
        elif self._turn % 2:
            await self._end()
        else:
            await self._vanish()

    async def _end(self) -> None:
        for victim in (await asyncio.to_thread(asked, self._server, SERVING))[: 1 + self._turn % CAP]:
            await asyncio.to_thread(asked, self._server, "SELECT pg_terminate_backend(%s)", victim)
            self.ended += 1

    async def _vanish(self) -> None:
        for number in range(3):
            connection = await Connection.to(self._address)
            token = f"vanished-{self._turn}-{number}"
            self.unsure.add(token)
            for ask in (digests(token), note(token), digest(token))[number:]:
                connection.send(ask)
            if self._turn % 4:
                await connection.receive()
            connection.vanish()
            self.vanished += 1

    async def _crash(self) -> None:
        self.crashes += 1
        (victim, *_) = await asyncio.to_thread(asked, self._server, SERVING)
        os.kill(victim, signal.SIGKILL)


def asked(server: PostgresServer, command: str, *values: object) -> list[Any]:
    """What the administrator is answered, on a connection for this alone. Waits while the server starts anew."""
    while True:
        try:
            with psycopg.connect(server.admin_url, autocommit=True, row_factory=scalar_row) as admin:
                return admin.execute(command, values).fetchall()
        except psycopg.OperationalError:
            continue


def config(url: str) -> dict[str, Any]:
    pool = {"cap": CAP, "warm": CAP, "parallel_starts": CAP}
    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": pool}},
        "operations": {name: {"backend": "db", **operation} for name, operation in OPERATIONS.items()},
    }


@asynccontextmanager
async def asking(address: str) -> AsyncIterator[Crowd]:
    crowd = Crowd(address, CALLERS)
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.run())
        yield crowd
