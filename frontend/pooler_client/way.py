"""The channel to a pooler, and what everything on it has in common: reaching it, asking it, reading what it says.

A status becomes a PoolerError when the pooler has said it, and Interrupted when the way broke. Only questions that may
be asked twice go through `ask`; nothing here knows what a call, a run or a conversation is.
"""

import asyncio
import contextlib
import random
from typing import Any, TypeVar, cast

import grpc
from google.rpc import error_details_pb2
from grpc.aio import StreamStreamMultiCallable, UnaryStreamCall, UnaryUnaryMultiCallable
from grpc_status import rpc_status

from frontend.errors import PoolerError, pooler_away, way_interrupted
from frontend.logs import Logger
from frontend.pooler_client.calls import Interrupted
from protos.penstock.v1.pooler_pb2_grpc import PoolerServiceStub

log = Logger(__name__)

OPEN_SECONDS = 5.0
"""How long a call waits for a pooler that is not there: long enough for one that is being restarted."""

ASK_SECONDS = 10.0
"""How long a question may take that waits for no backend."""

ASKED_MAX = 3

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

EXCHANGE = "/penstock.v1.PoolerService/Exchange"

Request = TypeVar("Request")
Message = TypeVar("Message")


class Way:
    """One channel. `open` on a running loop before use, `close` when done."""

    def __init__(self, address: str) -> None:
        self.address = address

    def open(self) -> None:
        """Waits for nothing."""
        self._channel = grpc.aio.insecure_channel(self.address, options=CHANNEL_OPTIONS)
        self.stub = PoolerServiceStub(self._channel)
        # Of serialized messages: an exchange has them so, whatever carries them.
        self.exchange: StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(EXCHANGE)

    async def close(self) -> None:
        await self._channel.close()

    async def reach(self, deadline: float | None = None) -> None:
        """Waits until the pooler can be spoken to. Raises PoolerError when nobody listens for a while.

        `deadline`: the loop's time after which the caller waits no longer.
        """
        give_up = asyncio.get_running_loop().time() + OPEN_SECONDS
        try:
            async with asyncio.timeout_at(min(give_up, deadline) if deadline is not None else give_up):
                await self._channel.channel_ready()
        except TimeoutError:
            raise pooler_away() from None

    async def ask(self, method: "UnaryUnaryMultiCallable[Request, Message]", request: Request) -> Message:
        """The answer to a question that changes nothing by being asked twice. Raises PoolerError."""
        deadline = asyncio.get_running_loop().time() + ASK_SECONDS
        for number in range(ASKED_MAX):
            await self.reach(deadline)
            try:
                return await self._ask_once(method, request, deadline)
            except Interrupted as interrupted:
                log.info("question interrupted", pooler=self.address, cause=interrupted.cause)
            await pause(number)
        raise way_interrupted()

    async def _ask_once(
        self, method: "UnaryUnaryMultiCallable[Request, Message]", request: Request, deadline: float
    ) -> Message:
        left = max(deadline - asyncio.get_running_loop().time(), 0.001)
        try:
            return await method(request, timeout=left)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            raise _read(error) from None


async def next_of(stream: "UnaryStreamCall[Any, Message]") -> Message | None:
    """The next message of a stream, None at its end. Raises PoolerError, or Interrupted when the way broke."""
    try:
        message = await stream.read()
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
        raise _read(error) from None
    return None if message is grpc.aio.EOF else cast("Message", message)


async def pause(number: int) -> None:
    """Before the next attempt, after so many: longer each time, and never everybody at once."""
    await asyncio.sleep(random.uniform(0.05, 0.1) * 2 ** min(number, 4))  # noqa: S311 - jitter, no secret


def cancelled_by_peer(error: BaseException) -> bool:
    """grpc.aio raises CancelledError for a status CANCELLED too, when nobody has cancelled the task."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()


def describe(error: BaseException) -> str:
    """A failure in a few words for the log: a status by its name and details, anything else by its kind."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return f"{type(error).__name__}: {error}"
    return f"{error.code().name}: {(error.details() or '').strip()[:200]}"


def _read(error: grpc.aio.AioRpcError | asyncio.CancelledError) -> BaseException:
    """What to raise: as the pooler said it, as a break in the way, or the caller's own leaving."""
    if isinstance(error, asyncio.CancelledError):
        return Interrupted("the pooler took the stream back", sent=True) if cancelled_by_peer(error) else error
    return _said(error) or Interrupted(describe(error), sent=True)


def _said(error: grpc.aio.AioRpcError) -> PoolerError | None:
    """The pooler's own words; None when the status is gRPC's own."""
    # A status that does not fit its own details is nobody's words.
    with contextlib.suppress(ValueError):
        if (status := rpc_status.from_call(cast("grpc.Call", error))) is not None:
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return PoolerError(info.reason, status.message, dict(info.metadata))
    return None
