"""A stream that is opened again where it broke off, for as long as its own caller waits.

Whoever follows it keeps the position and opens the stream from there; this file only tells a break from an answer, and
gives up when the pooler stays away. It never repeats what would begin something anew.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from grpc.aio import UnaryStreamCall

from frontend.errors import PoolerError
from frontend.logs import Logger
from frontend.pooler_client.calls import NOT_STARTED, Interrupted
from frontend.pooler_client.way import Way, next_of, pause

log = Logger(__name__)

BREAKS_MAX = 8
"""Breaks in a row, without a message between them, after which the stream is given up."""

Message = TypeVar("Message")
Open = Callable[[], "UnaryStreamCall[Any, Message]"]


class Trail(Generic[Message]):
    """`reopen` opens the stream after what has been taken so far; `stream` is the first one, if it is open already.

    `deadline`: the loop's time at which silence is taken for absence; None: never.
    """

    def __init__(
        self,
        way: Way,
        reopen: "Open[Message]",
        deadline: float | None = None,
        stream: "UnaryStreamCall[Any, Message] | None" = None,
    ) -> None:
        self.broke = False
        """Whether it ever broke off."""
        self._way = way
        self._reopen = reopen
        self._deadline = deadline
        self._stream = stream
        self._breaks = 0

    async def next(self) -> Message | None:
        """The next message; None at the end. Raises PoolerError as the pooler said it, Interrupted when it is given up.

        May be abandoned, but not awaited again afterwards.
        """
        while True:
            if self._stream is None:
                await self._open()
            try:
                message = await self._read()
            except Interrupted as interrupted:
                cause = interrupted.cause
            except PoolerError as error:
                if error.reason != NOT_STARTED:
                    raise
                cause = error.reason
            else:
                self._breaks = 0
                return message
            await self.mend(cause)

    async def mend(self, cause: str) -> None:
        """After a break: the next message comes from a new stream. Raises Interrupted after too many of them."""
        self.close()
        self.broke = True
        self._breaks += 1
        log.info("stream interrupted", pooler=self._way.address, cause=cause, breaks=self._breaks)
        if self._breaks > BREAKS_MAX:
            raise Interrupted(cause, sent=True)
        await pause(self._breaks)

    def close(self) -> None:
        """Lets the stream go; the pooler hears of it."""
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None

    async def _open(self) -> None:
        try:
            await self._way.reach(self._deadline)
        except PoolerError as error:
            raise Interrupted(error.reason, sent=True) from None
        self._stream = self._reopen()

    async def _read(self) -> Message | None:
        assert self._stream is not None
        try:
            async with asyncio.timeout_at(self._deadline):
                return await next_of(self._stream)
        except TimeoutError:
            self._breaks = BREAKS_MAX
            raise Interrupted("the pooler did not answer in time", sent=True) from None
