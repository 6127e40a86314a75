"""An optional limit below the cap, found by watching how the backend's answers slow down under more work at once.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), on the ratio of a call's time to the least that its
operation is known to take (the idea of TCP Vegas, Brakmo and Peterson, 1995): while answers are about as quick as on an
idle backend the limit grows by one per round of calls; when they take several times as long it shrinks by a tenth.
"""

from dataclasses import dataclass, field

TOLERANCE = 2.0
"""How much slower than at its best a backend may answer before it counts as overloaded."""
DECREASE = 0.9
FORGETTING_SECONDS = 600.0
"""How long until the best time known has mostly grown to what is seen: an overload is over by then, a new truth not."""


@dataclass(slots=True)
class Adaptive:
    """How many grants may be under way: at least one, at most `most`. Starts at `most`, so that it only ever lowers."""

    most: int
    limit: float = 0.0
    _best: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By operation: the best time known, in seconds, and when it was last looked at."""
    _shrunk_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    def learn(self, operation: str, seconds: float, now: float) -> None:
        """A call ended by itself after so long."""
        best, then = self._best.get(operation, (seconds, now))
        best += (seconds - best) * (1.0 if seconds < best else min(1.0, (now - then) / FORGETTING_SECONDS))
        self._best[operation] = best, now
        if seconds <= TOLERANCE * best:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)
        elif now - self._shrunk_at >= seconds:  # once for all the calls that were under way together
            self.limit = max(1.0, self.limit * DECREASE)
            self._shrunk_at = now

    def widen(self, most: int) -> None:
        """More may be under way than was thought: connections have turned out to carry several at once."""
        if most > self.most:
            self.most, self.limit = most, float(most)

    @property
    def grants_max(self) -> int:
        return int(self.limit)
