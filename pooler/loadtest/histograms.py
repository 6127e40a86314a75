"""Times in HdrHistograms: constant memory, three significant digits, from a microsecond to an hour.

Percentiles are read from counts of all calls, never averaged from percentiles of parts. They are read here in one pass
over what was recorded: the library walks over all 23,552 places for each percentile, a tenth of a second for all that a
report wants to know of one histogram.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from hdrh.histogram import HdrHistogram

from pooler.loadtest.result import Distribution

HIGHEST_US = 3_600_000_000
DIGITS = 3
COARSE_DIGITS = 2
TICKS = 5
"""Points of a spectrum for each halving of what is left above: enough for a smooth curve."""


class Recorded:
    """What a histogram holds, read once: the values from low to high, and how many there are of each."""

    def __init__(self, histogram: Any) -> None:
        places = [(index, count) for index, count in enumerate(histogram.counts[:]) if count]
        self.values: list[int] = [
            int(histogram.get_highest_equivalent_value(histogram.get_value_from_index(index))) for index, _ in places
        ]
        """Microseconds; the highest that is counted as the same."""
        self.sums: list[int] = list(accumulate(count for _, count in places))
        self.counts: list[int] = [count for _, count in places]

    @property
    def total(self) -> int:
        return self.sums[-1] if self.sums else 0

    def at(self, percentile: float) -> float:
        """The value that so many percent are at most, in milliseconds; something must have been recorded."""
        wanted = max(1, math.ceil(percentile / 100 * self.total - 1e-9))
        return self.values[min(bisect_left(self.sums, wanted), len(self.values) - 1)] / 1e3

    def within(self, milliseconds: float) -> int:
        """How many were at most so long, to the histogram's three digits."""
        last = bisect_left(self.values, milliseconds * 1e3 * (1 + 10**-DIGITS))
        return self.sums[last - 1] if last else 0

    @property
    def mean_ms(self) -> float:
        """Something must have been recorded."""
        whole = sum(value * count for value, count in zip(self.values, self.counts, strict=True))
        return whole / self.total / 1e3

    def spectrum(self) -> list[tuple[float, float]]:
        """Percentiles and their values, closer and closer to 100, as far as there are calls to tell them apart."""
        levels, step = [0.0], 100 / TICKS / 2
        while 100 - levels[-1] > 100 / self.total:
            levels.append(levels[-1] + step)
            if (len(levels) - 1) % TICKS == 0:
                step /= 2
        return [(round(level, 6), self.at(level)) for level in (*levels, 100.0)]


class Times:
    """Times that are recorded one by one, in seconds. `coarse`: two digits, in a seventh of the memory."""

    __slots__ = ("_digits", "_made")

    def __init__(self, *, coarse: bool = False) -> None:
        self._digits = COARSE_DIGITS if coarse else DIGITS
        self._made: Any = None

    def record(self, seconds: float) -> None:
        """What is above an hour counts as an hour."""
        self._histogram.record_value(min(max(round(seconds * 1e6), 0), HIGHEST_US))

    def add(self, other: "Times") -> None:
        """Takes another's times in, which must be as coarse."""
        if len(other):
            self._histogram.add(other._histogram)

    def __len__(self) -> int:
        return 0 if self._made is None else int(self._made.get_total_count())

    def percentiles(self, *wanted: float) -> Sequence[float | None]:
        """In milliseconds; None where nothing was recorded."""
        if not len(self):
            return [None] * len(wanted)
        recorded = Recorded(self._made)
        return [recorded.at(each) for each in wanted]

    def distribution(self) -> Distribution | None:
        """All that is said of them; None when there are none."""
        if not len(self):
            return None
        recorded = Recorded(self._made)
        p50, p90, p99, p999, highest = (recorded.at(each) for each in (50, 90, 99, 99.9, 100))
        return Distribution(
            count=recorded.total,
            mean_ms=round(recorded.mean_ms, 4),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            p999_ms=p999,
            max_ms=highest,
            spectrum=recorded.spectrum(),
            hdr=self._made.encode().decode("ascii"),
        )

    @property
    def _histogram(self) -> Any:
        """Made with the first time: it takes 190 KB, and many a tenant never sees a failure."""
        if self._made is None:
            self._made = HdrHistogram(1, HIGHEST_US, self._digits)
        return self._made


def restored(distribution: Distribution) -> Recorded:
    """What the histogram held that a distribution was read from."""
    return Recorded(HdrHistogram.decode(distribution.hdr))
