"""A blocking client of a pooler, for the command line: plain values in, plain dataclasses out.

It retries nothing and keeps nothing: one client, one command. Frontends have their own client, which does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import grpc
import orjson
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2, pooler_pb2_grpc

ANSWER_BYTES_MAX = 256 << 20
"""gRPC's own 4 MB would refuse pages that the configuration allows."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a call's time went, in milliseconds."""

    queue_ms: float
    start_ms: float
    reset_ms: float
    backend_ms: float

    @property
    def pooler_ms(self) -> float:
        """All of it together."""
        return self.queue_ms + self.start_ms + self.reset_ms + self.backend_ms


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call's answer: its JSON, decoded."""

    value: Any
    timing: Timing
    shared: str = ""
    """How much of it is somebody else's: `hit`, `stale`, `miss` or `joined`; empty where answers are not shared."""
    age_ms: int = 0
    """How long ago the backend began to make it, where it was kept."""


class CallError(Exception):
    """A call that failed, or a pooler that could not be reached.

    `status` is the gRPC code's name, `reason` the pooler's own, empty when the failure came from below it.
    """

    def __init__(self, status: str, reason: str, message: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.metadata = metadata


class PoolerClient:
    """One channel to one pooler. A context manager; every method raises CallError."""

    def __init__(self, address: str) -> None:
        """`address`: HOST:PORT or unix:PATH. Connects with the first call."""
        self._address = address
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", ANSWER_BYTES_MAX), ("grpc.enable_http_proxy", 0)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def call(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        timeout_seconds: float,
        tenant: str = "",
        principal: str = "",
    ) -> CallResult:
        """Runs one operation. Interrupting it cancels the call, and with it the backend's work."""
        request = pooler_pb2.CallRequest(
            context=pooler_pb2.CallContext(
                tenant=tenant,
                principal=principal,
                priority=pooler_pb2.PRIORITY_INTERACTIVE,
                timeout_ms=max(1, round(timeout_seconds * 1000)),
            ),
            operation=operation,
            arguments=orjson.dumps(arguments),
        )
        try:
            reply = pooler_pb2_grpc.PoolerServiceStub(self._channel).Call(request, timeout=timeout_seconds + 1)
        except grpc.RpcError as error:
            raise failure(error, self._address) from error
        shared = pooler_pb2.Reuse.State.Name(reply.reuse.state).lower() if reply.HasField("reuse") else ""
        return CallResult(orjson.loads(reply.result), _timing(reply.timing), shared, reply.reuse.age_ms)


def failure(error: grpc.RpcError, address: str) -> CallError:
    """What a failed call means, in words for whoever sits at the terminal. `address`: who was asked."""
    call = cast("grpc.Call", error)  # what a stub raises is always both
    status, message = call.code().name, call.details() or "no further words"
    if (rich := rpc_status.from_call(call)) is not None:
        for detail in rich.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                return CallError(status, info.reason, message, dict(info.metadata))
    if status == "UNAVAILABLE":
        message = f"no pooler answers at {address}; start one with `penstock pooler`, or name its address"
    elif status == "UNIMPLEMENTED":
        message = f"nothing of this is served at {address}: administrators go where pooler.admin.listen says"
    elif status == "DEADLINE_EXCEEDED":
        message = f"no answer from {address} in time; see whether it is the right address, or give --timeout"
    return CallError(status, "", message, {})


def _timing(timing: pooler_pb2.Timing) -> Timing:
    return Timing(timing.queue_us / 1000, timing.start_us / 1000, timing.reset_us / 1000, timing.backend_us / 1000)
