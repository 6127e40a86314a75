"""A run as it can be read: its name, its terms, its log, and how it stands. One that has ended is no more than this."""

from dataclasses import dataclass

from pooler.runtime.runs import state
from pooler.runtime.runs.attendance import Follower
from pooler.runtime.runs.happenings import Page
from pooler.runtime.runs.log import RunLog
from pooler.runtime.runs.state import RunState


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run is kept."""

    detach_grace_seconds: float | None = 0.0
    """How long it goes on when nobody follows it; None: to its end."""
    await_input: bool = False
    """Whether it waits for its user's input; otherwise its outcome is what to ask."""
    keep_seconds: float = 300.0
    """How long it is kept after its end."""
    passing: bool = False
    """Whether it is forgotten instead as soon as it has ended and nobody follows it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run is called, by whom it was begun, and when (Unix time)."""

    id: str
    handle: str
    operation: str
    tenant: str
    created_at: float
    note: bytes = b""
    name: str = ""
    """Its short name within its conversation."""


class Run:
    """A run that is over, and what every run has."""

    def __init__(self, identity: Identity, terms: Terms, log: RunLog) -> None:
        self.identity = identity
        self.terms = terms
        self.log = log
        self.updated_at = identity.created_at
        """When something last happened to it (Unix time)."""

    def __repr__(self) -> str:
        return f"<run {self.identity.id} of {self.identity.operation}: {self.state().status}, {self.log!r}>"

    @property
    def id(self) -> str:
        return self.identity.id

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it; the last of it may have yet to be told."""
        return True

    @property
    def followers(self) -> int:
        """How many follow it, where that matters."""
        return 0

    @property
    def requests(self) -> bytes:
        """MCP's `inputRequests` that its user has not answered; empty where it waits for none."""
        return b""

    def follow(self, after: int = 0) -> Follower:
        """Its events from after this number, in order, each once: those that are kept, then those that come."""
        return Follower(self.log, after, lambda: None)

    def cancel(self) -> None:
        """Stops its work in the backend. Harmless when it has ended."""

    def answer(self, responses: bytes) -> None:
        """Gives it its user's answers, some or all: MCP's `inputResponses`. What it has not asked for is ignored.

        Raises Fault when they are no such thing.
        """

    def state(self) -> RunState:
        """How it stands."""
        events, done = self.log.events, self.log.done
        page = next((event.what for event in reversed(events) if isinstance(event.what, Page)), None)
        return RunState(
            handle=self.identity.handle,
            operation=self.identity.operation,
            status=state.status(done, bool(self.requests)),
            message=self.words(),
            created_at=self.identity.created_at,
            updated_at=self.updated_at,
            keep_seconds=self.terms.keep_seconds,
            note=self.identity.note,
            requests=self.requests,
            page=page if done is not None and done.fault is None else None,
            fault=done.fault if done is not None else None,
        )

    def words(self) -> str:
        """What is happening, in a few words for people."""
        events = self.log.events
        return state.words(events[-1].what) if events else ""
