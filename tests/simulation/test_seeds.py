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
NEVER_HERE = {
    # Found before a pool is asked, or by the edge.
    Reason.DEADLINE_REQUIRED,
    Reason.INVALID_ARGUMENTS,
    Reason.OPERATION_NOT_FOUND,
    Reason.TOO_MANY_CALLS,
    # Nothing here answers in these ways.
    Reason.BUSY,
    Reason.PROTOCOL,
    Reason.RESULT_TOO_LARGE,
    Reason.INTERNAL,
    # What an administrator is told, and no call ends in.
    Reason.BACKEND_NOT_FOUND,
    Reason.CONNECTION_NOT_FOUND,
    Reason.CALL_NOT_FOUND,
    Reason.INVALID_ORDER,
    Reason.INVALID_CONFIGURATION,
}


def seeds() -> range:
    """The seeds to run, as the environment says."""
    if one := os.environ.get("PENSTOCK_SEED"):
        return range(int(one), int(one) + 1)
    return range(int(os.environ.get("PENSTOCK_SEEDS", SEEDS_USUALLY)))


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
    assert set(seen) == {"ANSWER", *Reason} - NEVER_HERE


@pytest.mark.promise(1, 2, 5, 6, 7, 33, 34)
@pytest.mark.parametrize("seed", seeds())
def test_a_pool_keeps_its_promises_in_the_world_of_a_seed(seed):
    try:
        virtual.run(life(seed))
    except BaseException as error:
        error.add_note(f"again, step by step: PENSTOCK_SEED={seed} PENSTOCK_TRACE=1 pytest -s tests/simulation")
        raise
