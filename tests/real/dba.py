"""A DBA at the wire of a running pooler: orders by name, what was refused, calls that bear a name. Judges nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import admin_pb2, admin_pb2_grpc, pooler_pb2
from tests.interaction import wire

PATIENCE_SECONDS = 30.0


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """A failure's status and reason: `ABORTED KILLED`."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None, error
    assert status.details[0].Unpack(info)
    assert info.domain == "penstock"
    return f"{error.code().name} {info.reason}"


def named(request_id: str, operation: str, timeout_ms: int = 60_000, **arguments: Any) -> pooler_pb2.CallRequest:
    """A call with a name of its own."""
    request = wire.request(operation, timeout_ms, **arguments)
    request.context.request_id = request_id
    return request


class Dba:
    """Orders to the backends of one pooler."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)

    async def order(self, name: str, backend: str, **facts: Any) -> Any:
        """One order to one backend, as in `order("SetCap", "db", cap=2)`; its reply."""
        request = getattr(admin_pb2, f"{name}Request")(backend=backend, **facts)
        return await getattr(self.stub, name)(request, timeout=PATIENCE_SECONDS)

    async def refused(self, name: str, backend: str, **facts: Any) -> tuple[str, str]:
        """An order that must fail: its status and reason, and the sentence."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.order(name, backend, **facts)
        return reason_of(caught.value), caught.value.details() or ""

    async def reload(self) -> admin_pb2.ReloadReply:
        """Has the pooler read its file again."""
        return await self.stub.Reload(admin_pb2.ReloadRequest(), timeout=PATIENCE_SECONDS)

    async def backend(self, name: str) -> admin_pb2.Backend:
        """What the pool says of itself."""
        reply = await self.stub.ListBackends(admin_pb2.ListBackendsRequest(), timeout=PATIENCE_SECONDS)
        return next(backend for backend in reply.backends if backend.name == name)

    async def connections(self, backend: str) -> list[admin_pb2.Connection]:
        """Every connection of a backend."""
        return list((await self.order("ListConnections", backend)).connections)

    async def until(self, backend: str, condition: Callable[[admin_pb2.Backend], bool]) -> admin_pb2.Backend:
        """Until a backend is as a test wants it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition(state := await self.backend(backend)):  # noqa: ASYNC110 - another process, no event
                await asyncio.sleep(0.02)
        return state


@asynccontextmanager
async def at(address: str) -> AsyncIterator[Dba]:
    """A DBA, for as long as the block lasts."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield Dba(channel)
