"""Watchers in the world of a seed: whatever befalls the backend and its DBA orders, no change goes unheard for ever."""

import asyncio
from collections.abc import Iterator

import pytest

from pooler.runtime.watches.source import Interest
from tests.simulation import virtual
from tests.simulation.rig import until
from tests.simulation.test_seeds import seeds
from tests.simulation.watching import BY_CHANNEL, Watcher, Watching
from tests.simulation.world import LASTS_SECONDS, SOUND, World

VALUES = ("1", "2", "3")


class WatchedWorld(World):
    """The same world, with watchers who come and leave, and a backend that tells of changes."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.watching = Watching(BY_CHANNEL, rig=self.rig)
        self.watchers: dict[Watcher, float] = {}
        """Since when."""
        self.said: dict[str, float] = {}
        """When something was said of each value, for the last time."""

    async def live(self) -> None:
        """The minute itself."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().live())
            group.create_task(self._watchers())
            group.create_task(self._changes())

    async def _watchers(self) -> None:
        until_when = self.rig.now + LASTS_SECONDS
        while self.rig.now < until_when:
            await asyncio.sleep(self.chance.expovariate(0.5))
            if self.watchers and self.chance.random() < 0.4:
                watcher = self.chance.choice(list(self.watchers))
                watcher.leave()
                del self.watchers[watcher]
                self.note("a watcher leaves")
            else:
                self.watchers[self.watching.watch(*self.chance.sample(VALUES, 2))] = self.rig.now
                self.note("a watcher comes")
            await asyncio.sleep(0)

    async def _changes(self) -> None:
        until_when = self.rig.now + LASTS_SECONDS
        while self.rig.now < until_when:
            await asyncio.sleep(self.chance.expovariate(2.0))
            value = self.chance.choice(VALUES)
            self.said[value] = self.rig.now
            self.watching.say(value)

    async def calm_down(self) -> None:
        """The backend behaves again, and every watch is in effect."""
        self.rig.system.behave(**SOUND)
        self.rig.orders.resume()
        self.rig.resize(cap=4, adaptive=False)
        await until(self._settled)
        await asyncio.sleep(0.01)

    def _settled(self) -> bool:
        effective = all(interest.source is not None and interest.source.effect.is_set() for interest in self)
        return effective and len(self.watching.listening) == bool(self.watchers)

    def __iter__(self) -> Iterator[Interest]:
        return (interest for watcher in self.watchers for interest in watcher.watch.interests)

    def judge_watchers(self) -> None:
        """Whoever watches has heard of each change, at the change or later."""
        for watcher, since in self.watchers.items():
            for target in watcher.watch.interests.values():
                said_at = self.said.get(target.uri, 0.0)
                heard = [at for uri, at in zip(watcher.heard, watcher.at, strict=True) if uri == target.uri]
                assert said_at <= since or max(heard, default=0.0) >= said_at, f"a change of {target.uri} went unheard"


async def life(seed: int) -> WatchedWorld:
    world = WatchedWorld(seed)
    await world.live()
    await world.calm_down()
    world.judge_watchers()
    await world.watching.watches.close()
    await world.recover()
    await world.end()
    world.judge()
    return world


@pytest.mark.promise(1, 2, 4)
@pytest.mark.parametrize("seed", seeds(usually=30))
def test_watchers_hear_of_every_change_and_cost_no_more_than_a_place_in_the_world_of_a_seed(seed: int):
    world = virtual.run(life(seed))
    assert world.said
