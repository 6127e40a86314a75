"""A frontend's way to its pooler: the stream that carries its plain calls, and the rooms for everything else.

How often a call may be sent, and how long it may take, is `calls`'s rule; here stands which stream carries it.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from frontend.auth import Caller
from frontend.errors import PoolerError, pooler_away
from frontend.events import Reply
from frontend.logs import Logger
from frontend.operations import Offer
from frontend.pooler_client.calls import Call, Interrupted, Sent, repeated
from frontend.pooler_client.conversations import Conversations
from frontend.pooler_client.errand import Errand, refused
from frontend.pooler_client.exchange import Exchange, Invalidated, Terms
from frontend.pooler_client.follower import Follower
from frontend.pooler_client.grpcio_line import GrpcioLine
from frontend.pooler_client.runs import Runs
from frontend.pooler_client.watch import Watches
from frontend.pooler_client.way import OPEN_SECONDS, Way

log = Logger(__name__)

OPEN_PAUSE_SECONDS = 0.1
"""Between two attempts to open a stream; while nobody listens at all, gRPC itself makes longer ones."""

NEARER_SECONDS = 0.1
"""After how long it is tried to come nearer: the first answers of a cold frontend go before."""

NEARER_SECONDS_MAX = 60.0
"""The longest pause between two attempts, where the pooler's socket cannot be reached, as from another container."""


class PoolerClient:
    """The one way to the pooler. `start` on a running loop before use, `close` when done."""

    def __init__(self, address: str, caller: Caller, calls_max: int, result_bytes_max: int) -> None:
        self._way = Way(address)
        self._caller = caller
        self._calls_max = calls_max
        self._terms = Terms(uuid.uuid4().hex, address, result_bytes_max)
        self.under_way = 0
        """Calls, whoever carries them."""
        self._lost: Callable[[], None] = lambda: None
        self._exchange: Exchange | None = None
        self._opening: asyncio.Task[None] | None = None
        self._leaving: list[Exchange] = []
        self._approach: asyncio.Task[None] | None = None
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

    def keep_near(self, on_invalidate: Invalidated, on_lost: Callable[[], None]) -> None:
        """Before `start`: answers may be given again, until they are invalidated or the stream that they came on ends.

        Both are called on the loop, in their order among the answers to what was begun by `begin`.
        """
        self._terms = replace(self._terms, on_invalidate=on_invalidate)
        self._lost = on_lost

    async def close(self) -> None:
        await cancelled(self._following, self._opening, self._approach)
        await self.runs.close()
        for exchange in (*self._leaving, *([self._exchange] if self._exchange else [])):
            await exchange.close()
        await self._way.close()

    async def call(self, call: Call) -> Reply:
        """Carries out a call, within its time. Raises PoolerError."""
        with self._admitted():
            deadline = asyncio.get_running_loop().time() + call.timeout_seconds
            return await self.carry_out(call, deadline)

    def begin(self, call: Call, done: Callable[[Reply | PoolerError], None]) -> Callable[[], None]:
        """The same for whoever has no task for it: `done` is called once, on the loop, never before this returns.

        Returns what the caller calls when it leaves: the work stops, and nobody is told. Harmless afterwards.
        """
        errand = Errand(self, call, asyncio.get_running_loop().time() + call.timeout_seconds, done)
        exchange = self._exchange
        if exchange is None or not exchange.usable or self.under_way >= self._calls_max:
            errand.go_slowly(self.call(call))
            return errand.leave
        try:
            errand.begin(exchange)
        except PoolerError as error:
            errand.go_slowly(refused(error))
        return errand.leave

    async def carry_out(self, call: Call, deadline: float, failure: Interrupted | PoolerError | None = None) -> Reply:
        """A call that was counted in, to its end; after the failure of its first attempt, if one was made."""
        reply = await repeated(call, deadline, partial(self._attempt, call, deadline), failure)
        # What was invalidated since it came may be told before its caller has it.
        return reply._replace(reuse=reply.reuse._replace(near_ms=0)) if reply.reuse is not None else reply

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        """Counts what is under way. Raises PoolerError when it is as much as may be."""
        if self.under_way >= self._calls_max:
            sentence = f"This frontend already carries {self._calls_max} calls. Try again in a second."
            raise PoolerError("TOO_MANY_CALLS", sentence, {"retry_after_ms": "1000"})
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def _attempt(self, call: Call, deadline: float, known_to: Sent | None) -> Reply:
        try:
            exchange = await self._connected(deadline)
        except PoolerError as error:
            raise (Interrupted(error.reason, sent=True) if known_to is not None else error) from None
        if known_to is not None and known_to.boot_id != exchange.boot_id:
            if not call.repeatable:
                raise Interrupted("the pooler that the call was sent to has gone", sent=True)
            known_to = None
        return await exchange.call(call, deadline, known_to)

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
        line = GrpcioLine(self._way.exchange(wait_for_ready=True))
        exchange = Exchange(line, self._terms, self._lost)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await exchange.greet()
        except (PoolerError, Interrupted, TimeoutError) as error:
            log.warning("pooler not reached", pooler=self._way.address, cause=str(error) or "no answer in time")
            raise (error if isinstance(error, PoolerError) else pooler_away()) from None
        finally:
            self._opening = None
            if not exchange.boot_id:
                await exchange.close()
        log.info("connected", pooler=self._way.address, boot_id=exchange.boot_id)
        self._take_on(exchange)
        if exchange.local_address:
            await cancelled(self._approach)
            self._approach = asyncio.create_task(self._come_nearer(exchange))

    def _take_on(self, exchange: Exchange) -> None:
        """Calls take this stream from now on; the one before still answers those that it has."""
        before, self._exchange = self._exchange, exchange
        if before is not None:
            before.retire()
        self._leaving = [old for old in (*self._leaving, before) if old is not None and not old.ended]

    async def _come_nearer(self, exchange: Exchange) -> None:
        """Changes over to the socket that the pooler of this stream has for its neighbours, if it can be reached."""
        pause = NEARER_SECONDS
        while exchange.usable:
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    nearer = await self._reach_nearer(exchange)
            except (OSError, PoolerError, Interrupted, TimeoutError) as error:
                pause = min(max(2 * pause, 1.0), NEARER_SECONDS_MAX)
                log.info("no nearer way to the pooler", cause=str(error) or "no answer in time", again_in_seconds=pause)
                continue
            log.info("connected", pooler=exchange.local_address, boot_id=nearer.boot_id)
            self._take_on(nearer)

    async def _reach_nearer(self, exchange: Exchange) -> Exchange:
        # Not at the top: where there is no neighbour, and in a function that lives for one call, nobody pays for it.
        from frontend.pooler_client.http2_line import connect

        nearer = Exchange(await connect(exchange.local_address), self._terms, self._lost)
        try:
            await nearer.greet()
        finally:
            if nearer.boot_id != exchange.boot_id:
                await nearer.close()
        if nearer.boot_id != exchange.boot_id:
            raise Interrupted("another process has its socket", sent=False)
        return nearer


async def cancelled(*tasks: "asyncio.Task[None] | None") -> None:
    """Ends these tasks, and waits until they have ended."""
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)
