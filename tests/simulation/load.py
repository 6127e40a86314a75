"""Callers over long stretches of virtual time: some come whatever happens, some wait for their answers first."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.simulation.rig import Call, Rig

Work = Callable[[random.Random], float]
"""Draws how long a call works, in seconds."""


def about(seconds: float) -> Work:
    """Between half and one and a half times as long."""
    return lambda chance: seconds * chance.uniform(0.5, 1.5)


async def come(rig: Rig, rate: float, seconds: float, work: Work, seed: int = 0, **manners: Any) -> list[Call]:
    """Callers who come at this rate (a second) for so long, however those before them fare."""
    chance, calls, until = random.Random(seed), [], rig.now + seconds
    while rig.now < until:
        calls.append(rig.submit(work(chance), **manners))
        await asyncio.sleep(chance.expovariate(rate))
    return calls


async def go_on(rig: Rig, callers: int, seconds: float, work: Work, seed: int = 0, **manners: Any) -> list[Call]:
    """So many callers, each of whom calls again as soon as it has its answer, for so long."""
    chance, calls, until = random.Random(seed), [], rig.now + seconds

    async def caller() -> None:
        while rig.now < until:
            call = rig.submit(work(chance), **manners)
            calls.append(call)
            await call.done

    await asyncio.gather(*(caller() for _ in range(callers)))
    return calls


def waited(calls: Sequence[Call]) -> list[float]:
    """How long each waited for its connection, the shortest first."""
    return sorted(call.turn.granted_at - call.turn.asked_at for call in calls)


def took(calls: Sequence[Call]) -> list[float]:
    """How long each waited for its answer, the shortest first."""
    return sorted((call.delivered_at or float("inf")) - call.turn.asked_at for call in calls)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
