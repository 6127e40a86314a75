"""A frontend's way to its pooler: the stream that carries its plain calls, and the rooms for everything else.

How often a call may be sent, and how long it may take, is `calls`'s rule; here stands which stream carries it.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator

import grpc
import structlog

from frontend.auth import Caller
from frontend.errors import PoolerError, pooler_away
from frontend.events import Reply
from frontend.operations import Offer
from frontend.pooler_client.calls import Call, repeated
from frontend.pooler_client.conversations import Conversations
from frontend.pooler_client.convert import request_of
from frontend.pooler_client.exchange import Exchange, greet
from frontend.pooler_client.follower import Follower
from frontend.pooler_client.runs import SILENCE_SECONDS, Runs
from frontend.pooler_client.watch import Watches
from frontend.pooler_client.way import OPEN_SECONDS, Way, cancelled_by_peer, describe

log = structlog.get_logger(__name__)

OPEN_PAUSE_SECONDS = 0.1
"""Between two attempts to open a stream; while nobody listens at all, gRPC itself makes longer ones."""


class PoolerClient:
    """The one way to the pooler. `start` on a running loop before use, `close` when done."""

    def __init__(self, address: str, caller: Caller, calls_max: int, result_bytes_max: int) -> None:
        self._way = Way(address)
        self._caller = caller
        self._calls_max = calls_max
        self._result_bytes_max = result_bytes_max
        self._boot_id = uuid.uuid4().hex
        self._under_way = 0
        self._exchange: Exchange | None = None
        self._opening: asyncio.Task[None] | None = None
        self._leaving: list[Exchange] = []
        self._following: asyncio.Task[None] | None = None
        self.runs = Runs(self._way, self._admitted, result_bytes_max)
        self.conversations = Conversations(self._way)
        self.watches = Watches(self._way)

    @property
    def connected(self) -> bool:
        """Whether a stream for calls is open; one is opened by the first call that needs it."""
        return self._exchange is not None and self._exchange.usable

    def start(self, publish: Callable[[Offer], None]) -> None:
        """Begins to follow the catalogue; waits for nothing."""
        self._way.open()
        self._following = asyncio.create_task(Follower(self._way.stub, self._caller, publish).run())

    async def close(self) -> None:
        tasks = [task for task in (self._following, self._opening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.runs.close()
        for exchange in (*self._leaving, *([self._exchange] if self._exchange else [])):
            await exchange.close()
        await self._way.close()

    async def call(self, call: Call) -> Reply:
        """Carries out a call, within its time. Raises PoolerError."""
        with self._admitted():
            deadline = asyncio.get_running_loop().time() + call.timeout_seconds
            return await repeated(call, deadline, lambda: self._attempt(call, deadline))

    def begin(self, call: Call, done: Callable[[Reply | PoolerError], None]) -> Callable[[], None]:
        """The same for whoever has no task for it: `done` is called once, on the loop, never before this returns.

        Returns what the caller calls when it leaves: the work stops, and nobody is told. Harmless afterwards.
        """

        def ended(task: asyncio.Task[Reply]) -> None:
            if task.cancelled():
                return
            failure = task.exception()
            if failure is None:
                done(task.result())
            elif isinstance(failure, PoolerError):
                done(failure)
            else:
                log.error("a call failed by a defect", operation=call.operation.name, exc_info=failure)
                done(PoolerError("INTERNAL", "The call failed by a defect of this frontend."))

        task = asyncio.create_task(self.call(call))
        task.add_done_callback(ended)

        def leave() -> None:
            task.cancel()

        return leave

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        """Counts what is under way. Raises PoolerError when it is as much as may be."""
        if self._under_way >= self._calls_max:
            sentence = f"This frontend already carries {self._calls_max} calls. Try again in a second."
            raise PoolerError("TOO_MANY_CALLS", sentence, {"retry_after_ms": "1000"})
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _attempt(self, call: Call, deadline: float) -> Reply:
        exchange = await self._connected(deadline)
        left = deadline - asyncio.get_running_loop().time()
        return await exchange.call(request_of(call, left), deadline + SILENCE_SECONDS)

    async def _connected(self, deadline: float) -> Exchange:
        """A stream that takes calls. Raises PoolerError when there is none within the patience of a call."""
        loop = asyncio.get_running_loop()
        give_up = min(deadline, loop.time() + OPEN_SECONDS)
        while self._exchange is None or not self._exchange.usable:
            # `wait` neither cancels the task nor swallows this caller's own cancellation.
            await asyncio.wait({opening := self._opening_task()}, timeout=max(give_up - loop.time(), 0.0))
            if not opening.done():
                raise pooler_away()
            if (failure := opening.exception()) is not None:
                if loop.time() + OPEN_PAUSE_SECONDS >= give_up:
                    raise failure
                await asyncio.sleep(OPEN_PAUSE_SECONDS)
        return self._exchange

    def _opening_task(self) -> asyncio.Task[None]:
        """The opening of a stream belongs to all who wait for it, and outlives whoever caused it."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            # Should all who wait for it leave, its failure is nobody's, and no warning's either.
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._opening

    async def _open(self) -> None:
        wire = self._way.stub.Exchange(wait_for_ready=True)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                exchange = await greet(wire, self._boot_id, self._result_bytes_max)
        except (PoolerError, TimeoutError, grpc.RpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            wire.cancel()
            if isinstance(error, asyncio.CancelledError) and not cancelled_by_peer(error):
                raise
            log.warning("pooler not reached", pooler=self._way.address, cause=describe(error))
            raise (error if isinstance(error, PoolerError) else pooler_away()) from None
        finally:
            self._opening = None
        log.info("connected", pooler=self._way.address, boot_id=exchange.boot_id)
        # A stream whose pooler goes away still answers the calls that it has.
        self._leaving = [old for old in (*self._leaving, self._exchange) if old is not None and not old.ended]
        self._exchange = exchange
