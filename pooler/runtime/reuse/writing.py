"""Operations that make shared answers wrong: what they have changed is invalidated before their caller hears of it.

A write whose outcome nobody knows counts as done, and may be done even later: it is looked after until nothing of it
can be under way any more. In a session's transaction it is the commit that counts. Whoever failed for sure has changed
nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pooler.backends.base import Answer
from pooler.core.states import ConnectionState, GrantState
from pooler.errors import Fault, Reason
from pooler.runtime.calls import Call
from pooler.runtime.desks import Carrier, Inside
from pooler.runtime.driver import Driver
from pooler.runtime.reuse.tags import rendered
from pooler.runtime.sessions import Session
from pooler.runtime.turns import Outcome

if TYPE_CHECKING:
    from pooler.runtime.reuse.room import Answers

LOOK_SECONDS = 0.25
"""How often is looked whether a write that nobody waits for any more has ended."""
LOOKS_MAX = 240
"""After a minute it is taken to have ended, as by the usual bounds on stopping and closing it has long before."""

Told = Callable[[Outcome], None]


@dataclass(slots=True)
class Ledger:
    """What sessions have written that they have not committed, by their tags."""

    sessions: WeakKeyDictionary[Session, set[str]] = field(default_factory=WeakKeyDictionary)

    def note(self, session: Session, tags: Iterable[str]) -> set[str]:
        """A session has written something. Returns all that it has."""
        written = self.sessions.setdefault(session, set())
        written.update(tags)
        return written


@dataclass(slots=True, eq=False)
class Writing:
    """One operation that writes. `tags`: what it changes, with places for its arguments."""

    room: "Answers"
    driver: Driver
    tags: tuple[str, ...]

    def attend(self, call: Call, carrier: Carrier | None) -> Carrier | None:
        """Carries nothing out, but hears of the outcome before anybody else."""
        session = carrier.session if isinstance(carrier, Inside) and carrier.session.sentences.transactional else None
        call.told = partial(self._told, call, session, call.told)
        return carrier

    def _told(self, call: Call, session: Session | None, told: Told, outcome: Outcome) -> None:
        if may_have_happened(call, outcome):
            tags = rendered(self.tags, call.arguments)
            if session is not None:
                tags = tuple(self.room.ledger.note(session, tags))
            if session is None or session.life.failed:  # some databases commit by themselves, for a CREATE TABLE say
                Aftermath(self.room, self.driver, tags, partial(_has_ended, call)).begin(outcome)
        told(outcome)


@dataclass(slots=True, eq=False)
class Committing:
    """The operation by which a backend's sessions keep what they have done."""

    room: "Answers"
    driver: Driver

    def attend(self, call: Call, carrier: Carrier | None) -> Carrier | None:
        """As above."""
        if isinstance(carrier, Inside):
            call.told = partial(self._told, call, carrier.session, call.told)
        return carrier

    def _told(self, call: Call, session: Session, told: Told, outcome: Outcome) -> None:
        tags = self.room.ledger.sessions.get(session)
        if tags is not None and may_have_happened(call, outcome):
            Aftermath(self.room, self.driver, tuple(tags), partial(_is_over, session)).begin(outcome)
        told(outcome)


@dataclass(slots=True, eq=False)
class Aftermath:
    """What follows from a write: what it has changed is invalidated now, and again when it was not over yet."""

    room: "Answers"
    driver: Driver
    tags: tuple[str, ...]
    is_over: Callable[[], bool]
    looks: int = 0

    def begin(self, outcome: Outcome) -> None:
        """Its caller is about to be told."""
        self.room.wrote(self.driver.name, self.tags)
        if not isinstance(outcome.result, Answer):
            self.room.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self.looks += 1
        if self.is_over() or self.looks >= LOOKS_MAX:
            self.room.wrote(self.driver.name, self.tags)
        else:
            self.room.loop.call_later(LOOK_SECONDS, self._look)


def may_have_happened(call: Call, outcome: Outcome) -> bool:
    """Whether a write may have changed anything, by how it ended."""
    if call.grant is None:
        return False  # it was never begun
    result = outcome.result
    if not isinstance(result, Fault) or result.reason is not Reason.REFUSED:
        return not (isinstance(result, Fault) and result.reason is Reason.BUSY)
    return call.driver.kit.adapter.traits.tx == "none"  # where a statement that fails is undone


def _has_ended(call: Call) -> bool:
    """Whether nothing of a call's work can be under way any more, as far as its pool knows."""
    slot = call.slot
    if slot is None or call.grant is not GrantState.DONE:
        return False
    return not slot.doomed or slot.state is ConnectionState.GONE


def _is_over(session: Session) -> bool:
    slot = session.turn.slot
    return session.life.over and (slot is None or not slot.doomed or slot.state is ConnectionState.GONE)
