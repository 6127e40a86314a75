"""A frontend's calls to its pooler: which stream carries them, how long they may take, and when they are sent again.

The rule of repetition: a call that provably never left, or was not begun, is sent again; one that may have been begun
is sent again only when it changes nothing by being carried out twice; any other answers OUTCOME_UNKNOWN, which is the
truth. At most two repetitions, all within the call's own time, under one request id.
"""

import asyncio
import random
import uuid
from collections.abc import Callable

import grpc
import structlog

from frontend.auth import Caller
from frontend.errors import PoolerError, pooler_away
from frontend.operations import Offer
from frontend.pooler_client.calls import Call, Interrupted, Reply
from frontend.pooler_client.convert import request_of
from frontend.pooler_client.exchange import Exchange, cancelled_by_peer, describe, greet
from frontend.pooler_client.follower import Follower
from protos.penstock.v1.pooler_pb2_grpc import PoolerServiceStub

log = structlog.get_logger(__name__)

REPETITIONS_MAX = 2
OPEN_SECONDS = 5.0
"""How long a call waits for a pooler that is not there: long enough for one that is being restarted."""
OPEN_PAUSE_SECONDS = 0.1
"""Between two attempts to open a stream; while nobody listens at all, gRPC itself makes longer ones."""
SILENCE_SECONDS = 2.0
"""How long after a call's time the pooler may still say what the time went into."""
NOT_STARTED = "DRAINING"
"""The one reason that says for certain that nothing was begun, and that another stream may do better."""

CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", 72 * 1024 * 1024),
    ("grpc.max_receive_message_length", 72 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A peer that vanished without a word (a cut network, a frozen host) is noticed within 30 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The pooler is a neighbour: never by way of a proxy that was meant for the Internet.
    ("grpc.enable_http_proxy", 0),
    # Several clients in one process each have their own connection, and their own back-off.
    ("grpc.use_local_subchannel_pool", 1),
)


class PoolerClient:
    """The one way to the pooler. `start` on a running loop before use, `close` when done."""

    def __init__(self, address: str, caller: Caller, calls_max: int, result_bytes_max: int) -> None:
        self._address = address
        self._caller = caller
        self._calls_max = calls_max
        self._result_bytes_max = result_bytes_max
        self._boot_id = uuid.uuid4().hex
        self._under_way = 0
        self._exchange: Exchange | None = None
        self._opening: asyncio.Task[None] | None = None
        self._leaving: list[Exchange] = []
        self._following: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a stream for calls is open; one is opened by the first call that needs it."""
        return self._exchange is not None and self._exchange.usable

    def start(self, publish: Callable[[Offer], None]) -> None:
        """Begins to follow the catalogue; waits for nothing."""
        self._channel = grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS)
        self._stub = PoolerServiceStub(self._channel)
        self._following = asyncio.create_task(Follower(self._stub, self._caller, publish).run())

    async def close(self) -> None:
        tasks = [task for task in (self._following, self._opening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for exchange in (*self._leaving, *([self._exchange] if self._exchange else [])):
            await exchange.close()
        await self._channel.close()

    async def call(self, call: Call) -> Reply:
        """Carries out a call, within its time. Raises PoolerError."""
        if self._under_way >= self._calls_max:
            sentence = f"This frontend already carries {self._calls_max} calls. Try again in a second."
            raise PoolerError("TOO_MANY_CALLS", sentence, {"retry_after_ms": "1000"})
        self._under_way += 1
        try:
            return await self._until_answered(call)
        finally:
            self._under_way -= 1

    async def _until_answered(self, call: Call) -> Reply:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.timeout_seconds
        for attempt in range(REPETITIONS_MAX + 1):
            exchange = await self._connected(deadline)
            try:
                return await exchange.call(request_of(call, deadline - loop.time()), deadline + SILENCE_SECONDS)
            except Interrupted as interrupted:
                failure = _as_error(call, interrupted)
                again = call.repeatable or not interrupted.sent
            except PoolerError as error:
                failure = error
                # A lost connection is none of ours to repeat: the pooler has repeated what may be, and a request
                # that a worker died of would kill the next one too.
                again = error.reason == NOT_STARTED
            if not again or attempt == REPETITIONS_MAX or loop.time() >= deadline:
                raise failure
            log.info("call sent again", operation=call.operation.name, request_id=call.request_id, cause=failure.reason)
            # Longer the second time, and never all calls at once.
            await asyncio.sleep(random.uniform(0.05, 0.1) * 4**attempt)  # noqa: S311 - jitter, no secret
        raise AssertionError("unreachable: the last repetition returns or raises")

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
        wire = self._stub.Exchange(wait_for_ready=True)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                exchange = await greet(wire, self._boot_id, self._result_bytes_max)
        except (PoolerError, TimeoutError, grpc.RpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            wire.cancel()
            if isinstance(error, asyncio.CancelledError) and not cancelled_by_peer(error):
                raise
            log.warning("pooler not reached", pooler=self._address, cause=describe(error))
            raise (error if isinstance(error, PoolerError) else pooler_away()) from None
        finally:
            self._opening = None
        log.info("connected", pooler=self._address, boot_id=exchange.boot_id)
        # A stream whose pooler goes away still answers the calls that it has.
        self._leaving = [old for old in (*self._leaving, self._exchange) if old is not None and not old.ended]
        self._exchange = exchange


def _as_error(call: Call, interrupted: Interrupted) -> PoolerError:
    """What to say of a call whose stream ended under it. Where that was, and of what, is in the log alone."""
    what = "The way to the pooler was interrupted"
    if not interrupted.sent:
        return PoolerError("POOLER_AWAY", f"{what}; nothing was started.", {"retry_after_ms": "1000"})
    if call.repeatable:
        return PoolerError("POOLER_AWAY", f"{what}; the call may safely be repeated.", {"retry_after_ms": "1000"})
    unknown = f"{call.operation.name!r} may or may not have been carried out. Look before repeating it"
    return PoolerError("OUTCOME_UNKNOWN", f"{what}: {unknown}.")
