"""Figures as people read them: three digits, a unit, no more. Used by the terminal and by the report alike."""

from pooler.loadtest.limits import Unit
from pooler.loadtest.result import Verdict


def milliseconds(value: float | None) -> str:
    """A time: 0.42 ms, 42 ms, 4.2 s."""
    if value is None:
        return "–"
    if value >= 999.5:
        return f"{_three(value / 1000)} s"
    return f"{_three(value)} ms"


def rate(value: float) -> str:
    """A rate: 42/s."""
    return f"{_three(value)}/s"


def share(value: float) -> str:
    """A share: 42 %; what is nearly all is never called all."""
    percent = value * 100
    if 99.95 <= percent < 100:
        return "99.9 %" if percent < 99.99 else "99.99 %"
    return f"{percent:.0f} %" if percent == round(percent) else f"{percent:.1f} %"


def count(value: float) -> str:
    """A number of things: 12,345."""
    return f"{value:,.0f}"


def figure(value: float | None, unit: Unit) -> str:
    """A limit's value in its own unit."""
    if value is None:
        return "nothing to measure"
    return {"latency": milliseconds, "rate": rate, "share": share, "count": count}[unit](value)


def verdict(given: Verdict) -> str:
    """What was measured, and where: `184 ms in step 3`."""
    return f"{figure(given.value, given.unit)} in {given.where}" if given.value is not None else given.where


def step_rate(rate_from: float, to: float) -> str:
    """A step's name: 50/s, or 50 → 400/s."""
    return f"{_three(rate_from)}/s" if rate_from == to else f"{_three(rate_from)} → {_three(to)}/s"


def outcome(name: str) -> str:
    """A reason in words: QUEUE_FULL as `queue full`."""
    return name.replace("_", " ").lower()


def _three(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"
