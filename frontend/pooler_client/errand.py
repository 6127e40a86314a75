"""A call for whoever has no task for it: a callback on the open stream, and a task only when anything is unusual.

Unusual is: no open stream, no room, an interruption that may be repeated. What is then done is the client's.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from frontend.errors import PoolerError
from frontend.events import Reply
from frontend.logs import Logger
from frontend.pooler_client.calls import NOT_STARTED, Call, Interrupted
from frontend.pooler_client.pending import Ending, Pending

if TYPE_CHECKING:
    from frontend.pooler_client.client import PoolerClient
    from frontend.pooler_client.exchange import Exchange

log = Logger(__name__)

Done: TypeAlias = Callable[[Reply | PoolerError], None]


class Errand(Pending):
    """`done` is called once, unless the caller has left."""

    __slots__ = ("_client", "_counted", "_done", "_task")

    def __init__(self, client: "PoolerClient", call: Call, deadline: float, done: Done) -> None:
        super().__init__(call, deadline)
        self._client = client
        self._done = done
        self._task: asyncio.Task[Reply] | None = None
        self._counted = False

    def begin(self, exchange: "Exchange") -> None:
        """Sends it on this stream, counted among the calls under way. Raises PoolerError when it cannot be sent."""
        exchange.begin(self)
        self._counted = True
        self._client.under_way += 1

    def go_slowly(self, going: Coroutine[Any, Any, Reply]) -> None:
        """Has it carried out by a task."""
        self._task = asyncio.get_running_loop().create_task(going)
        self._task.add_done_callback(self._went)

    def ended(self, ending: Ending) -> None:
        if isinstance(ending, Interrupted) or (isinstance(ending, PoolerError) and ending.reason == NOT_STARTED):
            self.go_slowly(self._client.carry_out(self.call, self.deadline, ending))
        else:
            self._client.under_way -= 1
            self._done(ending)

    def leave(self) -> None:
        if self._task is not None:
            # One that has ended already cannot be cancelled, and is about to tell.
            self._done = _nobody
            self._task.cancel()
        elif self.exchange is not None and self.exchange.leave(self):
            self._client.under_way -= 1

    def _went(self, task: asyncio.Task[Reply]) -> None:
        if self._counted:
            self._client.under_way -= 1
        if task.cancelled():
            return
        failure = task.exception()
        if failure is None:
            self._done(task.result())
        elif isinstance(failure, PoolerError):
            self._done(failure)
        else:
            log.error("a call failed by a defect", operation=self.call.operation.name, exc_info=failure)
            self._done(PoolerError("INTERNAL", "The call failed by a defect of this frontend."))


def _nobody(_: Reply | PoolerError) -> None:
    """Who hears of a call whose caller has left."""


async def refused(error: PoolerError) -> Reply:
    """For a call that is refused at once: its caller must not hear of it before it has begun."""
    raise error
