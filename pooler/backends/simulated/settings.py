"""The manners of a simulated system, as configuration keys. Starts nothing."""

from typing import Literal

from pydantic import Field

from pooler.backends import base

METHODS = frozenset({"echo", "rows", "work", "write", "wrong", "leave_trace", "see_trace"})
"""With their arguments: `echo {value}`, `rows {count}`, `work {seconds}`, `write {count}`, `leave_trace {value}`; the
others take none."""

Step = Literal["open", "validate", "execute", "cancel", "reset"]


class Settings(base.Settings, frozen=True):
    """How the system behaves. Every one may be changed while it runs, by `System.behave`."""

    limit: int | None = Field(
        default=None, ge=1, description="Licences: the most sessions it allows, dying ones included."
    )
    start_seconds: float = Field(default=0.0, ge=0, description="What a login takes.")
    work_seconds: float = Field(
        default=0.0, ge=0, description="What each request takes, beside what it asks for itself."
    )
    dying_seconds: float = Field(default=0.0, ge=0, description="How long it counts a session whose client has closed.")
    spread: float = Field(
        default=0.0, ge=0, le=1, description="Each of these times varies by up to this share of itself."
    )
    seed: int = Field(default=0, description="What the variation is drawn from.")
    refuse: str | None = Field(default=None, description="Refuse every login, with these words.")
    hang: frozenset[Step] = Field(default=frozenset(), description="Steps that never come to an end.")
    ignore_cancel: bool = Field(default=False, description="Work on after a cancel, and after the client has gone.")
    poison_after: int | None = Field(default=None, ge=1, description="Requests after which a session serves no more.")
    die_after: int | None = Field(default=None, ge=1, description="Requests of which the last one kills its session.")
    lie: bool = Field(default=False, description="Call dead and poisoned sessions sound when asked to validate them.")
    leave_traces: bool = Field(default=True, description="Keep what `leave_trace` left until the session is reset.")
    confirm_death: bool = Field(default=True, description="Whether a client can find out that its session is gone.")

    @classmethod
    def check(cls, operation: base.Operation) -> list[str]:
        """It serves its own few methods."""
        if operation.statement is not None:
            return ["a simulated system has no statements: name its `method` instead"]
        if operation.method not in METHODS:
            return [f"a simulated system has no method {operation.method!r}: use one of {', '.join(sorted(METHODS))}"]
        return []
