"""Watches: hears from the pooler when resources change, for as long as somebody listens.

A watch outlives any break. What changed while nobody watched is not told by the pooler, so that after a break every
resource counts as changed.
"""

from collections.abc import AsyncGenerator, Callable, Sequence

from frontend.auth import Caller
from frontend.errors import PoolerError
from frontend.events import Watched
from frontend.logs import Logger
from frontend.pooler_client.calls import NOT_STARTED, Interrupted
from frontend.pooler_client.convert import context_of, watched
from frontend.pooler_client.way import Way, next_of, pause
from protos.penstock.v1 import pooler_pb2 as pb

log = Logger(__name__)

DRAINING = "DRAINING"
"""What a pooler says that stops: there will be another one."""


class Watches:
    """Close what `watch` returns (`contextlib.aclosing`)."""

    def __init__(self, way: Way) -> None:
        self._way = way

    async def watch(
        self, caller: Caller, targets: Sequence[Watched], begun: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[str, None]:
        """The URI of each target that has changed, as it was asked for. Raises PoolerError when the pooler refuses.

        `begun` is called each time that the pooler has begun to watch.
        """
        request = pb.WatchRequest(context=context_of(caller), targets=[watched(target) for target in targets])
        breaks = 0
        while True:
            await self._reach()
            stream = self._way.stub.Watch(request)
            try:
                await stream.initial_metadata()  # the pooler sends it once no change can be missed
                if not stream.done():
                    begun()
                    for target in targets if breaks else ():
                        yield target.uri
                while (event := await next_of(stream)) is not None:
                    breaks = 0
                    yield event.uri
                cause = "the pooler ended the stream"
            except Interrupted as interrupted:
                cause = interrupted.cause
            except PoolerError as error:
                if error.reason not in (NOT_STARTED, DRAINING):
                    raise
                cause = error.reason
            finally:
                stream.cancel()
            breaks += 1
            log.info("watch interrupted", pooler=self._way.address, cause=cause, resources=len(targets))
            await pause(breaks)

    async def _reach(self) -> None:
        """A watch waits for its pooler for as long as it takes."""
        while True:
            try:
                return await self._way.reach()
            except PoolerError:
                continue
