"""When a client may be started: how many at once, the pause after a failure, the ceiling after a LIMIT.

After a failure one prober at a time goes out, with a jittered exponential pause between them; after a success the
number that may start at once doubles, up to the configured one. (A herd of starts on a backend that has just come back
knocks it over again: porsager/postgres#1179 made 12,500 attempts a second.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from pooler.core.learned import Mean

PAUSE_FIRST_SECONDS = 0.5
PAUSE_MAX_SECONDS = 30.0
"""A backend that was away for hours is noticed within this time of its return."""
WORTH = 0.1
"""A start pays when it shortens the backlog's wait by a tenth of what a start takes: 200 calls of 20 ms against a start
of 1 s then end within 10 % of what starting everything at once would give, with a fifth of the starts."""
WORK_RATE = 0.05
"""Weight of the newest call in what calls take: about the last forty count. A start cannot be taken back, so one call
that seems slow must not bring several. (200 calls at once on a real pooler: the first of them was seen to end half as
late again as it did, because the loop was busy with the others; at a rate of 0.2 that brought 5 starts beside 33.)"""
LEAST_SECONDS = 0.0001
DOUBLINGS_MAX = 16
"""Where counting stops; the bound above holds long before."""


@dataclass(slots=True)
class Pause:
    """A jittered exponential back-off: each pause is twice as long as the one before, up to a bound."""

    until: float = 0.0
    _began_at: float = float("-inf")
    _doublings: int = 0

    def lengthen(self, attempted_at: float, now: float, share: float) -> None:
        """An attempt that began then has failed. Those that were under way together count once, not once each."""
        if attempted_at <= self._began_at:
            return
        seconds = min(PAUSE_FIRST_SECONDS * 2.0**self._doublings, PAUSE_MAX_SECONDS)
        self._doublings = min(self._doublings + 1, DOUBLINGS_MAX)
        self._began_at, self.until = now, now + seconds * (0.5 + 0.5 * share)


@dataclass(slots=True)
class Starts:
    """The start policy's own state. `jitter` returns a number from 0 to 1."""

    parallel_max: int
    jitter: Callable[[], float]
    failures: int = 0
    """In a row; 0 while starts succeed."""
    words: str = ""
    """What the backend said to the last failed start."""
    ceiling: int | None = None
    """How many connections the backend was last seen to allow; None: no less than the cap."""
    proven: bool = False
    """Whether a start has ever succeeded."""
    took: Mean = field(default_factory=Mean)
    work: Mean = field(default_factory=lambda: Mean(rate=WORK_RATE))
    """What a call takes once it has a connection."""
    total: int = 0
    failed_total: int = 0
    _failing: Pause = field(default_factory=Pause)
    _limiting: Pause = field(default_factory=Pause)
    _ramp: int = 0
    """How many may start at once while recovering; 0: as many as configured."""

    @property
    def retry_at(self) -> float:
        """When the next prober may go out, after a failure."""
        return self._failing.until

    def window(self, now: float) -> int:
        """How many may be starting at this moment."""
        if now < self.retry_at:
            return 0
        return min(self.parallel_max, self._ramp) if self._ramp else self.parallel_max

    def limit(self, cap: int, now: float) -> int:
        """The most slots that may be held: the cap, or what the backend was seen to allow and now and then one more."""
        if self.ceiling is None:
            return cap
        return min(cap, self.ceiling + (1 if now >= self._limiting.until else 0))

    def worth(self, waiting: int, places: int, streams: int) -> int:
        """How many more connections those who wait would pay for.

        The `places` there are go on serving while new ones start; those whom they will not have served by then are the
        backlog. A start beyond what shortens its wait by `WORTH` of a start is not worth it. As long as nobody knows
        what starts and calls take, each who waits is worth one.
        """
        if not (self.took.samples and self.work.samples and waiting):
            return -(-waiting // streams)
        work = max(self.work.seconds, LEAST_SECONDS)
        backlog = waiting - max(0, places) * self.took.seconds / work
        enough = backlog * work / (WORTH * max(self.took.seconds, LEAST_SECONDS) * streams)
        return max(0, min(ceil(backlog / streams), ceil(enough)))

    def succeeded(self, seconds: float, let_in: int) -> None:
        """A start went well and took this long; with it, the backend has let in so many."""
        self.took.learn(seconds)
        self.proven, self.failures, self.words = True, 0, ""
        self._failing = Pause()
        if self.ceiling is not None and let_in > self.ceiling:
            self.ceiling, self._limiting, self._ramp = None, Pause(), 1
        if self._ramp:
            self._ramp = self._ramp + 1 if self._ramp + 1 < self.parallel_max else 0  # one more each: a wave doubles

    def failed(self, started_at: float, now: float, words: str) -> None:
        """A start failed; the backend said this."""
        self.failures += 1
        self.failed_total += 1
        self.words = words
        self._ramp = 1
        self._failing.lengthen(started_at, now, self.jitter())

    def limited(self, started_at: float, now: float, others: int, words: str) -> None:
        """The backend allows no more than the `others` at present. No failure: nobody is told.

        What one of those gives back may be taken again at once; only beyond them is there a pause, and one prober.
        """
        self.ceiling = others
        self.words = words
        self._limiting.lengthen(started_at, now, self.jitter())
