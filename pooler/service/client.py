"""A blocking client of a pooler, for the command line: plain values in, plain dataclasses out.

It retries nothing and keeps nothing: one client, one command. Frontends have their own client, which does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self, cast

import grpc
import orjson
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import admin_pb2, admin_pb2_grpc, pooler_pb2, pooler_pb2_grpc

ANSWER_BYTES_MAX = 256 << 20
"""gRPC's own 4 MB would refuse pages that the configuration allows."""


@dataclass(frozen=True, slots=True)
class BackendState:
    """A backend and its pool, as the pool itself counts: connections by state, calls, the learned start time."""

    name: str
    kind: str
    cap: int
    reserve: int
    starting: int
    validating: int
    idle: int
    in_use: int
    draining: int
    resetting: int
    closing: int
    queued: int
    queue_max: int
    oldest_wait_ms: int
    serving: bool
    failure: str
    calls_total: int
    starts_total: int
    start_failures_total: int
    start_ms: int


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

    def backends(self, timeout_seconds: float) -> list[BackendState]:
        """Every backend with its pool's state, sorted by name."""
        try:
            reply = admin_pb2_grpc.AdminServiceStub(self._channel).ListBackends(
                admin_pb2.ListBackendsRequest(), timeout=timeout_seconds
            )
        except grpc.RpcError as error:
            raise self._failure(error) from error
        names = [field.name for field in fields(BackendState)]
        return [BackendState(**{name: getattr(backend, name) for name in names}) for backend in reply.backends]

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
            raise self._failure(error) from error
        return CallResult(orjson.loads(reply.result), _timing(reply.timing))

    def _failure(self, error: grpc.RpcError) -> CallError:
        call = cast("grpc.Call", error)  # what a stub raises is always both
        status, message = call.code().name, call.details() or "no further words"
        if (rich := rpc_status.from_call(call)) is not None:
            for detail in rich.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return CallError(status, info.reason, message, dict(info.metadata))
        if status == "UNAVAILABLE":
            message = f"no pooler answers at {self._address}; start one with `penstock pooler`, or name its address"
        return CallError(status, "", message, {})


def _timing(timing: pooler_pb2.Timing) -> Timing:
    return Timing(timing.queue_us / 1000, timing.start_us / 1000, timing.reset_us / 1000, timing.backend_us / 1000)
