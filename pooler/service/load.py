"""Calls as a load generator makes them: begun without a task each, and told of by a callback, over a stream or alone.

It measures nothing and repeats nothing: whatever becomes of a call is its answer, a broken way included. Frontends have
their own client, which repeats what may be repeated.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1.pooler_pb2_grpc import PoolerServiceStub

ANSWER_BYTES_MAX = 256 << 20
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    # Each way has a connection of its own, as frontends do.
    ("grpc.use_local_subchannel_pool", 1),
)
OPEN_SECONDS = 10.0
GOOD = "GOOD"
WAY_BROKEN = "WAY_BROKEN"
"""The connection or the stream ended under the call."""
NO_ANSWER = "NO_ANSWER"
"""The call's time was long over."""
TIMED_OUT = "TIMED_OUT"
"""Its caller's time was over, who had no way to say how long that was."""
INPUT_REQUIRED = "INPUT_REQUIRED"
"""The operation asks its user something: a load test has nobody to answer."""
SILENCE_SECONDS = 2.0
"""How long after a call's time its answer may still come."""


@dataclass(frozen=True, slots=True)
class LoadCall:
    """One call. `timeout_ms`: how long its caller waits still.

    `drops`: whether his connection breaks off when he leaves, so that it must be his own.
    """

    operation: str
    arguments: bytes
    tenant: str
    batch: bool
    timeout_ms: int
    drops: bool = False


class LoadAnswer(NamedTuple):
    """What became of a call: GOOD, a reason of the wire, or what broke. Times in seconds, where they were told."""

    outcome: str
    queue: float = 0.0
    start: float = 0.0
    reset: float = 0.0
    work: float = 0.0
    timed: bool = False
    shared: str = ""
    """`hit`, `stale`, `joined` or `miss`, where answers of the operation are shared."""


Done: TypeAlias = Callable[[LoadAnswer], None]
Leave: TypeAlias = Callable[[], None]


class LoadError(Exception):
    """What is to be called cannot be reached, or does not answer as it should; the message says which and why."""


class LoadWay(ABC):
    """A way to begin calls. `open` on a running loop before use, `close` when done."""

    @abstractmethod
    async def open(self) -> None:
        """Connects. Raises LoadError."""

    @abstractmethod
    def begin(self, call: LoadCall, done: Done) -> Leave:
        """Sends a call. `done` is called later, on the loop, once at most; what is returned is the caller's leaving.

        Whoever has left takes no notice of what `done` may still be told.
        """

    @abstractmethod
    async def close(self) -> None:
        """Ends what is under way."""


class UnaryWay(LoadWay):
    """Each call as a gRPC call of its own, over one connection."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None

    async def open(self) -> None:
        """Connects. Raises LoadError."""
        self._channel = await connected(self._address)
        self._call = PoolerServiceStub(self._channel).Call

    def begin(self, call: LoadCall, done: Done) -> Leave:
        """Sends a call. Leaving cancels it, and with it the backend's work."""
        task = asyncio.ensure_future(self._ask(call))
        task.add_done_callback(lambda ended: None if ended.cancelled() else done(ended.result()))
        return lambda: cast("None", task.cancel())

    async def close(self) -> None:
        """Ends what is under way."""
        if self._channel is not None:
            await self._channel.close()

    async def _ask(self, call: LoadCall) -> LoadAnswer:
        try:
            reply = await self._call(request_of(call), timeout=call.timeout_ms / 1000 + SILENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return _failed(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return LoadAnswer(WAY_BROKEN)  # grpc.aio raises it for a status CANCELLED too
        asks = reply.kind == pb.RESULT_KIND_INPUT_REQUIRED
        return timed(INPUT_REQUIRED if asks else GOOD, reply.timing, shared_of(reply))


async def connected(address: str) -> grpc.aio.Channel:
    """A channel of its own to a pooler that answers. Raises LoadError."""
    channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await channel.channel_ready()
    except TimeoutError:
        await channel.close()
        raise LoadError(f"no pooler answers at {address}; start one with `penstock up`, or name its address") from None
    return channel


def request_of(call: LoadCall) -> pb.CallRequest:
    """A call on the wire. The rest of a table is not kept for a caller who will never ask for it."""
    context = pb.CallContext(
        tenant=call.tenant,
        principal="loadtest",
        priority=pb.PRIORITY_BATCH if call.batch else pb.PRIORITY_INTERACTIVE,
        timeout_ms=call.timeout_ms,
    )
    return pb.CallRequest(context=context, operation=call.operation, arguments=call.arguments, first_page_only=True)


def timed(outcome: str, timing: pb.Timing, shared: str = "") -> LoadAnswer:
    """An answer with the times that the pooler told."""
    times = (timing.queue_us / 1e6, timing.start_us / 1e6, timing.reset_us / 1e6, timing.backend_us / 1e6)
    return LoadAnswer(outcome, *times, timed=True, shared=shared)


def shared_of(told: pb.CallReply | pb.ExchangeHead) -> str:
    """Whose answer it is; empty where the operation's answers are nobody else's."""
    return pb.Reuse.State.Name(told.reuse.state).lower() if told.HasField("reuse") else ""


def _failed(error: grpc.aio.AioRpcError) -> LoadAnswer:
    """The pooler's own reason, or what gRPC made of a broken way."""
    if (status := rpc_status.from_call(cast("grpc.Call", error))) is not None:
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                return timed(info.reason, _timing_in(info.metadata))
    late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return LoadAnswer(NO_ANSWER if late else WAY_BROKEN)


def _timing_in(metadata: Mapping[str, str]) -> pb.Timing:
    names = ("queue_us", "start_us", "reset_us", "backend_us")
    return pb.Timing(**{name: int(metadata.get(name, "0")) for name in names})
