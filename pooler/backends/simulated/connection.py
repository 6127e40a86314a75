"""A connection to a simulated system, wherever that is: what its client library offers. Opens none by itself."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pooler.backends.base import Answer, Connection
from pooler.backends.simulated.methods import Request


@dataclass(slots=True, eq=False)
class SimulatedConnection(Connection, ABC):
    """The client's end of one session. `local.py` and `remote.py` have the two forms, each with its opening."""

    @abstractmethod
    async def validate(self) -> None:
        """Asks whether the session can serve; a lying system says yes. Raises when it cannot."""

    @abstractmethod
    async def request(self, request: Request) -> Answer:
        """Has the system do a request. Cancelling it leaves the system at work."""

    @abstractmethod
    async def stop(self) -> bool:
        """Asks the system to stop the session's work. False: it works on."""

    @abstractmethod
    async def reset(self) -> bool:
        """Removes what the last user left. False: the session serves no more."""

    @abstractmethod
    async def close(self, force: bool) -> bool:
        """Logs out and waits until the system has dropped the session. False: a client cannot find that out."""
