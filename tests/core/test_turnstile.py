"""Those who never have enough, one at a time."""

import asyncio

import pytest

from pooler.runtime.turnstile import Turnstile

pytestmark = pytest.mark.anyio

TURNS = 60


async def test_however_many_want_more_there_is_room_for_one_in_a_turn_of_the_loop_and_each_goes_as_often() -> None:
    turnstile = Turnstile()
    went: list[str] = []

    async def insatiable(name: str) -> None:
        while True:
            await turnstile.through()
            went.append(name)

    tasks = [asyncio.ensure_future(insatiable(name)) for name in "abcd"]
    for _ in range(TURNS):
        before = len(went)
        await asyncio.sleep(0)
        assert len(went) - before <= 2, "one, and at the edge of two turns one more"
    for task in tasks:
        task.cancel()
    assert TURNS / 3 < len(went) <= TURNS, "nobody waits for two of them, and they for nothing"
    assert went[1:9] == [*"abcd", *"abcd"]


async def test_whoever_comes_alone_does_not_wait() -> None:
    turnstile = Turnstile()
    passage = turnstile.through()
    with pytest.raises(StopIteration):
        passage.send(None)


@pytest.mark.parametrize("turns", [0, 1], ids=["before his turn", "when it has just come"])
async def test_whoever_leaves_holds_nobody_up(turns: int) -> None:
    turnstile = Turnstile()
    first, leaving, staying = (asyncio.ensure_future(turnstile.through()) for _ in range(3))
    for _ in range(1 + turns):
        await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(1):
        await staying
        await turnstile.through()
    assert first.done()
    assert leaving.cancelled()
