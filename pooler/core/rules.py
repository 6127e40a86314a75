"""What a pool is told: its configuration, and how a grant or a start ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pooler.core.fairness import Share


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
    adaptive: bool = False
    """Whether fewer grants than connections are given while the backend is seen to slow down under them."""
    max_uses: int | None = None
    """How many calls a connection serves; None: any number."""
    shared_fate: bool = True
    """Whether one proven connection failure condemns the whole generation."""
    sharing: bool = True
    """Whether any call shares a connection that could carry several; else each is counted as one place."""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """By tenant; whoever is not listed has weight 1 and no limits of its own."""

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
