"""Two runs beside each other: the steps that have the same rate, figure by figure. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from pooler.loadtest import words
from pooler.loadtest.result import Result, StepResult

NOISE = 0.05
"""Less than this is called no change: two runs of the same thing differ as much."""

Figure = tuple[str, Callable[[StepResult], float | None], Callable[[float], str], bool]
_FIGURES: tuple[Figure, ...] = (
    ("good answers", lambda step: step.all.good_per_second, words.rate, True),
    ("goodput", lambda step: step.all.goodput, words.share, True),
    ("p50", lambda step: step.all.latency.p50_ms if step.all.latency else None, words.milliseconds, False),
    ("p99", lambda step: step.all.latency.p99_ms if step.all.latency else None, words.milliseconds, False),
    ("queue, mean", lambda step: _part(step, "queue"), words.milliseconds, False),
    ("work, mean", lambda step: _part(step, "work"), words.milliseconds, False),
)
"""Name, value, how it is said, whether more is better."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one step, before and now."""

    step: str
    figure: str
    before: str
    now: str
    words: str
    better: bool | None
    """None: neither, or too little to say."""


def compared(before: Result, after: Result) -> list[Change]:
    """By the steps of the later run: the first of the earlier one with the same rate, each once."""
    left = list(before.steps)
    changes = []
    for step in after.steps:
        same = next((old for old in left if (old.rate, old.to) == (step.rate, step.to) and old.all.calls), None)
        if same is None or not step.all.calls:
            continue
        left.remove(same)
        changes += [_change(step, figure, same) for figure in _FIGURES]
    return changes


def _change(step: StepResult, figure: Figure, old: StepResult) -> Change:
    name, value, said, more_is_better = figure
    before, now = value(old), value(step)
    title = f"{step.number}: {words.step_rate(step.rate, step.to)}"
    was, now_is = ("–" if each is None else said(each) for each in (before, now))
    if before is None or now is None or not before:
        return Change(title, name, was, now_is, "–", None)
    ratio = now / before - 1
    if abs(ratio) < NOISE:
        return Change(title, name, was, now_is, "same", None)
    return Change(title, name, was, now_is, f"{ratio:+.0%}", (ratio > 0) == more_is_better)


def _part(step: StepResult, part: str) -> float | None:
    return step.parts[part].mean_ms if part in step.parts else None
