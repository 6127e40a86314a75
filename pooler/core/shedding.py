"""Which calls come too late to be worth their turn: what each operation takes, and who cannot be served in time.

Judged only at the grant, and only while others wait: a call whose caller will have left before the work is done would
cost the backend as much as one that succeeds. (Compare "goodput" in Floyd and Fall, 1999, and CoDel's insight that the
time to drop is at dequeue.) What is learned may be wrong, so now and then one that is too late goes through as a probe:
one in twenty of them, but also only one for twenty that were in time, since under a heavy load most are too late.
"""

from pooler.core.learned import Work
from pooler.core.slots import Waiter

PROBE_EVERY = 20
HEADROOM = 1.25
"""How many times the learned bound must be left. Under overload everybody who is served is close to his deadline, so
without it one in twenty is cut short, whatever the bound is; and a call that is cut short costs its connection a cancel
and a reset as well. (Real PostgreSQL, 3 to 10 times its capacity: 2 instead of 8 in 180 a second.)"""
SAMPLES_MIN = 10
"""Before so many calls of an operation have ended, nobody is judged by them."""
OPERATIONS_MAX = 1000
"""How many operations are remembered; a reload may rename them all."""


class Judge:
    """What is known of each operation's work, by its name."""

    def __init__(self) -> None:
        self._known: dict[str, Work] = {}

    def learn(self, operation: str, seconds: float) -> None:
        """A call of this operation has run to its end, and took this long."""
        work = self._known.get(operation)
        if work is None:
            if len(self._known) >= OPERATIONS_MAX:
                del self._known[next(iter(self._known))]
            work = self._known[operation] = Work.unknown()
        work.learn(seconds)

    def outlast(self, operation: str, seconds: float) -> None:
        """A call of this operation was cut short after this long: it would have taken longer."""
        if work := self._known.get(operation):
            work.outlast(seconds)

    def expected(self, operation: str) -> float:
        """What a call of this operation takes on average, in seconds; 0 when nobody knows."""
        work = self._known.get(operation)
        return work.mean.seconds if work else 0.0

    def seen(self, operation: str) -> int:
        """How many calls of this operation have been learned from."""
        work = self._known.get(operation)
        return work.mean.samples if work else 0

    def too_late(self, waiter: Waiter, now: float) -> bool:
        """Whether a call is not worth its turn: calls of its kind may well take longer than its caller will wait."""
        work = self._known.get(waiter.operation)
        if work is None or work.high.samples < SAMPLES_MIN or waiter.deadline - now >= HEADROOM * work.high.seconds:
            return False
        work.held_back += 1
        if work.held_back < PROBE_EVERY or 0 < work.ended < PROBE_EVERY:
            return True
        work.held_back, work.ended = 0, -1  # its own end does not count: it may be the only one there is
        return False
