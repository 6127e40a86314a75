"""Times in HdrHistograms: constant memory, three significant digits, from a microsecond to an hour.

Percentiles are read from counts of all calls, never averaged from percentiles of parts.
"""

from typing import Any

from hdrh.histogram import HdrHistogram

from pooler.loadtest.result import Distribution

HIGHEST_US = 3_600_000_000
DIGITS = 3
COARSE_DIGITS = 2
TICKS = 5
"""Points of a spectrum for each halving of what is left above: enough for a smooth curve."""


class Times:
    """Times that are recorded one by one, in seconds. `coarse`: two digits, in a seventh of the memory."""

    __slots__ = ("_digits", "_made")

    def __init__(self, *, coarse: bool = False) -> None:
        self._digits = COARSE_DIGITS if coarse else DIGITS
        self._made: Any = None

    @property
    def _histogram(self) -> Any:
        """Made with the first time: it takes 190 KB, and many a tenant never sees a failure."""
        if self._made is None:
            self._made = HdrHistogram(1, HIGHEST_US, self._digits)
        return self._made

    def record(self, seconds: float) -> None:
        """What is above an hour counts as an hour."""
        self._histogram.record_value(min(max(round(seconds * 1e6), 0), HIGHEST_US))

    def add(self, other: "Times") -> None:
        """Takes another's times in, which must be as coarse."""
        if len(other):
            self._histogram.add(other._histogram)

    def __len__(self) -> int:
        return 0 if self._made is None else int(self._made.get_total_count())

    def at(self, percentile: float) -> float:
        """In milliseconds; 0 to 100."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e3

    def distribution(self) -> Distribution | None:
        """All that is said of them; None when there are none."""
        if not len(self):
            return None
        highest = self._histogram.get_max_value()
        return Distribution(
            count=len(self),
            mean_ms=round(self._histogram.get_mean_value() / 1e3, 4),
            p50_ms=self.at(50),
            p90_ms=self.at(90),
            p99_ms=self.at(99),
            p999_ms=self.at(99.9),
            max_ms=highest / 1e3,
            spectrum=[
                (round(item.percentile_level_iterated_to, 6), min(item.value_iterated_to, highest) / 1e3)
                for item in self._histogram.get_percentile_iterator(TICKS)
            ],
            hdr=self._histogram.encode().decode("ascii"),
        )


def restored(distribution: Distribution) -> "Restored":
    """The histogram that a distribution was read from."""
    return Restored(HdrHistogram.decode(distribution.hdr))


class Restored:
    """What a histogram can still be asked when a run is over."""

    def __init__(self, histogram: Any) -> None:
        self._histogram = histogram

    def at(self, percentile: float) -> float:
        """In milliseconds."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e3

    def within(self, milliseconds: float) -> int:
        """How many were at most so long."""
        most = milliseconds * 1e3
        recorded = self._histogram.get_recorded_iterator()
        lowest = self._histogram.get_lowest_equivalent_value
        return sum(item.count_at_value_iterated_to for item in recorded if lowest(item.value_iterated_to) <= most)
