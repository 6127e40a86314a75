"""A call on its way through a pool, and what it takes along: plain state, which the driver fills in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from pooler.backends import shared
from pooler.backends.base import Adapter, Answer, Caller, Connection, Input, News, Window
from pooler.core.slots import Waiter
from pooler.errors import Fault


class Timing(NamedTuple):
    """Where a call's time went, in seconds."""

    queue: float = 0.0
    start: float = 0.0
    reset: float = 0.0
    backend: float = 0.0


class Reuse(NamedTuple):
    """How much of an answer is somebody else's. Times in seconds."""

    state: Literal["hit", "stale", "miss", "joined"]
    """From the cache, within its time or past it; or the backend was asked, for this caller or already for another."""
    age: float = 0.0
    """How long ago the backend began to make it, where it comes from the cache."""
    near: float = 0.0
    """How long whoever gets it may give it again to callers that are alike; 0: not at all."""
    tags: tuple[str, ...] = ()
    """By what it can be invalidated, where it may be given again."""


class Outcome(NamedTuple):
    """How a call ended, and where its time went."""

    result: Answer | Fault
    timing: Timing
    reuse: Reuse | None = None
    """None where answers of the operation are not shared."""


@dataclass(slots=True, eq=False)
class Kit:
    """An adapter, and the operations that it has prepared, by name. A connection keeps the kit that opened it."""

    kind: str
    adapter: Adapter[Any, Any]
    prepared: Mapping[str, Any]
    shared: bool = field(init=False)
    """Whether calls that do not want a connection for themselves go by `submit`."""

    def __post_init__(self) -> None:
        self.shared = isinstance(self.adapter, shared.Adapter) and self.adapter.traits.streams > 1


class Pages(Window, Protocol):
    """A window whose work has failed may have told its first page already: the others are where that is heard."""

    @property
    def more(self) -> bool:
        """Whether there are pages behind the first one, as far as is known. Once the first one was told."""

    def fail(self, fault: Fault) -> None:
        """There will be no more rows, for this reason."""

    def drop(self) -> None:
        """Nobody will fetch the others."""


class Hands(Protocol):
    """Who carries out a turn's work: the driver of its pool, or a session that it runs in."""

    def deliver_early(self, turn: "Turn", answer: Answer) -> None:
        """The caller gets its answer, and the work goes on."""

    def cancel(self, turn: "Turn") -> None:
        """The work is to be stopped."""


class UnderWay(Protocol):
    """A turn's work, however it is carried out."""

    def cancel(self) -> object:
        """Nobody waits for it any more."""


class Extras(NamedTuple):
    """What only some calls take along; most of those that wait by the thousand do not."""

    pages: Pages | None = None
    """Takes the rows behind the first page. It may deliver that page early; the work then goes on."""
    news: News | None = None
    input: Input | None = None


NO_EXTRAS = Extras()

Doing = Callable[[Connection], Awaitable[Answer]]
"""What is done on a connection."""


@dataclass(slots=True, eq=False)
class Turn(Waiter):
    """One call's way through a pool, from its place in the queue to its outcome."""

    read: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    caller: Caller = field(default_factory=lambda: Caller("default", "anonymous", ""))
    timeout_seconds: float = 0.0
    """The bound on the backend's work."""
    deliver: Callable[[Outcome], None] | None = None
    """Called once, with the outcome; then None."""
    alarm: int = 0
    """The number of its present alarm, and 0 when it has none. Only `alarms` writes it."""
    task: UnderWay | None = None
    """What is being done for it, or was last."""
    overdue: bool = False
    """Whether its work has outlived its bound, and is being cancelled."""
    retried: bool = False
    """Whether it has been sent a second time already."""
    extras: Extras | None = None

    @property
    def errand(self) -> Doing | None:
        """What it does instead of an operation."""
        return None

    def take_along(self, hands: Hands) -> Extras:
        """What its work takes along, when it is begun. Those who wait need not have it: there may be many of them."""
        return self.extras or NO_EXTRAS

    def spent(self, now: float, began: float | None) -> Timing:
        """Where its time went until now. `began`: its work, if it has been begun."""
        if self.grant is None:
            return Timing(queue=now - self.asked_at)
        backend = 0.0 if began is None else now - began
        return Timing(self.queue_seconds, self.start_seconds, self.reset_seconds, backend)


@dataclass(slots=True, eq=False)
class Errand(Turn):
    """A turn of the pool's own."""

    work: Doing | None = None

    @property
    def errand(self) -> Doing | None:
        """What it does instead of an operation."""
        return self.work
