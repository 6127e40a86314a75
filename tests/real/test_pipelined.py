"""Wrong statements, dead servers and vanished callers while many calls share connections: nobody else pays for them.

The whole line, with more callers than connections by far, so that statements wait behind others on each connection.
The oracles are the callers themselves, who know what their own arguments must bring, and the database: it is asked what
was written, and it refuses connections beyond the cap, by its own log.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import scalar_row

from tests.programs import Frontend, Pooler
from tests.real.asks import MAKE_TABLE, OPERATIONS, TABLE, digest, digests, note
from tests.real.crowd import Connection, Crowd, Heard
from tests.real.test_faults import backend_of, eventually
from tests.real.test_postgres_cap import refused
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

CAP = 3
CALLERS = 48
ROLE = "shared_calls"
BROKE = "The connection to backend db broke during "
SERVING = "SELECT pid FROM pg_stat_activity WHERE usename = %s"

Line = tuple[Pooler, Frontend]


def config(url: str) -> dict[str, Any]:
    pool = {"cap": CAP, "warm": CAP, "parallel_starts": CAP}
    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": pool}},
        "operations": {name: {"backend": "db", **operation} for name, operation in OPERATIONS.items()},
    }


def asked(server: PostgresServer, command: str, *values: object) -> list[Any]:
    """What the administrator is answered, on a connection for this alone: a server here may crash at any time."""
    with psycopg.connect(server.admin_url, autocommit=True, row_factory=scalar_row) as admin:
        done = admin.execute(command, values)
        return done.fetchall() if done.description else []


@pytest.fixture
def line(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[Line]:
    """The whole line, as a role that may have no more connections than the cap."""
    log = postgres_server.folder / "log"
    before = log.stat().st_size
    asked(postgres_server, f"CREATE ROLE {ROLE} LOGIN CONNECTION LIMIT {CAP}")
    asked(postgres_server, MAKE_TABLE)
    asked(postgres_server, f"GRANT INSERT ON {TABLE} TO {ROLE}")
    try:
        with Pooler(tmp_path, config(postgres_server.url_of(ROLE))) as pooler, Frontend(pooler.address) as frontend:
            yield pooler, frontend
            eventually((0, 0), lambda: (backend_of(pooler).in_use, backend_of(pooler).queued))
        assert refused(log.read_bytes()[before:].decode(errors="replace")) == []
    finally:
        eventually([], lambda: asked(postgres_server, SERVING, ROLE))
        asked(postgres_server, f"DROP TABLE {TABLE}")
        asked(postgres_server, f"DROP ROLE {ROLE}")


@asynccontextmanager
async def asking(frontend: Frontend, seed: int) -> AsyncIterator[Crowd]:
    """A crowd that asks for as long as the block lasts; then every answer is waited for."""
    crowd = Crowd(frontend.address, CALLERS, seed)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(crowd.run())
        await crowd.more(2 * CALLERS)
        try:
            yield crowd
        finally:
            crowd.finish()


def judge(heard: Heard, server: PostgresServer) -> None:
    """Nobody got another's answer, no acknowledged write is missing, and none was done twice."""
    assert heard.wrong == []
    written = asked(server, f"SELECT token FROM {TABLE}")
    assert len(written) == len(set(written))
    assert heard.noted <= set(written)
    assert set(written) <= heard.noted | heard.unsure
    assert heard.noted


async def test_wrong_statements_on_shared_connections_fail_alone(line: Line, postgres_server: PostgresServer) -> None:
    async with asking(line[1], seed=1) as crowd:
        await crowd.more(1500)

    judge(crowd.heard, postgres_server)
    assert crowd.heard.failed == {}
    assert crowd.heard.right["quotient"] > 50  # a third of them divides by zero


async def test_requests_sent_at_once_on_one_connection_are_answered_in_their_order(line: Line) -> None:
    async with asyncio.timeout(30):
        connection = await Connection.to(line[1].address)
        asks = [digests(f"long-{n}") if n % 7 == 0 else digest(f"short-{n}") for n in range(50)]
        numbers = [connection.send(ask) for ask in asks]
        verdicts = [ask.verdict(number, await connection.receive()) for number, ask in zip(numbers, asks, strict=True)]
        connection.vanish()

    assert verdicts == ["right"] * len(asks)


@pytest.mark.promise(1)
async def test_connections_that_die_under_shared_calls_cost_only_those_calls(
    line: Line, postgres_server: PostgresServer
) -> None:
    async with asking(line[1], seed=2) as crowd:
        for _ in range(5):
            victims = await asyncio.to_thread(asked, postgres_server, SERVING, ROLE)
            for victim in victims[:2]:
                await asyncio.to_thread(asked, postgres_server, "SELECT pg_terminate_backend(%s)", victim)
            await crowd.more(4 * CALLERS)

    judge(crowd.heard, postgres_server)
    assert [told for told in crowd.heard.failed if not told.startswith(BROKE)] == []  # nobody has waited for nothing


async def test_a_server_that_crashes_under_shared_calls_loses_no_acknowledged_write(
    line: Line, postgres_server: PostgresServer
) -> None:
    async with asking(line[1], seed=3) as crowd:
        (victim, *_) = await asyncio.to_thread(asked, postgres_server, SERVING, ROLE)
        os.kill(victim, signal.SIGKILL)  # PostgreSQL then ends all its connections, and starts anew from its log
        await crowd.more(10 * CALLERS)

    judge(crowd.heard, postgres_server)
    assert line[0].process.poll() is None


@pytest.mark.promise(38)
async def test_callers_who_vanish_take_nobody_elses_answer_along(line: Line, postgres_server: PostgresServer) -> None:
    unsure = set()
    async with asking(line[1], seed=4) as crowd:
        for number in range(60):
            connection = await Connection.to(line[1].address)
            unsure.add(token := f"vanished-{number}")
            for ask in (digest(token), digests(token), note(token), digest(token))[number % 3 :]:
                connection.send(ask)
            if number % 2:
                await connection.receive()
            connection.vanish()
            await crowd.more(CALLERS // 4)

    crowd.heard.unsure |= unsure
    judge(crowd.heard, postgres_server)
    assert crowd.heard.failed == {}


async def test_a_frontend_that_is_killed_takes_only_its_own_callers_along(
    line: Line, postgres_server: PostgresServer
) -> None:
    pooler, frontend = line
    with Frontend(pooler.address) as doomed:
        others = Crowd(doomed.address, CALLERS, seed=6)
        async with asking(frontend, seed=5) as crowd:
            theirs = asyncio.gather(others.run(), return_exceptions=True)
            await others.more(4 * CALLERS)
            doomed.kill()
            await theirs
            await crowd.more(4 * CALLERS)

    assert others.heard.wrong == []
    crowd.heard.noted |= others.heard.noted
    crowd.heard.unsure |= others.heard.unsure
    judge(crowd.heard, postgres_server)
    assert crowd.heard.failed == {}
