"""AdminService: what the pools themselves count, for a DBA. Answers from memory, so a saturated pool delays nothing."""

from collections.abc import Mapping
from typing import Any

import grpc

from pooler.clock import monotonic
from pooler.core.states import ConnectionState
from pooler.runtime.driver import Driver
from protos.penstock.v1 import admin_pb2, admin_pb2_grpc


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Reads the drivers that it was given; the mapping is the app's own, so a reload shows."""

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self._drivers = drivers

    async def ListBackends(  # noqa: N802 - the wire's name
        self, request: admin_pb2.ListBackendsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> admin_pb2.ListBackendsReply:
        now = monotonic()
        backends = [_backend(self._drivers[name], now) for name in sorted(self._drivers)]
        return admin_pb2.ListBackendsReply(backends=backends)


def _backend(driver: Driver, now: float) -> admin_pb2.Backend:
    pool, rules = driver.pool, driver.pool.rules
    oldest = pool.queue.oldest()
    states = {state.value: pool.count(state) for state in ConnectionState if state is not ConnectionState.GONE}
    return admin_pb2.Backend(
        name=driver.name,
        kind=driver.kit.kind,
        cap=rules.cap,
        reserve=rules.reserve,
        queued=len(pool.queue),
        queue_max=rules.queue_max,
        oldest_wait_ms=round((now - oldest.asked_at) * 1000) if oldest else 0,
        serving=pool.serving,
        failure="" if pool.serving else pool.starts.words,
        calls_total=driver.calls_total,
        starts_total=pool.starts.total,
        start_failures_total=pool.starts.failed_total,
        start_ms=round(pool.starts.took.seconds * 1000),
        **states,
    )
