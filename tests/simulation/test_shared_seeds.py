"""The same minute in the life of a pool whose connections carry several calls at once, short ones and slow ones.

`PENSTOCK_SEED=N pytest tests/simulation` runs one seed, `PENSTOCK_SEEDS=N` that many.
"""

from collections import Counter

import pytest

from tests.simulation import virtual
from tests.simulation.test_seeds import seeds
from tests.simulation.world import World

STREAMS = (2, 5, 32)


async def life(seed: int) -> World:
    """A world from its beginning to its end, judged."""
    world = World(seed, STREAMS[seed % len(STREAMS)])
    await world.live()
    await world.recover()
    await world.end()
    world.judge()
    return world


def test_the_worlds_differ_enough_to_see_slow_ones_in_the_way_of_others_and_results_of_more_than_a_page():
    lives = [virtual.run(life(seed)) for seed in range(12)]
    seen = sum((world.outcomes for world in lives), Counter[str]())
    assert seen["ANSWER"] > 1000
    assert sum(world.rig.driver.pool.sharing.misfits_total for world in lives) > 100
    assert sum(world.rig.driver.pool.sharing.demotions_total for world in lives) > 10
    assert any(
        call.moved and call.answered and call.turn.operation == "echo" for world in lives for call in world.rig.calls
    )


@pytest.mark.promise(1, 2, 5, 6, 7, 18, 19, 33, 34)
@pytest.mark.parametrize("seed", seeds(60))
def test_a_pool_whose_connections_are_shared_keeps_its_promises_in_the_world_of_a_seed(seed):
    try:
        virtual.run(life(seed))
    except BaseException as error:
        error.add_note(f"again, step by step: PENSTOCK_SEED={seed} PENSTOCK_TRACE=1 pytest -s tests/simulation")
        raise
