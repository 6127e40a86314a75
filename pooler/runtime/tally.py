"""Where the time of one pool's calls went, counted as it went: for whoever looks later, not for any decision.

A call is counted however it ended, those that got no connection too: an incident is what happens to them. Counting
costs a call two look-ups among the bounds; what is shown of it is made when somebody asks.
"""

from bisect import bisect_left
from collections import Counter
from itertools import accumulate

from pooler.backends.base import Answer
from pooler.errors import Fault, Reason
from pooler.runtime.turns import Timing

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: from what a warm database takes to what a slow login does."""
GRANTED, TIMED_OUT, CANCELLED, SHED, REFUSED = OUTCOMES = ("granted", "timed_out", "cancelled", "shed", "refused")
"""How a wait can end. What became of the work of a call that got its connection is another matter."""

TENANTS_MAX = 1000
"""Of how many tenants is counted how their waits ended in vain; then the one heard of first is forgotten."""

_OUTCOME = {
    Reason.QUEUE_TIMEOUT: TIMED_OUT,
    Reason.START_TIMEOUT: TIMED_OUT,
    Reason.PAUSED: TIMED_OUT,
    Reason.CANCELLED: CANCELLED,
    Reason.KILLED: CANCELLED,
    Reason.SHED: SHED,
}


class Histogram:
    """Durations in seconds, by the bounds above."""

    def __init__(self) -> None:
        self.sum = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """One more duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        return sum(self._counts)

    @property
    def mean(self) -> float:
        """Seconds; 0 where there is none."""
        return self.sum / count if (count := self.count) else 0.0

    def cumulative(self) -> list[tuple[float, int]]:
        """For each bound, infinity last, how many durations are no longer than it."""
        return list(zip((*BOUNDS, float("inf")), accumulate(self._counts), strict=True))


class Tally:
    """The histograms of one pool."""

    def __init__(self) -> None:
        self.waits = {outcome: Histogram() for outcome in OUTCOMES}
        """From asking to the connection, or to the end of waiting."""
        self.starts = Histogram()
        """The part of a wait in which the connection was starting, of calls that waited for that."""
        self.resets = Histogram()
        """The part of a wait in which the connection was being reset, of calls that waited for that."""
        self.work = Histogram()
        """The backend's own work, of calls that had a connection."""
        self.in_vain: dict[str, Counter[str]] = {}
        """By tenant: how its waits ended that brought no connection."""

    def note(self, granted: bool, result: Answer | Fault, spent: Timing, tenant: str) -> None:
        """A call has ended. `granted`: whether it had a connection."""
        if not granted:
            assert isinstance(result, Fault)
            outcome = _OUTCOME.get(result.reason, REFUSED)
            self.waits[outcome].add(spent.queue)
            self._of(tenant)[outcome] += 1
            return
        self.waits[GRANTED].add(spent.queue + spent.start + spent.reset)
        self.work.add(spent.backend)
        if spent.start:
            self.starts.add(spent.start)
        if spent.reset:
            self.resets.add(spent.reset)

    def _of(self, tenant: str) -> Counter[str]:
        if (counts := self.in_vain.get(tenant)) is None:
            if len(self.in_vain) >= TENANTS_MAX:
                del self.in_vain[next(iter(self.in_vain))]
            counts = self.in_vain[tenant] = Counter()
        return counts
