"""When calls come: every moment is fixed by the plan and the seed before the first is sent, and no answer moves it.

That is what makes the loop open. A generator that waits for answers sends less exactly while the system is slow, and
leaves out the latencies that its users would have had (coordinated omission).
"""

import math
from collections.abc import Iterator
from random import Random
from typing import Literal

from pooler.loadtest.plan import Step

Pattern = Literal["poisson", "even"]


def moments(steps: "tuple[Step, ...]", pattern: Pattern, chance: Random) -> Iterator[tuple[int, float]]:
    """The calls of these steps, in order: the step's index, and the seconds since the first one began.

    By time change: calls come at unit rate, evenly or as a Poisson process, on an axis of calls to be expected; the
    integral of the rate, which a ramp has in closed form, maps that to time. So both patterns and all rates are one
    rule, and a Poisson process stays one across the seam of two steps.
    """
    begins, expected = 0.0, 0.0
    place = _next(pattern, chance, 0.0)
    for index, step in enumerate(steps):
        while place < expected + step.calls:
            yield index, begins + into(step, place - expected)
            place = _next(pattern, chance, place)
        begins += step.seconds
        expected += step.calls


def into(step: Step, calls: float) -> float:
    """How far into a step so many calls are to be expected: t where rate·t + slope·t²/2 = calls.

    Written so that nothing cancels when the slope is small, or the ramp begins at 0.
    """
    slope = (step.end_rate - step.rate) / step.seconds
    root = math.sqrt(max(step.rate**2 + 2 * slope * calls, 0.0))
    return min(2 * calls / (step.rate + root), step.seconds) if step.rate + root > 0 else 0.0


def _next(pattern: Pattern, chance: Random, place: float) -> float:
    if pattern == "poisson":
        return place + chance.expovariate(1.0)
    # In the middle of its interval, so that n expected calls are n calls.
    return place + (1.0 if place else 0.5)
