"""When a client may be started: how many at once, the pause after a failure, the ceiling after a LIMIT.

After a failure one prober at a time goes out, with a jittered exponential pause between them; after a success the
number that may start at once doubles, up to the configured one. (A herd of starts on a backend that has just come back
knocks it over again: porsager/postgres#1179 made 12,500 attempts a second.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

PAUSE_FIRST_SECONDS = 0.5
PAUSE_MAX_SECONDS = 30.0
"""A backend that was away for hours is noticed within this time of its return."""
LEARNING_RATE = 0.2
"""Weight of the newest sample in a learned mean: about the last ten samples count."""


@dataclass(slots=True)
class Mean:
    """An exponentially weighted mean of durations in seconds; 0 before the first sample."""

    seconds: float = 0.0
    samples: int = 0

    def learn(self, seconds: float) -> None:
        self.samples += 1
        weight = max(LEARNING_RATE, 1 / self.samples)
        self.seconds += weight * (seconds - self.seconds)


@dataclass(slots=True)
class Starts:
    """The start policy's own state. `jitter` returns a number from 0 to 1."""

    parallel_max: int
    jitter: Callable[[], float]
    failures: int = 0
    """In a row; 0 while starts succeed."""
    retry_at: float = 0.0
    words: str = ""
    """What the backend said to the last failed start."""
    ceiling: int | None = None
    """How many connections the backend was seen to allow; None: no less than the cap."""
    proven: bool = False
    """Whether a start has ever succeeded."""
    took: Mean = field(default_factory=Mean)
    total: int = 0
    failed_total: int = 0
    _ramp: int = 0
    """How many may start at once while recovering; 0: as many as configured."""
    _pauses: int = 0

    def window(self, now: float) -> int:
        """How many may be starting at this moment."""
        if now < self.retry_at:
            return 0
        return min(self.parallel_max, self._ramp) if self._ramp else self.parallel_max

    def limit(self, cap: int, now: float) -> int:
        """The most slots that may be held: the cap, or for a while what the backend was seen to allow."""
        return cap if self.ceiling is None or now >= self.retry_at else min(cap, self.ceiling)

    def succeeded(self, seconds: float) -> None:
        """A start went well and took this long."""
        self.took.learn(seconds)
        self.proven, self.failures, self.words, self._pauses = True, 0, "", 0
        if self._ramp:
            self._ramp = self._ramp * 2 if self._ramp * 2 < self.parallel_max else 0

    def failed(self, now: float, words: str) -> None:
        """A start failed; the backend said this."""
        self.failures += 1
        self.failed_total += 1
        self.words = words
        self._pause(now)

    def limited(self, now: float, held: int, words: str) -> None:
        """The backend allows no more than `held` connections at present. No failure: nobody is told."""
        self.ceiling = held
        self.words = words
        self._pause(now)

    def _pause(self, now: float) -> None:
        self._ramp = 1
        pause = min(PAUSE_FIRST_SECONDS * 2.0**self._pauses, PAUSE_MAX_SECONDS)
        self._pauses = min(self._pauses + 1, 16)
        self.retry_at = now + pause * (0.5 + 0.5 * self.jitter())
