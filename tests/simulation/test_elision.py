"""Starts that nobody would gain by: they are not made."""

import asyncio

import pytest

from tests.simulation import virtual
from tests.simulation.rig import Rig, finished, until

START_SECONDS = 1.0


async def learned(cap: int, open_connections: int, work_seconds: float) -> Rig:
    """A pool that has so many connections, and knows what a start and a call take."""
    rig = Rig({"cap": cap, "parallel_starts": cap, "warm": open_connections}, start_seconds=START_SECONDS)
    rig.driver.run()
    await until(lambda: rig.system.counts().open == open_connections)
    await finished([rig.submit(work_seconds) for _ in range(open_connections)])
    assert rig.system.logins_total == open_connections
    return rig


@pytest.mark.promise(11)
def test_a_spike_that_the_open_connections_clear_in_the_time_of_a_start_starts_nothing():
    async def scene() -> None:
        rig = await learned(8, 2, 0.02)
        await finished([rig.submit(0.02) for _ in range(90)])
        assert rig.system.logins_total == 2

    virtual.run(scene())


@pytest.mark.promise(11)
def test_a_backlog_brings_the_starts_that_it_pays_for_and_ends_about_as_soon_as_with_all_of_them():
    async def scene() -> None:
        rig = await learned(200, 1, 0.02)
        began = rig.now
        await finished([rig.submit(0.02) for _ in range(200)])
        assert rig.now - began <= 1.1 * (START_SECONDS + 0.02)
        assert rig.system.logins_total <= 40

    virtual.run(scene())


@pytest.mark.promise(11)
def test_of_a_spike_that_has_left_only_the_starts_that_had_begun_are_finished():
    async def scene() -> None:
        rig = Rig({"cap": 8, "parallel_starts": 2}, start_seconds=START_SECONDS)
        spike = [rig.submit(1) for _ in range(50)]
        await until(lambda: rig.system.counts().starting == 2)
        for call in spike:
            rig.cancel(call)
        await asyncio.sleep(30)
        assert (rig.system.logins_total, rig.system.counts().open) == (2, 2)

    virtual.run(scene())
