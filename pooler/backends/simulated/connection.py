"""A connection to a simulated system, wherever that is: what its client library offers. Opens none by itself."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pooler.backends.base import Answer, Connection, News, Notification, Transaction
from pooler.backends.simulated.ledger import Batch
from pooler.backends.simulated.methods import Request
from pooler.backends.simulated.pipe import Pipe

Boundary = Literal["begin", "commit", "rollback"]


@dataclass(slots=True, eq=False)
class SimulatedConnection(Connection, ABC):
    """The client's end of one session. `local.py` and `remote.py` have the two forms, each with its opening."""

    pipe: Pipe = field(default_factory=Pipe)
    """The calls that share it."""

    @abstractmethod
    async def validate(self) -> None:
        """Asks whether the session can serve; a lying system says yes. Raises when it cannot."""

    @property
    @abstractmethod
    def told(self) -> Transaction:
        """What the system said last of the session's transaction."""

    @abstractmethod
    async def request(self, request: Request, news: News | None) -> Answer | Batch:
        """Has the system do a request. Cancelling it leaves the system at work."""

    @abstractmethod
    async def fetch(self, rows: int, seconds: float) -> Batch:
        """Has the system bring more rows of a request, which takes it some seconds."""

    @abstractmethod
    async def leave(self) -> None:
        """Lets the system forget the rows that are left."""

    @abstractmethod
    async def transact(self, step: Boundary) -> None:
        """Begins or ends a transaction."""

    async def listen(self, channels: Collection[str]) -> None:
        """Hears from now on what the system says on these channels."""
        raise NotImplementedError("only a system in this process has channels")

    async def heard(self) -> Sequence[Notification]:
        """What it has said there, as soon as it has."""
        raise NotImplementedError("only a system in this process has channels")

    @abstractmethod
    async def stop(self) -> bool:
        """Asks the system to stop the session's work. False: it works on."""

    @abstractmethod
    async def reset(self) -> bool:
        """Removes what the last user left. False: the session serves no more."""

    @abstractmethod
    async def close(self, force: bool) -> bool:
        """Logs out and waits until the system has dropped the session. False: a client cannot find that out."""
