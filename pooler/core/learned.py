"""What a pool learns from what it sees: mean and high durations. Numbers in, numbers out; nothing is decided here."""

from dataclasses import dataclass

LEARNING_RATE = 0.2
"""Weight of the newest sample in a learned mean: about the last ten samples count."""
QUANTILE = 0.95
"""Under a heavy load everybody who is served is about to be too late, so that what lies above the quantile is lost. At
0.9 that was 12 % of what the backend can do at ten times its capacity; at 0.95 it is 5 %."""
STEP = 0.1
"""How far a learned quantile moves at once, in mean deviations: it follows a change within some tens of samples."""


@dataclass(slots=True)
class Mean:
    """An exponentially weighted mean of durations in seconds; 0 before the first sample."""

    seconds: float = 0.0
    samples: int = 0
    rate: float = LEARNING_RATE

    def learn(self, seconds: float) -> None:
        samples = self.samples = self.samples + 1
        weight = self.rate if samples * self.rate >= 1 else 1 / samples  # `_weight`, which is asked with every call
        self.seconds += weight * (seconds - self.seconds)


@dataclass(slots=True)
class High:
    """A running high quantile of durations in seconds; 0 before the first sample.

    Stochastic approximation (Robbins and Monro, 1951): up by 0.95 of a step for a sample above, down by 0.05 for one
    below, so that it rests where one sample in twenty lies above it. The step follows the samples' own spread.
    """

    seconds: float = 0.0
    samples: int = 0
    _spread: float = 0.0

    def learn(self, seconds: float) -> None:
        self.samples += 1
        if self.samples == 1:
            self.seconds = seconds
            return
        before = self.seconds
        self._spread += _weight(self.samples, LEARNING_RATE) * (abs(seconds - before) - self._spread)
        step = self._spread * _weight(self.samples, STEP)
        after = before + step * (QUANTILE if seconds > before else QUANTILE - 1) * 2
        self.seconds = after if after > 0.0 else 0.0


@dataclass(slots=True)
class Work:
    """What is known of one operation's own work, from calls that ran to their end."""

    mean: Mean
    high: High
    ended: int = 0
    held_back: int = 0
    """How many calls have ended, and how many were judged too late, since the last that was let through as a probe."""

    @classmethod
    def unknown(cls) -> "Work":
        return cls(Mean(), High())

    def learn(self, seconds: float) -> None:
        self.ended += 1
        self.mean.learn(seconds)
        self.high.learn(seconds)

    def outlast(self, seconds: float) -> None:
        """A call was cut short after this long. Where that says which side of the quantile it lies on, it counts.

        Those that are quick enough to end would else be all that is ever learned from: the quantile would sink, more
        calls be begun that cannot end, and fewer and fewer of them.
        """
        self.ended += 1
        if self.high.samples and seconds >= self.high.seconds:
            self.high.learn(seconds)


def _weight(samples: int, least: float) -> float:
    return 1 / samples if samples * least < 1 else least
