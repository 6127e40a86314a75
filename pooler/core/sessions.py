"""The life of a session, a connection that one caller keeps for several calls, as a table; and what each call hears.

A session does one thing at a time. Only what it is asked before its end runs in it; whatever is asked afterwards is
answered by how it ended, and never runs anywhere else. There is no clock, no connection and no handle here: whoever
keeps the session says what happened and when, and asks when its time is over.

    OPENING ──opened──▶ IDLE ──asked──▶ BUSY ──closes──▶ CLOSING ──gone──▶ ENDED
                         ▲                │ told                            ▲
                         └─────done───────┴─▶ LINGERING ──asked──▶ QUEUED   │
                                                 BUSY ◀──done───────┘       │
    any of these but CLOSING ──cut──▶ ENDING ──gone─────────────────────────┘

An absent entry is a bug of ours. A connection may be lost (`gone`) at any time, and a commit that has begun is not cut.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Self

from pooler.core.states import ImpossibleTransitionError, Label
from pooler.errors import Reason


class SessionState(Label):
    """Where a session is in its life."""

    OPENING = "opening"
    IDLE = "idle"
    BUSY = "busy"
    LINGERING = "lingering"
    """Its call has its outcome already, and what is left of its work is not done yet: the pages behind the first one,
    or the stopping of what its caller has left."""
    QUEUED = "queued"
    """The same, and the next call waits for that."""
    CLOSING = "closing"
    """Its caller ends it: a commit or a rollback is under way."""
    ENDING = "ending"
    """It is ended by somebody else: what is left of it is being rolled back."""
    ENDED = "ended"


class SessionEvent(Label):
    """What can happen to a session."""

    OPENED = "opened"
    ASKED = "asked"
    TOLD = "told"
    DONE = "done"
    DROPPED = "dropped"
    """A call was taken back before its work began."""
    CLOSES = "closes"
    CUT = "cut"
    GONE = "gone"


class Act(Label):
    """What a call wants of a session."""

    CALL = "call"
    COMMIT = "commit"
    ROLLBACK = "rollback"


class Ending(Enum):
    """How a session ended. What was not committed has been rolled back, in each case but the last."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    NOT_COMMITTED = "not_committed"
    """The backend refused the commit."""
    IDLED = "idled"
    OUTLIVED = "outlived"
    LOST = "lost"
    """Its connection broke, or could not be trusted any more."""
    KILLED = "killed"
    DRAINED = "drained"
    LEFT = "left"
    """What it belonged to has ended, or nobody waited for it any more."""
    UNKNOWN = "unknown"
    """The answer to its commit never came."""


_S, _E = SessionState, SessionEvent

SESSION: dict[SessionState, dict[SessionEvent, SessionState]] = {
    _S.OPENING: {_E.OPENED: _S.IDLE, _E.CUT: _S.ENDING, _E.GONE: _S.ENDED},
    _S.IDLE: {_E.ASKED: _S.BUSY, _E.CUT: _S.ENDING, _E.GONE: _S.ENDED},
    _S.BUSY: {
        _E.DONE: _S.IDLE,
        _E.DROPPED: _S.IDLE,
        _E.TOLD: _S.LINGERING,
        _E.CLOSES: _S.CLOSING,
        _E.CUT: _S.ENDING,
        _E.GONE: _S.ENDED,
    },
    _S.LINGERING: {_E.DONE: _S.IDLE, _E.ASKED: _S.QUEUED, _E.CUT: _S.ENDING, _E.GONE: _S.ENDED},
    _S.QUEUED: {_E.DONE: _S.BUSY, _E.DROPPED: _S.LINGERING, _E.CUT: _S.ENDING, _E.GONE: _S.ENDED},
    _S.CLOSING: {_E.CUT: _S.CLOSING, _E.GONE: _S.ENDED},
    _S.ENDING: {_E.DONE: _S.ENDING, _E.CUT: _S.ENDING, _E.GONE: _S.ENDED},
    _S.ENDED: {},
}

REFUSALS: dict[SessionState, Reason | None] = {
    _S.OPENING: Reason.SESSION_IN_USE,
    _S.IDLE: None,
    _S.BUSY: Reason.SESSION_IN_USE,
    _S.LINGERING: None,
    _S.QUEUED: Reason.SESSION_IN_USE,
    _S.CLOSING: Reason.SESSION_IN_USE,
    _S.ENDING: Reason.HANDLE_EXPIRED,
    _S.ENDED: Reason.HANDLE_EXPIRED,
}
"""Why a call is not taken, by the state that it finds; None where it is."""


class Tools(NamedTuple):
    """The operations by which a backend's sessions are begun and ended, by name."""

    begin: str
    commit: str
    rollback: str

    @classmethod
    def of(cls, backend: str, transactional: bool) -> Self:
        """Where there are no transactions, a session is only a connection that is kept: opened, and closed."""
        if transactional:
            return cls(f"{backend}_begin", f"{backend}_commit", f"{backend}_rollback")
        return cls(f"{backend}_open", f"{backend}_close", f"{backend}_close")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the sessions of a backend may take. Times in seconds."""

    sessions_max: int
    idle_seconds: float = 30.0
    lifetime_seconds: float = 300.0


@dataclass(slots=True, eq=False)
class Life:
    """One session's life. Times in seconds on its keeper's clock."""

    limits: Limits
    state: SessionState = SessionState.OPENING
    failed: str = ""
    """Why its transaction takes nothing but its rollback; empty while it takes calls."""
    ending: Ending | None = None
    """How it ends or has ended: what was said first."""
    _idle_since: float = 0.0
    _expires_at: float = float("inf")

    def happen(self, event: SessionEvent, now: float) -> None:
        """Moves it to the state that the table gives. Raises ImpossibleTransitionError for an absent entry."""
        try:
            self.state = SESSION[self.state][event]
        except KeyError:
            raise ImpossibleTransitionError(f"session: {event.name} while {self.state.name}") from None
        if event is SessionEvent.OPENED:
            self._expires_at = now + self.limits.lifetime_seconds
        if self.state is SessionState.IDLE:
            self._idle_since = now

    def refusal(self, act: Act) -> Reason | None:
        """Why it does not take a call now; None: it does. A failed transaction takes nothing but its rollback."""
        if (reason := REFUSALS[self.state]) is not None:
            return reason
        return Reason.REFUSED if self.failed and act is not Act.ROLLBACK else None

    def fail(self, why: str) -> None:
        """Its transaction is no more what its caller thinks it is; the first cause is the one that is told."""
        self.failed = self.failed or why

    def end(self, ending: Ending) -> None:
        """Says how it ends, unless that has been said."""
        self.ending = self.ending or ending

    @property
    def over(self) -> bool:
        return self.state is SessionState.ENDED

    @property
    def due_at(self) -> float:
        """When its time is over, as things stand."""
        if self.state is SessionState.IDLE:
            return min(self._expires_at, self._idle_since + self.limits.idle_seconds)
        return self._expires_at

    def expired(self, now: float) -> Ending | None:
        """By which of its bounds its time is over; None: it is not, or it is ending anyhow."""
        if self.state in (SessionState.CLOSING, SessionState.ENDING, SessionState.ENDED) or now < self.due_at:
            return None
        return Ending.OUTLIVED if now >= self._expires_at else Ending.IDLED


RETRY_SECONDS_MIN = 0.1


def retry_seconds(lives: Iterable[Life], limits: Limits, now: float) -> float:
    """When to ask again for a session where there are too many: one that is not used ends within its idle time."""
    soonest = min((life.due_at for life in lives), default=now) - now
    return min(max(soonest, RETRY_SECONDS_MIN), limits.idle_seconds)
