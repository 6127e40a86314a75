"""Slots and waiters: the two things that a pool's rules speak of, as plain state.

A slot is one unit of the cap and the connection in it, from before its start until its death is confirmed. A waiter is
a call that asks for a place; once it was offered one, its grant's state stands beside it.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from pooler.core.states import (
    OFFERED,
    ConnectionState,
    GrantEvent,
    GrantState,
    Label,
    next_grant_state,
)


class Priority(Label):
    """Which calls go first when several wait."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


@dataclass(slots=True, eq=False)
class Slot:
    """One unit of the cap, held from before a start until the connection's death is confirmed. Times in seconds."""

    number: int
    generation: int
    started_at: float
    state: ConnectionState = ConnectionState.STARTING
    streams: int = 1
    opened_at: float = 0.0
    expires_at: float = float("inf")
    idle_since: float = 0.0
    reset_at: float = 0.0
    """When its last reset began; 0 when nobody has reset it since its last user."""
    uses: int = 0
    doomed: bool = False
    """Whether it must not serve again, whatever its present user does."""
    soiled: bool = False
    """Whether one of the users who share it has left something behind."""
    whole: bool = False
    """Whether its present user has it for itself."""
    promised: "Waiter | None" = None
    """Who gets it whole as soon as those who share it have left."""
    grants: "set[Waiter]" = field(default_factory=set)

    @property
    def shareable(self) -> bool:
        """Whether another call may join those that use it: there is room, it is clean, and nobody needs it whole."""
        return len(self.grants) < self.streams and not self.shut

    @property
    def shut(self) -> bool:
        """Whether nobody may join those that use it, whatever room there is."""
        return self.soiled or self.whole or self.promised is not None

    def __repr__(self) -> str:
        return f"<slot {self.number} {self.state.name} g{self.generation} uses={self.uses} grants={len(self.grants)}>"


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that asks for a place, and its grant once it has one. Times in seconds on the pool's clock."""

    teaches: ClassVar[bool] = True
    """Whether how long it takes says something about the backend, and not only about its caller."""

    asked_at: float
    give_up_at: float
    """When waiting must end: the caller's deadline or the queue's own bound, whichever comes first."""
    deadline: float = float("inf")
    """When the caller stops waiting for the answer."""
    tenant: str = "default"
    priority: Priority = Priority.INTERACTIVE
    operation: str = ""
    whole: bool = False
    """Whether it needs its connection for itself, where others could share it."""
    expected_seconds: float = 0.0
    """What its work is expected to take, by what its operation took before."""
    grant: GrantState | None = None
    slot: Slot | None = None
    granted_at: float = 0.0
    answered_at: float | None = None
    """When its caller got the first page, where the work went on."""
    start_seconds: float = 0.0
    """The part of its wait in which the connection that serves it was starting."""
    reset_seconds: float = 0.0
    """The part of its wait in which that connection was being reset."""

    @property
    def queue_seconds(self) -> float:
        """The rest of its wait: for a place. Only after the offer."""
        seconds = self.granted_at - self.asked_at - self.start_seconds - self.reset_seconds
        return seconds if seconds > 0.0 else 0.0

    def offered(self, slot: Slot, now: float) -> None:
        """Takes note of the place that it is offered, and of what its wait consisted of."""
        self.grant, self.slot, self.granted_at = OFFERED, slot, now
        if slot.uses == 0:
            self.start_seconds = max(0.0, slot.opened_at - max(self.asked_at, slot.started_at))
        if slot.reset_at and slot.idle_since > self.asked_at:
            self.reset_seconds = slot.idle_since - max(self.asked_at, slot.reset_at)
        slot.reset_at = 0.0

    def happen(self, event: GrantEvent) -> None:
        """Moves its grant to the state that the table gives."""
        assert self.grant is not None
        assert self.slot is not None
        self.grant = next_grant_state(self.slot.number, self.grant, event)

    def __repr__(self) -> str:
        place = f" on {self.slot!r}" if self.slot else ""
        return f"<waiter {self.tenant} {self.grant.name if self.grant else 'QUEUED'}{place}>"
