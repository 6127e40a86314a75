"""A minute in the life of a pool, once for each seed.

`PENSTOCK_SEED=N pytest tests/simulation` runs one seed, `PENSTOCK_SEEDS=N` that many; `PENSTOCK_TRACE=1` prints a line
of state for each event (show it with `-s`).
"""

import os
from collections import Counter

import pytest

from pooler.errors import Reason
from tests.simulation import virtual
from tests.simulation.world import World

SEEDS_USUALLY = 100
ENDINGS = {
    "ANSWER",
    Reason.QUEUE_FULL,
    Reason.QUEUE_TIMEOUT,
    Reason.START_TIMEOUT,
    Reason.WORK_TIMEOUT,
    Reason.SHED,
    Reason.START_FAILED,
    Reason.CONNECTION_LOST,
    Reason.OUTCOME_UNKNOWN,
    Reason.PAUSED,
    Reason.KILLED,
    Reason.DRAINING,
    Reason.REFUSED,
    Reason.CANCELLED,
}
"""Every way in which a call may end that has found its pool. The others are found before, or by the edge, or by
adapters that answer in more ways than the simulated one."""


def seeds(usually: int = SEEDS_USUALLY) -> range:
    """The seeds to run, as the environment says."""
    if one := os.environ.get("PENSTOCK_SEED"):
        return range(int(one), int(one) + 1)
    return range(int(os.environ.get("PENSTOCK_SEEDS", usually)))


async def life(seed: int) -> World:
    """A world from its beginning to its end, judged."""
    world = World(seed)
    await world.live()
    await world.recover()
    await world.end()
    world.judge()
    return world


def test_the_same_seed_is_the_same_world():
    first, second = virtual.run(life(7)), virtual.run(life(7))
    assert [call.delivered_at for call in first.rig.calls] == [call.delivered_at for call in second.rig.calls]
    assert first.rig.system.arrivals == second.rig.system.arrivals


def test_the_worlds_differ_enough_to_see_a_call_end_in_every_way():
    seen = sum((virtual.run(life(seed)).outcomes for seed in range(24)), Counter[str]())
    assert set(seen) == ENDINGS


@pytest.mark.promise(1, 2, 5, 6, 7, 33, 34)
@pytest.mark.parametrize("seed", seeds())
def test_a_pool_keeps_its_promises_in_the_world_of_a_seed(seed):
    try:
        virtual.run(life(seed))
    except BaseException as error:
        error.add_note(f"again, step by step: PENSTOCK_SEED={seed} PENSTOCK_TRACE=1 pytest -s tests/simulation")
        raise
