"""A call on an exchange that has no answer yet, and who hears of it: somebody who waits, or a callback."""

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from frontend.errors import PoolerError
from frontend.events import Reply
from frontend.pooler_client.calls import Call, Interrupted, Sent
from protos.penstock.v1 import pooler_pb2 as pb

if TYPE_CHECKING:
    from frontend.pooler_client.exchange import Exchange

Ending: TypeAlias = Reply | PoolerError | Interrupted
"""How a call on an exchange can end: as the pooler said it, or without an answer."""


class Pending:
    """One call. `deadline`: the loop's time until which its caller waits."""

    __slots__ = ("call", "deadline", "exchange", "head", "id", "known_to", "pieces", "received", "sent")

    def __init__(self, call: Call, deadline: float, known_to: Sent | None = None) -> None:
        self.call = call
        self.deadline = deadline
        self.known_to = known_to
        """Where it was sent before, to be known again; the exchange's own pooler."""
        self.exchange: Exchange | None = None
        self.id = 0
        self.sent = False
        self.head: pb.ExchangeHead | None = None
        """Of a result that comes in pieces."""
        self.pieces: list[bytes] = []
        self.received = 0

    def ended(self, ending: Ending) -> None:
        """Called once, unless its caller has left."""
        raise NotImplementedError

    def leave(self) -> None:
        """Its caller has left: the work stops, and nobody is told. Harmless afterwards."""
        if self.exchange is not None:
            self.exchange.leave(self)


class Awaited(Pending):
    """A call that a task waits for."""

    __slots__ = ("_future",)

    def __init__(self, call: Call, deadline: float, known_to: Sent | None = None) -> None:
        super().__init__(call, deadline, known_to)
        self._future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def ended(self, ending: Ending) -> None:
        if self._future.done():
            return
        if isinstance(ending, Exception):
            self._future.set_exception(ending)
        else:
            self._future.set_result(ending)

    async def answer(self) -> Reply:
        """The reply. Raises PoolerError as the pooler said it, Interrupted when there was no answer."""
        try:
            return await self._future
        finally:
            self.leave()
