"""Upkeep: connections age, idle and are replaced, and callers do not notice."""

import asyncio

import pytest

from tests.simulation import virtual
from tests.simulation.load import about, come, waited
from tests.simulation.rig import Rig, finished, until


@pytest.mark.promise(28)
@pytest.mark.parametrize("seed", range(5))
def test_connections_that_were_born_together_die_one_by_one(seed):
    async def scene() -> None:
        rig = Rig({"cap": 20, "warm": 20, "parallel_starts": 20, "lifetime_seconds": 3600.0}, seed=seed)
        rig.driver.run()
        await until(lambda: rig.system.counts().open == 20)
        born_together = len(rig.system.arrivals)
        await asyncio.sleep(3600)
        replaced = rig.system.arrivals[born_together:][:20]
        assert replaced[-1] - replaced[0] > 600
        assert max(sum(at <= other < at + 60 for other in replaced) for at in replaced) <= 7

    virtual.run(scene())


@pytest.mark.promise(29)
def test_while_connections_age_and_are_replaced_a_caller_who_could_be_served_never_waits():
    async def scene() -> None:
        rules = {"cap": 4, "warm": 3, "lifetime_seconds": 120.0, "idle_seconds": 20.0, "validate_after_seconds": 1e6}
        rig = Rig(rules, start_seconds=2, dying_seconds=2)
        rig.driver.run()
        await until(lambda: rig.system.counts().open == 3)
        await finished(calls := await come(rig, 1.0, 1200, about(0.05)))
        assert rig.system.logins_total > 20
        assert waited(calls)[-1] == 0
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(29)
def test_warm_connections_are_there_for_who_comes_once_in_a_while():
    async def scene() -> None:
        rig = Rig({"cap": 4, "warm": 3, "idle_seconds": 20.0, "lifetime_seconds": 1e6}, start_seconds=2)
        rig.driver.run()
        await until(lambda: rig.system.counts().open == 3)
        for _ in range(50):
            await asyncio.sleep(rig.driver.pool.rules.idle_seconds + 1.5)
            await finished([rig.submit(0.1) for _ in range(3)])
        assert waited(rig.calls)[-1] == 0
        assert rig.system.logins_total == 3

    virtual.run(scene())


@pytest.mark.promise(29)
def test_a_connection_that_takes_its_time_to_die_makes_nobody_wait_while_another_slot_is_free():
    async def scene() -> None:
        rig = Rig({"cap": 2, "lifetime_seconds": 10.0}, start_seconds=1, dying_seconds=60)
        rig.driver.run()
        await finished([rig.submit()])
        await until(lambda: rig.system.counts().dying == 1)
        began = rig.now
        await finished([rig.submit()])
        assert rig.now - began == pytest.approx(1)

    virtual.run(scene())
