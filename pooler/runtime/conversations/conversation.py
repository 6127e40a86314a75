"""One conversation as it lives in this process: its record, what belongs to it, and the names of its runs.

Only `room.Conversations` makes it, ends it and changes what is kept of it; others read it.
"""

from typing import NamedTuple, Protocol

from pooler.backends.base import Caller
from pooler.core.conversations import Life
from pooler.runtime.conversations.hearing import Hearing
from pooler.runtime.conversations.record import Record


class Belonging(Protocol):
    """Something that a conversation has left open: a session, a run, the rest of a result."""

    async def end(self) -> None:
        """Ends it, at once and for good; it cannot fail."""


class RunName(NamedTuple):
    """What a run in a conversation is called."""

    name: str
    """Within its conversation: letters and digits."""
    id: str
    """Among all runs."""


class Conversation:
    """One that is open."""

    def __init__(self, life: Life, record: Record, names: str = "") -> None:
        """`names`: what the names of its runs have in common, so that none is given twice by two processes."""
        self.life = life
        self.record = record
        self.hearing: Hearing | None = None
        self.belongings: dict[Belonging, None] = {}
        self.requests: dict[str, RunName] = {}
        """By the request's own name: the runs that are under way."""
        self._names = names
        self._runs = 0

    def __repr__(self) -> str:
        return f"Conversation({self.key!r}, {len(self.belongings)} belongings, {self.life.holds} under way)"

    @property
    def key(self) -> str:
        """Its name in the store, and in what belongs to it."""
        return self.life.key

    @property
    def caller(self) -> Caller:
        """Who asks for what is its own, and no call's."""
        return Caller(*self.life.owner, f"conversation {self.key}", conversation=self.key)

    def next_run(self) -> RunName:
        self._runs += 1
        return self.run(f"r{self._runs}{self._names}")

    def run(self, name: str) -> RunName:
        """The run of a name, whether there was ever one or not."""
        return RunName(name, f"{self.key}.{name}")
