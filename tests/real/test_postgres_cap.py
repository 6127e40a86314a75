"""The cap of a real PostgreSQL, which would allow four times as many: it is the pool alone that holds it.

The server is the oracle: what it lists, asked for as fast as one connection can, and whom it says that it refused.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import scalar_row

from tests.interaction import wire
from tests.programs import Pooler
from tests.real.callers import Load, outcome
from tests.real.test_adoption import Sampler
from tests.real.test_cap import reset_clients
from tests.real.test_faults import eventually
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

CAP = 5
ROLE = "capped"
NAP_SECONDS, LONG_SECONDS = 0.01, 100.0
LISTED = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
AT_WORK = f"{LISTED} AND wait_event = 'PgSleep' AND clock_timestamp() - query_start > interval '200 ms'"
"""Those in the midst of a long statement: the short ones are over by then."""


@contextmanager
def role(server: PostgresServer, limit: int = -1) -> Iterator[str]:
    """A role that nobody else uses, with so many connections at most; yields where it connects to."""
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {ROLE} LOGIN CONNECTION LIMIT {limit}")
        try:
            yield server.url_of(ROLE)
        finally:
            eventually(0, lambda: server.ask(LISTED, ROLE))
            admin.execute(f"DROP ROLE {ROLE}")


@contextmanager
def sampled(server: PostgresServer) -> Iterator[Sampler]:
    """How many connections of the role the server lists, all the while."""
    with (
        psycopg.connect(server.admin_url, autocommit=True, row_factory=scalar_row) as admin,
        Sampler(lambda: int(admin.execute(LISTED, [ROLE]).fetchone() or 0)).running() as sampler,
    ):
        yield sampler


def config(url: str) -> dict[str, Any]:
    """Connections are used up quickly, so that they come and go all the while."""
    pool = {"cap": CAP, "parallel_starts": CAP, "max_uses": 3}
    statement = "SELECT pg_sleep(:seconds)"
    operation = {"backend": "db", "statement": statement, "arguments": {"seconds": {"type": "number"}}}
    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": pool}},
        "operations": {"work": {**operation, "effect": "read", "timeout_seconds": 600}},
    }


async def all_at_work(server: PostgresServer) -> None:
    """Until every place of the cap is in the midst of a long statement."""
    await asyncio.to_thread(eventually, CAP, lambda: server.ask(AT_WORK, ROLE))


async def many_vanish(server: PostgresServer, pooler: Pooler, load: Load) -> None:
    """Callers whose connections are reset while their statements fill the cap; others are served afterwards."""
    async with reset_clients(pooler.address, 4 * CAP, LONG_SECONDS) as vanish:
        await all_at_work(server)
        vanish()
    await load.more(4 * CAP)


async def take_the_whole_cap(server: PostgresServer, pooler: Pooler) -> None:
    """As many long statements as there are places run at once, and are then cancelled."""
    async with wire.stub(pooler.address) as stub:
        calls = [asyncio.ensure_future(outcome(stub, "work", LONG_SECONDS)) for _ in range(CAP)]
        await all_at_work(server)
        for call in calls:
            call.cancel()


def refused(log: str) -> list[str]:
    """The clients whom the server did not let in because there were too many, by its own log."""
    return [line for line in log.splitlines() if "too many" in line]


@pytest.mark.promise(1, 4)
async def test_callers_who_vanish_in_mid_statement_never_make_postgresql_list_more_than_the_cap(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    assert postgres_server.ask("SELECT current_setting('max_connections')::int") >= 4 * CAP
    with role(postgres_server) as url, sampled(postgres_server) as sampler, Pooler(tmp_path, config(url)) as pooler:
        async with asyncio.timeout(60), Load(pooler.address, "work", 2 * CAP, NAP_SECONDS).running() as load:
            for _ in range(4):
                await many_vanish(postgres_server, pooler, load)
        assert load.heard.keys() == {"OK"}
        await take_the_whole_cap(postgres_server, pooler)

    assert sampler.peak == CAP
    assert sampler.samples > 1000


@pytest.mark.promise(1, 4)
async def test_a_role_that_may_have_no_more_than_the_cap_is_never_refused_whoever_vanishes_or_is_killed(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    log = postgres_server.folder / "log"
    before = log.stat().st_size

    def refusals() -> list[str]:
        return refused(log.read_bytes()[before:].decode(errors="replace"))

    with role(postgres_server, limit=CAP) as url:
        async with asyncio.timeout(120):
            await a_life_that_is_cut_short(tmp_path, postgres_server, url, at_work=False)
            await a_life_that_is_cut_short(tmp_path, postgres_server, url, at_work=True)
            with Pooler(tmp_path, config(url)) as pooler, sampled(postgres_server) as sampler:
                await bursts(pooler, 20)
                async with Load(pooler.address, "work", 4 * CAP, NAP_SECONDS).running() as load:
                    await many_vanish(postgres_server, pooler, load)
                assert load.heard.keys() == {"OK"}
                await take_the_whole_cap(postgres_server, pooler)
        assert refusals() == []
        assert not [line for line in pooler.log if line.get("event") == "start failed"]
        assert sampler.peak == CAP

        eventually(0, lambda: postgres_server.ask(LISTED, ROLE))
        with ExitStack() as stack:
            for _ in range(CAP):
                stack.enter_context(psycopg.connect(url))
            with pytest.raises(psycopg.OperationalError, match="too many connections"):
                psycopg.connect(url)
        assert len(refusals()) == 1  # so the log would have said it


async def a_life_that_is_cut_short(folder: Path, server: PostgresServer, url: str, at_work: bool) -> None:
    """A pooler from its first bursts to kill -9: under load, or in the midst of statements that fill the cap."""
    with Pooler(folder, config(url)) as pooler:
        await bursts(pooler, 5)
        async with Load(pooler.address, "work", 4 * CAP, NAP_SECONDS).running() as load:
            await many_vanish(server, pooler, load)
            assert load.heard.keys() == {"OK"}
            if not at_work:
                pooler.kill()
        if at_work:
            async with wire.stub(pooler.address) as stub:
                calls = [asyncio.ensure_future(outcome(stub, "work", LONG_SECONDS)) for _ in range(CAP)]
                await all_at_work(server)
                pooler.kill()
                assert await asyncio.gather(*calls) == ["UNAVAILABLE"] * CAP


async def bursts(pooler: Pooler, count: int) -> None:
    """As many calls at once as there are places, again and again: whatever was used up has to make room first."""
    async with wire.stub(pooler.address) as stub:
        for _ in range(count):
            heard = await asyncio.gather(*(outcome(stub, "work", 0.0) for _ in range(CAP)))
            assert heard == ["OK"] * CAP
