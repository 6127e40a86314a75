"""The manners of a simulated system, and where it is, as configuration keys. Starts nothing."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from pooler.backends import base

METHODS = frozenset(
    {"echo", "rows", "work", "report", "ask", "write", "put", "count", "wrong", "leave_trace", "see_trace"}
)
"""With their arguments: `echo {value}`, `rows {count, seconds, fail_at, die_at, long_at}`, where all but the first may
be left out and the seconds are those of each batch, `work {seconds}`, `report {steps, seconds}`, which tells of each
step, `ask {question}`, which needs its user's answer, `write {count}`, `put {value}`, which a transaction keeps or not,
`count {value}`, how often it was put, `leave_trace {value}`; the others take none."""

SHARABLE = frozenset({"echo", "rows", "work", "count", "wrong", "see_trace"})
"""Those that read, and leave nothing behind."""

Step = Literal["open", "validate", "execute", "cancel", "reset", "begin", "commit", "rollback"]

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")


def _tcp(address: str) -> str:
    if _ADDRESS.fullmatch(address) is None:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:7600")
    return address


class Manners(BaseModel, frozen=True, extra="forbid"):
    """How a system behaves. Every one may be changed while it runs, by `System.behave`."""

    limit: int | None = Field(
        default=None, ge=1, description="Licences: the most sessions it allows, dying ones included."
    )
    start_seconds: float = Field(default=0.0, ge=0, description="What a login takes.")
    work_seconds: float = Field(
        default=0.0, ge=0, description="What each request takes, beside what it asks for itself."
    )
    dying_seconds: float = Field(default=0.0, ge=0, description="How long it counts a session whose client has closed.")
    ignore_close_seconds: float = Field(
        default=0.0, ge=0, description="How long it takes no notice of a client's close, before the session dies."
    )
    spread: float = Field(
        default=0.0, ge=0, le=1, description="Each of these times varies by up to this share of itself."
    )
    seed: int = Field(default=0, description="What the variation is drawn from.")
    refuse: str | None = Field(default=None, description="Refuse every login, with these words.")
    hang: frozenset[Step] = Field(default=frozenset(), description="Steps that never come to an end.")
    silent: bool = Field(
        default=False, description="A black hole: it answers nobody and hears no close, until it speaks again."
    )
    ignore_cancel: bool = Field(default=False, description="Work on after a cancel, and after the client has gone.")
    poison_after: int | None = Field(default=None, ge=1, description="Requests after which a session serves no more.")
    die_after: int | None = Field(default=None, ge=1, description="Requests of which the last one kills its session.")
    die_in_commit: Literal["kept", "lost"] | None = Field(
        default=None, description="Kill a session in the midst of its commit, after what it did was kept, or before."
    )
    half_close_after: int | None = Field(
        default=None, ge=1, description="Requests after which it ends its side of a session, and keeps the session."
    )
    lie: bool = Field(default=False, description="Call dead and poisoned sessions sound when asked to validate them.")
    leave_traces: bool = Field(default=True, description="Keep what `leave_trace` left until the session is reset.")
    confirm_death: bool = Field(default=True, description="Whether a client can find out that its session is gone.")


class Settings(Manners, base.Settings, frozen=True):
    """A system in this process, with these manners, or one at an address, which has its own."""

    address: Annotated[str, AfterValidator(_tcp)] | None = Field(
        default=None, description="HOST:PORT of a system that runs as a process of its own; it has its own manners."
    )

    streams: int = Field(
        default=1, ge=1, le=1000, description="How many calls that share a connection may be under way on it."
    )

    @model_validator(mode="after")
    def _has_one_set_of_manners(self) -> Self:
        if self.address is not None and (others := sorted(self.model_fields_set - {"address", "streams"})):
            raise ValueError(f"a system at an `address` has its own manners: leave out {', '.join(others)}")
        return self

    @property
    def listens(self) -> bool:
        """Only a system in this process has channels."""
        return self.address is None

    @property
    def transactional(self) -> bool:
        """It has transactions."""
        return True

    @property
    def shares(self) -> bool:
        """One call after another on a session, where `streams` says so."""
        return self.streams > 1

    @classmethod
    def check(cls, operation: base.Operation) -> list[str]:
        """It serves its own few methods."""
        if operation.statement is not None:
            return ["a simulated system has no statements: name its `method` instead"]
        if operation.method not in METHODS:
            return [f"a simulated system has no method {operation.method!r}: use one of {', '.join(sorted(METHODS))}"]
        return []

    def check_share(self, operation: base.Operation) -> list[str]:
        """Only methods that leave nothing behind, and where there is room on a session."""
        if not self.shares:
            return ["needs a system that says how many calls share a session: set its `streams`"]
        if operation.method not in SHARABLE:
            return [f"is for methods that only read: {', '.join(sorted(SHARABLE))}"]
        return []
