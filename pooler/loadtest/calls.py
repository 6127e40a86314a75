"""Which call comes at each moment: drawn from the mix, the tenants and the seed, and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any, Generic, TypeVar

import orjson

from pooler.loadtest.arguments import maker
from pooler.loadtest.plan import CallSpec, Plan, Step, Vanish
from pooler.loadtest.schedule import moments

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call, as the plan has it. Times in seconds."""

    at: float
    """When it is due, since the first step began."""
    step: int
    operation: str
    arguments: bytes
    tenant: str
    batch: bool
    timeout: float
    """How long its caller waits, from when it is due."""
    leaves_after: float | None = None
    """When its caller leaves, since it was due; None: he waits."""
    drops: bool = False
    """Whether his connection breaks off, rather than that he takes the call back."""


def arrivals(plan: Plan, steps: tuple[Step, ...], begins: float = 0.0, first_step: int = 0) -> Iterator[Arrival]:
    """The calls of these steps, in order. The moments do not depend on the mix, nor the mix on the moments.

    `begins`, `first_step`: what came before them in the same run.
    """
    times = Random(f"{plan.seed} moments {first_step}")  # noqa: S311 - a load, no secret
    draw = Mix(plan, Random(f"{plan.seed} calls {first_step}"))  # noqa: S311 - as above
    for step, at in moments(steps, plan.arrivals, times):
        yield draw.at(begins + at, first_step + step)


class Mix:
    """Draws calls, one after the other."""

    def __init__(self, plan: Plan, chance: Random) -> None:
        self._chance = chance
        self._plan = plan
        self._specs = _Weighted([(spec.weight, (spec, maker(spec.arguments))) for spec in plan.calls])
        tenants = [(spec.weight, (name, spec.priority)) for name, spec in plan.tenants.items()]
        self._tenants = _Weighted(tenants or [(1.0, ("", None))])

    def at(self, at: float, step: int) -> Arrival:
        """The call that comes then."""
        (spec, make), (tenant, priority) = self._specs.draw(self._chance), self._tenants.draw(self._chance)
        leaves_after, drops = self._patience(spec.vanish or self._plan.vanish)
        return Arrival(
            at,
            step,
            spec.operation,
            orjson.dumps(make(self._chance)),
            tenant,
            (spec.priority or priority) == "batch",
            spec.timeout_seconds or self._plan.timeout_seconds,
            leaves_after,
            drops,
        )

    def _patience(self, vanish: Vanish | None) -> tuple[float | None, bool]:
        if vanish is None or self._chance.random() >= vanish.share:
            return None, False
        return self._chance.uniform(*vanish.after_ms) / 1000, vanish.by == "drop"


def sample(spec: CallSpec, chance: Random) -> dict[str, Any]:
    """The arguments of one call of a kind, to be held against its operation's schema."""
    return maker(spec.arguments)(chance)


class _Weighted(Generic[T]):
    def __init__(self, weighted: Sequence[tuple[float, T]]) -> None:
        self._values = [value for _, value in weighted]
        self._sums = list(accumulate(weight for weight, _ in weighted))
        self.draw: Callable[[Random], T] = self._only if len(weighted) == 1 else self._one

    def _one(self, chance: Random) -> T:
        return chance.choices(self._values, cum_weights=self._sums)[0]

    def _only(self, chance: Random) -> T:
        return self._values[0]
