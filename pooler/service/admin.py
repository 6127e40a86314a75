"""AdminService: what the pools themselves count, and the orders of a DBA.

It answers from memory, so a saturated pool delays nothing. It decides nothing: what an order does stands in
`runtime/orders` and in the pool's own rules.
"""

# ruff: noqa: N802 - the methods have the wire's names

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, TypeVar

import grpc

from pooler.config.changes import Changes
from pooler.config.faults import nearest
from pooler.errors import Fault, Reason
from pooler.runtime.driver import Driver
from pooler.runtime.orders import Orders
from pooler.service import admin_views as views
from pooler.service import faults
from protos.penstock.v1 import admin_pb2 as pb
from protos.penstock.v1 import admin_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

NAME_TOLD = 200
"""How much of a name that nobody knows is repeated, in characters."""


Method = Callable[["AdminServicer", RequestT, Context], Coroutine[Any, Any, ReplyT]]


def _told(method: Method[RequestT, ReplyT]) -> Method[RequestT, ReplyT]:
    """Has a method's Fault told to its caller as the status that it stands for."""

    @wraps(method)
    async def answer(self: "AdminServicer", request: RequestT, context: Context) -> ReplyT:
        try:
            return await method(self, request, context)
        except Fault as fault:
            await faults.abort(context, fault)

    return answer


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Reads the drivers that it was given; the mapping is the app's own, so a reload shows."""

    def __init__(self, drivers: Mapping[str, Driver], pooler: str, reload: Callable[[], Awaitable[Changes]]) -> None:
        """`pooler`: what it calls itself in tags. `reload` takes the configuration on again, or raises Fault."""
        self._drivers = drivers
        self._pooler = pooler
        self._reload = reload

    # What can be seen

    @_told
    async def ListBackends(self, request: pb.ListBackendsRequest, context: Context) -> pb.ListBackendsReply:
        return pb.ListBackendsReply(backends=[views.backend(self._drivers[name]) for name in sorted(self._drivers)])

    @_told
    async def ListConnections(self, request: pb.ListConnectionsRequest, context: Context) -> pb.ListConnectionsReply:
        return views.connections(self._driver(request.backend), self._pooler)

    @_told
    async def ListWaiting(self, request: pb.ListWaitingRequest, context: Context) -> pb.ListWaitingReply:
        return views.waiting(self._driver(request.backend), request.limit)

    # Orders

    @_told
    async def SetCap(self, request: pb.SetCapRequest, context: Context) -> pb.SetCapReply:
        driver = self._driver(request.backend)
        before = Orders(driver).set_cap(request.cap)
        return pb.SetCapReply(backend=views.backend(driver), cap_before=before)

    @_told
    async def Pause(self, request: pb.PauseRequest, context: Context) -> pb.PauseReply:
        driver = self._driver(request.backend)
        Orders(driver).pause()
        return pb.PauseReply(backend=views.backend(driver))

    @_told
    async def Resume(self, request: pb.ResumeRequest, context: Context) -> pb.ResumeReply:
        driver = self._driver(request.backend)
        Orders(driver).resume()
        return pb.ResumeReply(backend=views.backend(driver))

    @_told
    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainReply:
        driver = self._driver(request.backend)
        Orders(driver).drain()
        return pb.DrainReply(backend=views.backend(driver))

    @_told
    async def KillConnection(self, request: pb.KillConnectionRequest, context: Context) -> pb.KillConnectionReply:
        driver = self._driver(request.backend)
        Orders(driver).kill_connection(request.number)
        return pb.KillConnectionReply(backend=views.backend(driver))

    @_told
    async def KillCall(self, request: pb.KillCallRequest, context: Context) -> pb.KillCallReply:
        driver = self._driver(request.backend)
        killed = Orders(driver).kill_call(request.request_id, request.tenant)
        return pb.KillCallReply(backend=views.backend(driver), killed=killed)

    @_told
    async def Retire(self, request: pb.RetireRequest, context: Context) -> pb.RetireReply:
        driver = self._driver(request.backend)
        Orders(driver).retire()
        return pb.RetireReply(backend=views.backend(driver))

    @_told
    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadReply:
        return views.reloaded(await self._reload())

    def _driver(self, name: str) -> Driver:
        if (driver := self._drivers.get(name)) is not None:
            return driver
        told = name[:NAME_TOLD]
        raise Fault(Reason.BACKEND_NOT_FOUND, f"There is no backend {told!r}; {nearest(told, self._drivers)}")
