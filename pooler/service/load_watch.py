"""What a load test asks a pooler beside its calls: what may be called, and what the pools hold meanwhile."""

from dataclasses import dataclass
from typing import Any

import grpc
import orjson

from pooler.service.load import LoadError, connected
from protos.penstock.v1 import admin_pb2, admin_pb2_grpc, pooler_pb2, pooler_pb2_grpc

ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Offered:
    """An operation that may be called. `schema`: of its arguments."""

    name: str
    reads: bool
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PoolState:
    """A backend's connections and queue, as its pool counts them."""

    backend: str
    cap: int
    starting: int
    idle: int
    in_use: int
    ending: int
    queued: int
    calls_total: int


class Watch:
    """A connection of its own, so that what is asked does not wait behind the calls. All raise LoadError."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None

    async def open(self) -> None:
        """Connects."""
        self._channel = await connected(self._address)

    async def close(self) -> None:
        """Ends the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def catalogue(self) -> list[Offered]:
        """What may be called, by name."""
        stub = pooler_pb2_grpc.PoolerServiceStub(self._connected)
        try:
            found = await stub.GetCatalogue(pooler_pb2.GetCatalogueRequest(), timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise self._unanswered(error) from error
        return [
            Offered(each.name, each.effect == pooler_pb2.EFFECT_READ, orjson.loads(each.input_schema or b"{}"))
            for each in found.operations
        ]

    async def pools(self) -> list[PoolState]:
        """Every backend's pool now."""
        stub = admin_pb2_grpc.AdminServiceStub(self._connected)
        try:
            reply = await stub.ListBackends(admin_pb2.ListBackendsRequest(), timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise self._unanswered(error) from error
        return [_state(backend) for backend in reply.backends]

    @property
    def _connected(self) -> grpc.aio.Channel:
        assert self._channel is not None, "not open"
        return self._channel

    def _unanswered(self, error: grpc.aio.AioRpcError) -> LoadError:
        return LoadError(f"the pooler at {self._address} does not say what it has: {error.code().name}")


def _state(backend: admin_pb2.Backend) -> PoolState:
    return PoolState(
        backend=backend.name,
        cap=backend.cap,
        starting=backend.starting + backend.validating,
        idle=backend.idle,
        in_use=backend.in_use,
        ending=backend.draining + backend.resetting + backend.closing,
        queued=backend.queued,
        calls_total=backend.calls_total,
    )
