"""A minute of shared reads, once for each seed: callers who come and leave, writes, orders, a backend that misbehaves.

Whatever happens: each caller hears once, and in time; nobody is given what was overwritten by a write that had been
acknowledged when he came, nor anything older than promised; at the end nothing is under way, and the cap is whole.
`PENSTOCK_SEED=N` and `PENSTOCK_SEEDS=N` as elsewhere.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest

from pooler.backends.base import Answer
from pooler.core.cache import Terms
from pooler.core.slots import Priority
from pooler.errors import Fault
from pooler.runtime.turns import Outcome
from tests.simulation import virtual
from tests.simulation.sharing import Asked, Sharing
from tests.simulation.test_seeds import seeds
from tests.simulation.world import MOMENT, SOUND

SEEDS_USUALLY = 60
LASTS_SECONDS = 60.0
AFTERWARDS_SECONDS = 120.0
"""What is fetched ahead of time, and what is looked after, ends as well."""
VALUES = "aaaabc"
TERMS = (Terms(), Terms(5.0), Terms(5.0, stale=10.0), Terms(2.0, down=30.0), Terms(2.0, 3.0, float("inf")))


@dataclass(frozen=True)
class Reader:
    """A read, and what it must not fall behind."""

    asked: Asked
    floor: int
    timeout: float


class World:
    """One seed's."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.terms = chance.choice(TERMS)
        strict = chance.random() < 0.3
        self.sharing = Sharing(
            self.terms._replace(stale=0.0, down=0.0) if strict else self.terms,
            {"cap": chance.randint(1, 4), "queue_max": chance.choice([3, 1000]), "shared_fate": chance.random() < 0.5},
            bytes_max=chance.choice([1 << 14, 1 << 20]),
            strict=strict,
            tags=() if strict else ("value:{value}",),
            scope=chance.choice(["tenant", "shared"]),
        )
        pace = chance.choice([0.0, 0.05, 0.5])
        self.sharing.adapter.before = self.sharing.adapter.after = lambda: chance.random() * pace
        self.readers: list[Reader] = []
        self.writers: list[Reader] = []
        self.acknowledged: Counter[str] = Counter()

    async def live(self) -> None:
        until = self.sharing.now + LASTS_SECONDS
        trouble = asyncio.ensure_future(self._misfortunes(until))
        while self.sharing.now < until:
            await asyncio.sleep(self.chance.expovariate(20))
            self._somebody_comes()
        await trouble
        self.sharing.rig.orders.resume()
        self.sharing.system.behave(**SOUND)
        for each in [*self.readers, *self.writers]:
            await each.asked.outcome()
        await asyncio.sleep(AFTERWARDS_SECONDS)

    def _somebody_comes(self) -> None:
        chance, value = self.chance, self.chance.choice(VALUES)
        timeout = chance.choice([0.1, 1.0, 5.0, 30.0])
        if chance.random() < 0.1:
            asked = self.sharing.send("put", value, timeout=timeout)
            asked.heard = partial(self._acknowledge, value)
            self.writers.append(Reader(asked, 0, timeout))
        else:
            priority, tenant = chance.choice(list(Priority)), chance.choice(["one", "one", "another"])
            asked = self.sharing.send("get", value, timeout=timeout, priority=priority, tenant=tenant)
            self.readers.append(Reader(asked, self.acknowledged[value], timeout))
        if chance.random() < 0.2:
            asyncio.get_running_loop().call_later(chance.expovariate(2), asked.leave)

    def _acknowledge(self, value: str, outcome: Outcome) -> None:
        if isinstance(outcome.result, Answer):
            self.acknowledged[value] += 1

    async def _misfortunes(self, until: float) -> None:
        while self.sharing.now < until:
            await asyncio.sleep(self.chance.expovariate(0.4))
            self.chance.choice(self._possible())()
            await asyncio.sleep(self.chance.expovariate(1.0))
            self.sharing.system.behave(**SOUND)
            self.sharing.rig.orders.resume()

    def _possible(self) -> list[Callable[[], Any]]:
        sharing, chance = self.sharing, self.chance
        return [
            lambda: sharing.system.behave(refuse="down"),
            lambda: sharing.system.behave(die_after=chance.randint(1, 5)),
            self._restart,
            sharing.rig.orders.pause,
            sharing.rig.orders.retire,
            lambda: sharing.answers.order([f"value:{chance.choice(VALUES)}"]),
            lambda: sharing.answers.order(everything=True),
            lambda: sharing.install(self.terms, revision=chance.random()),
        ]

    def _restart(self) -> None:
        for session in list(self.sharing.system.sessions):
            self.sharing.system.kill(session)

    # Judging

    def judge(self) -> None:
        """The oracles. Raises AssertionError."""
        sharing = self.sharing
        for each in [*self.readers, *self.writers]:
            assert len(each.asked.outcomes) == 1
            assert each.asked.told_at <= each.asked.asked_at + each.timeout + MOMENT
        for reader in self.readers:
            self._judge(reader)
        assert sharing.rig.violations == []
        assert (sharing.dispatcher.under_way, len(sharing.answers.alarms), len(sharing.answers.flights)) == (0, 0, 0)
        assert sharing.answers.cache.bytes <= sharing.answers.cache.bytes_max
        assert len(sharing.answers.epochs) <= len(sharing.answers.cache)
        assert len(sharing.driver.pool.ledger.grants) == 0

    def _judge(self, reader: Reader) -> None:
        (outcome,) = reader.asked.outcomes
        if not isinstance(outcome.result, Answer):
            return
        count = int(orjson.loads(outcome.result.body)["result"])
        assert count >= reader.floor, f"{count} to somebody who had to see {reader.floor}: {outcome}"
        if outcome.reuse is not None and outcome.reuse.state in ("hit", "stale"):
            assert outcome.reuse.age <= self.terms.ttl + max(self.terms.stale, self.terms.down) + MOMENT


async def life(seed: int) -> World:
    """A world from its beginning to its end, judged."""
    world = World(seed)
    await world.live()
    world.judge()
    return world


@pytest.mark.promise(25, 26, 27)
@pytest.mark.parametrize("seed", seeds(SEEDS_USUALLY))
def test_a_minute_of_shared_reads_breaks_no_promise(seed: int) -> None:
    virtual.run(life(seed))


def test_the_worlds_differ_enough_to_see_every_kind_of_answer() -> None:
    states: Counter[str] = Counter()
    for seed in range(12):
        world = virtual.run(life(seed))
        states.update(reader.asked.state for reader in world.readers)
        states.update(
            outcome.result.reason.value
            for reader in world.readers
            for outcome in reader.asked.outcomes
            if isinstance(outcome.result, Fault)
        )

    assert {"hit", "stale", "miss", "joined", "CANCELLED", "QUEUE_TIMEOUT", "WORK_TIMEOUT"} <= states.keys()


def test_the_same_seed_is_the_same_world() -> None:
    first, second = virtual.run(life(3)), virtual.run(life(3))

    assert [each.asked.told_at for each in first.readers] == [each.asked.told_at for each in second.readers]
