"""What a killed pooler has left at a server: asked for over the pool's own connections, and waited out, under load."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pooler.backends.base import Answer, Notes, Orphans, Tag
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.backends.simulated.system import Job, System
from pooler.core.states import ConnectionState
from pooler.runtime import adoption
from pooler.runtime.slotfiles import Leftover
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.load import about, go_on
from tests.simulation.rig import Rig, finished, until

pytestmark = pytest.mark.promise(1)

CAP = 3
REAP = 60.0


class Listing(SimulatedAdapter):
    """Of a system that tells whose sessions it has; or not, while it is `dumb`."""

    traits = replace(SimulatedAdapter.traits, orphans="listed")
    dumb = False

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.questions = 0

    async def census(self, connection: SimulatedConnection | None, left: Mapping[Tag, Notes]) -> Mapping[Tag, bool]:
        """By owner."""
        assert connection is not None
        self.questions += 1
        if self.dumb:
            raise NotImplementedError
        return {tag: any(session.owner == str(tag) for session in self.system.sessions) for tag in left}


class Watching(Listing):
    """Of one that watches its sockets: within three seconds it has dropped what nobody holds any more."""

    traits = replace(Listing.traits, orphan_seconds=3.0)


class Unlisted(SimulatedAdapter):
    """Of one that nobody can ask."""

    traits = replace(SimulatedAdapter.traits, orphans="unlisted")


@asynccontextmanager
async def rig(adapter: type[SimulatedAdapter]) -> AsyncIterator[Rig]:
    """A pool that has begun nothing, before a system that works on when its clients have gone."""
    made = Rig({"cap": CAP, "parallel_starts": CAP}, Bounds(reap=REAP), ignore_cancel=True)
    made.stand_in(adapter)
    yield made
    await made.driver.drain(60)


async def leave(rig: Rig, *works: float, orphans: Orphans = "listed") -> list[Leftover]:
    """A pooler is killed while it has so much work under way; only the system goes on with it."""
    left = []
    for number, seconds in enumerate(works, 1):
        tag = Tag("sim", "legacy", number)
        session = rig.system.arrive(str(tag))
        await rig.system.login(session)
        call = asyncio.ensure_future(rig.system.request(session, Job(lambda _: Answer(b"{}"), seconds)))
        await until(lambda session=session: session.work is not None)
        call.cancel()
        rig.system.drop(session)
        left.append(Leftover(Path("nowhere"), tag, "simulated", orphans))
    return left


async def serve(rig: Rig, seconds: float) -> None:
    """Load from the first moment on; every call is answered, and the system never counts more than the cap."""
    rig.driver.run()
    calls = await go_on(rig, 4 * CAP, seconds, about(0.1))
    await finished(calls)
    assert all(call.answered for call in calls)
    assert rig.violations == []
    assert rig.system.peak == CAP


async def take_the_whole_cap(rig: Rig) -> None:
    calls = [rig.submit(5.0) for _ in range(CAP)]
    await until(lambda: rig.busy() == CAP)
    await finished(calls)
    assert rig.driver.pool.held <= CAP


def closing(rig: Rig) -> int:
    return rig.driver.pool.count(ConnectionState.CLOSING)


@pytest.mark.parametrize("works", [(1.0,), (2.0, 0.5), (30.0,), (200.0, 200.0)])
def test_what_a_server_still_has_holds_its_slots_as_long_as_it_has_it(works: tuple[float, ...]) -> None:
    async def scene() -> None:
        async with rig(Listing) as world:
            adoption.adopt(world.driver, await leave(world, *works))
            assert (world.driver.pool.held, closing(world)) == (len(works), len(works))
            serving = asyncio.ensure_future(serve(world, max(works) + 20))
            await until(lambda: world.system.counts().dying == 0)
            gone_at = world.now
            await until(lambda: closing(world) == 0)
            assert world.now - gone_at <= adoption.PAUSE_SECONDS_MAX + 1
            await serving
            await take_the_whole_cap(world)
            assert world.driver.unconfirmed_total == 0

    virtual.run(scene())


def test_a_server_that_watches_its_sockets_is_given_its_time_when_what_was_left_fills_the_cap() -> None:
    async def scene() -> None:
        async with rig(Watching) as world:
            began = world.now
            adoption.adopt(world.driver, await leave(world, 2.5, 2.0, 1.0))
            serving = asyncio.ensure_future(serve(world, 20))
            await until(lambda: closing(world) == 0)
            assert world.now - began == pytest.approx(3.0, abs=0.2)
            await serving
            assert world.driver.unconfirmed_total == 1  # it went for a connection to ask with, which told of the others

    virtual.run(scene())


def test_of_a_server_that_watches_nothing_a_full_cap_is_waited_out_before_one_is_let_go() -> None:
    async def scene() -> None:
        async with rig(Listing) as world:
            began = world.now
            adoption.adopt(world.driver, await leave(world, 50.0, 40.0, 100.0))
            serving = asyncio.ensure_future(serve(world, 150))
            await until(lambda: closing(world) < CAP)
            assert world.now - began == pytest.approx(REAP, abs=0.2)
            await until(lambda: closing(world) == 0)
            assert world.now - began == pytest.approx(100.0, abs=adoption.PAUSE_SECONDS_MAX + 1)
            await serving
            assert world.driver.unconfirmed_total == 1

    virtual.run(scene())


@pytest.mark.parametrize("adapter", [Unlisted, Listing], ids=["nobody can be asked", "nobody answers"])
def test_where_nobody_tells_slots_are_let_go_after_their_time_unconfirmed(adapter: type[SimulatedAdapter]) -> None:
    async def scene() -> None:
        async with rig(adapter) as world:
            if isinstance(world.driver.kit.adapter, Listing):
                world.driver.kit.adapter.dumb = True
            began = world.now
            adoption.adopt(world.driver, await leave(world, 50.0, 55.0, orphans=adapter.traits.orphans))
            serving = asyncio.ensure_future(serve(world, 80))
            await until(lambda: closing(world) == 0)
            assert world.now - began == pytest.approx(REAP, abs=0.2)
            assert world.driver.unconfirmed_total == 2
            await serving

    virtual.run(scene())


def test_a_connection_that_was_closed_before_the_restart_has_waited_since_then() -> None:
    async def scene() -> None:
        async with rig(Unlisted) as world:
            began = world.now
            first, second = await leave(world, 5.0, 5.0, orphans="unlisted")
            adoption.adopt(world.driver, [replace(first, closed_seconds=20.0), replace(second, closed_seconds=50.0)])
            await until(lambda: closing(world) == 1)
            assert world.now - began == pytest.approx(REAP - 50, abs=0.1)
            await until(lambda: closing(world) == 0)
            assert world.now - began == pytest.approx(REAP - 20, abs=0.1)

    virtual.run(scene())


def test_a_backend_that_is_down_tells_nothing_and_the_pool_heals_when_it_is_back() -> None:
    async def scene() -> None:
        async with rig(Listing) as world:
            adoption.adopt(world.driver, await leave(world, 10.0))
            world.system.behave(refuse="down for maintenance")
            world.driver.run()
            await asyncio.sleep(30)
            assert (closing(world), world.driver.unconfirmed_total) == (1, 0)
            world.system.behave(refuse=None)
            await until(lambda: closing(world) == 0, 60)
            assert world.driver.unconfirmed_total == 0
            await take_the_whole_cap(world)

    virtual.run(scene())


def test_what_was_left_by_another_kind_of_backend_is_not_asked_for_but_waited_out() -> None:
    async def scene() -> None:
        async with rig(Listing) as world:
            left = [replace(each, kind="postgres") for each in await leave(world, 10.0)]
            adoption.adopt(world.driver, left)
            await serve(world, 20)
            assert closing(world) == 1
            await until(lambda: closing(world) == 0, REAP)
            assert isinstance(world.driver.kit.adapter, Listing)
            assert (world.driver.kit.adapter.questions, world.driver.unconfirmed_total) == (0, 1)

    virtual.run(scene())


def test_more_than_the_cap_now_allows_may_be_left_and_nothing_is_started_until_it_is_less() -> None:
    async def scene() -> None:
        async with rig(Watching) as world:
            world.system.behave(limit=None)
            left = await leave(world, 1.0, 1.0, 1.0, 2.0, 2.0)
            before = world.system.logins_total
            world.violations.clear()  # that many were allowed then
            adoption.adopt(world.driver, left)
            world.driver.run()
            call = world.submit(0.1)
            await asyncio.sleep(2.9)
            assert world.system.logins_total == before
            await finished([call])
            assert world.violations == []
            await take_the_whole_cap(world)

    virtual.run(scene())


def test_a_pool_that_is_drained_meanwhile_ends_within_its_grace() -> None:
    async def scene() -> None:
        async with rig(Listing) as world:
            adoption.adopt(world.driver, await leave(world, 500.0, 500.0))
            world.driver.run()
            await asyncio.sleep(5)
            began = world.now
            await world.driver.drain(30)
            assert world.now - began == pytest.approx(30, abs=0.5)
            assert world.driver.pool.held == 2  # their files stay, for whoever comes next

    virtual.run(scene())
