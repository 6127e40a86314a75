"""What the rules ask the hands to do. Nothing here acts; each action is carried out once, in the order given."""

from dataclasses import dataclass

from pooler.core.slots import Slot, Waiter
from pooler.errors import Reason


@dataclass(frozen=True, slots=True)
class Open:
    """Start a client in this slot."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop the start in this slot: nobody wants its connection any more."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Check:
    """Ask the backend through this connection whether both still live."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Reset:
    """Remove what the last user left on this connection."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Close:
    """End this connection, by force where nobody may talk to it any more, and confirm its death."""

    slot: Slot
    force: bool


@dataclass(slots=True, unsafe_hash=True)
class Offer:
    """Tell this waiter that it has a place. (Every call has one: frozen, it would take three times as long to make.)"""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop this grant's work in the backend, and tell its caller why."""

    waiter: Waiter
    reason: Reason = Reason.CANCELLED


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell this waiter that it gets no place. `words` are the backend's own, where it said any."""

    waiter: Waiter
    reason: Reason
    retry_after_seconds: float | None = None
    words: str = ""


Action = Open | GiveUp | Check | Reset | Close | Offer | Interrupt | Refuse
