"""From values to places along an axis, and the values that an axis names. Pure arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`; `ticks` are what it names. Logarithmic ones bear no 0."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.log:
            return (math.log(max(value, self.low)) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


def linear(values: Sequence[float], most_ticks: int = 6, *, exact: bool = False) -> Scale:
    """From 0 to a round value past the greatest. `exact`: to the greatest itself, as for a run's time."""
    greatest = max(values, default=0.0) or 1.0
    step = _round_step(greatest / most_ticks)
    count = math.floor(greatest / step + 1e-9)
    high = greatest if exact else step * math.ceil(greatest / step - 1e-9)
    ticks = tuple(round(index * step, 10) for index in range((count if exact else round(high / step)) + 1))
    return Scale(0.0, high, ticks)


def logarithmic(values: Sequence[float], least: float) -> Scale:
    """Between round values around all that are positive; at least a decade. `least`: what is taken for 0."""
    positive = [value for value in values if value >= least] or [least, least * 10]
    low, high = _round_below(min(positive)), _round_above(max(positive))
    high = max(high, low * 10)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    within = range(1, 10) if high / low <= 10 else (1, 2, 5) if high / low <= 10_000 else (1,)
    ticks = [10.0**decade * digit for decade in decades for digit in within]
    kept = tuple(float(f"{tick:.6g}") for tick in ticks if low * 0.999 <= tick <= high * 1.001)
    return Scale(
        low, high, kept if len(kept) <= 12 else tuple(tick for tick in kept if _leading(tick) in (1, 2, 5)), True
    )


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)


def _round_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(power * digit for digit in (1, 2, 5) if power * digit <= value * 1.001)


def _round_above(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min(power * digit for digit in (1, 2, 5, 10) if power * digit >= value * 0.999)


def _leading(value: float) -> int:
    return round(value / 10.0 ** math.floor(math.log10(value) + 1e-9))
