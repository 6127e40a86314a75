"""Which steps a run makes, a round at a time: those of its plan, or a search for the rate where the limits still hold.

Pure: what a round has come to goes in, the next steps come out. Between two rounds every call is answered.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from pooler.loadtest.plan import Step
from pooler.loadtest.result import StepResult

PRECISION = 0.1
"""The search ends when the highest rate that held and the lowest that did not are this close."""
PROBES_MAX = 16


class Rounds(Protocol):
    """Asked for the next steps after each round."""

    seconds: float
    """How long all of it may take, about."""

    def next(self, done: Sequence[StepResult]) -> tuple[Step, ...]:
        """The next steps; none at the end. `done`: all steps so far."""

    def judged(self, done: Sequence[StepResult]) -> Sequence[StepResult]:
        """The steps that the limits are about."""

    def said(self) -> list[str]:
        """What it has found, in sentences."""


class Planned:
    """A plan's own steps, in one round."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.seconds = sum(step.seconds for step in steps)
        self._steps = steps

    def next(self, done: Sequence[StepResult]) -> tuple[Step, ...]:
        """All of them, once."""
        return () if done else self._steps

    def judged(self, done: Sequence[StepResult]) -> Sequence[StepResult]:
        """All."""
        return done

    def said(self) -> list[str]:
        """Nothing."""
        return []


class Search:
    """Doubles a rate until the limits no longer hold, then halves the gap. `holds`: whether they did in a step."""

    def __init__(self, first: Step, holds: Callable[[StepResult], bool]) -> None:
        self.seconds = first.seconds * PROBES_MAX / 2
        self._step = first
        self._holds = holds
        self._held: float | None = None
        self._failed: float | None = None
        self._probes = 0

    def next(self, done: Sequence[StepResult]) -> tuple[Step, ...]:
        """One step at the next rate to be tried."""
        if done:
            self._learn(done[-1])
        if self._probes == PROBES_MAX or self._is_found:
            return ()
        self._probes += 1
        return (self._step.model_copy(update={"rate": self._next_rate(), "to": None}),)

    def judged(self, done: Sequence[StepResult]) -> Sequence[StepResult]:
        """The one at the rate that was found, since others were meant to fail; where none held, the lowest."""
        rate = self._failed if self._held is None else self._held
        return [step for step in done if step.rate == rate][-1:]

    def said(self) -> list[str]:
        """The rate that was found, and how closely."""
        if self._held is None:
            return [f"the limits held at no rate: not even at {self._failed or 0:g}/s"]
        if self._failed is None:
            return [f"the limits still held at {self._held:g}/s, the highest rate that was tried"]
        return [f"the limits hold up to {self._held:g}/s, and no longer at {self._failed:g}/s"]

    @property
    def _is_found(self) -> bool:
        if self._held is None or self._failed is None:
            return False
        return self._failed - self._held <= PRECISION * self._failed

    def _learn(self, step: StepResult) -> None:
        if self._holds(step):
            self._held = max(step.rate, self._held or 0.0)
        else:
            self._failed = min(step.rate, self._failed or step.rate)

    def _next_rate(self) -> float:
        if self._failed is None:
            return self._step.rate if self._held is None else self._held * 2
        return _round((self._failed + (self._held or 0.0)) / 2)


def _round(rate: float) -> float:
    """To three digits: a rate is for people too."""
    return float(f"{rate:.3g}")
