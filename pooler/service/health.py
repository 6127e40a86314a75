"""grpc.health.v1: one service name for each backend, and the empty name for the pooler itself."""

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """What health checks are answered. A backend's state never changes the pooler's own."""

    def __init__(self) -> None:
        self.servicer = aio.HealthServicer()

    async def pooler(self, serving: bool) -> None:
        """The pooler takes calls, or no longer does."""
        await self.servicer.set("", SERVING if serving else NOT_SERVING)

    async def backend(self, name: str, serving: bool) -> None:
        """Calls to this backend can be served, or cannot."""
        await self.servicer.set(name, SERVING if serving else NOT_SERVING)

    async def forget(self, name: str) -> None:
        """The configuration no longer has this backend."""
        await self.servicer.set(name, UNKNOWN)
