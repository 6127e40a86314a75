"""What a pool is told: its configuration, and how a grant or a start ended."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Rules:
    """A pool's configuration, in connections and seconds. `reserve` lies inside the cap: side-channel work uses it."""

    cap: int
    reserve: int = 0
    warm: int = 0
    parallel_starts: int = 2
    queue_max: int = 1000
    idle_seconds: float = 600.0
    lifetime_seconds: float = 3600.0
    validate_after_seconds: float = 30.0
    shared_fate: bool = True
    """Whether one proven connection failure condemns the whole generation."""

    @property
    def places(self) -> int:
        """How many slots calls may use."""
        return self.cap - self.reserve


class Fate(Enum):
    """What a finished grant leaves behind."""

    SOUND = "sound"
    SOILED = "soiled"
    BROKEN = "broken"
    """This connection must not serve again."""
    DEAD = "dead"
    """The same, and proof that the backend dropped it."""


class StartFailure(Enum):
    """Why a start failed, as far as the rules care."""

    LIMIT = "limit"
    OTHER = "other"
