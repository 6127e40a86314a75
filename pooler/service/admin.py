"""AdminService: what the pools themselves count, and the orders of a DBA.

It answers from memory, so a saturated pool delays nothing. It decides nothing: what an order does stands in
`runtime/orders` and in the pool's own rules, who may give one in `gate`, and what was ordered in `runtime/record`.
"""

# ruff: noqa: N802 - the methods have the wire's names

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import Any, TypeVar

import grpc

from pooler.config.changes import Changes
from pooler.errors import Fault
from pooler.runtime.driver import Driver
from pooler.runtime.orders import Orders
from pooler.runtime.record import Actor, Record
from pooler.runtime.reuse.room import Answers
from pooler.service import admin_views as views
from pooler.service import faults
from pooler.service.gate import Gate
from pooler.service.snapshots import ENTRIES_MAX, Selection, Snapshots, entries
from protos.penstock.v1 import admin_pb2 as pb
from protos.penstock.v1 import admin_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

Seeing = Callable[["AdminServicer", RequestT], ReplyT]
Ordering = Callable[["AdminServicer", RequestT, Actor], Awaitable[ReplyT]]
Method = Callable[["AdminServicer", RequestT, Context], Coroutine[Any, Any, ReplyT]]


def _seen(view: Seeing[RequestT, ReplyT]) -> Method[RequestT, ReplyT]:
    """A method that shows something to whoever may look. A Fault is told as the status that it stands for."""

    @wraps(view)
    async def answer(self: "AdminServicer", request: RequestT, context: Context) -> ReplyT:
        try:
            self.gate.admit(context, order=False)
            return view(self, request)
        except Fault as fault:
            await faults.abort(context, fault)

    return answer


def _ordered(order: Ordering[RequestT, ReplyT]) -> Method[RequestT, ReplyT]:
    """A method that changes something, for whoever may order."""

    @wraps(order)
    async def answer(self: "AdminServicer", request: RequestT, context: Context) -> ReplyT:
        try:
            return await order(self, request, self.gate.admit(context, order=True))
        except Fault as fault:
            await faults.abort(context, fault)

    return answer


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """`reload` takes the configuration on again, for somebody, or raises Fault."""

    def __init__(
        self,
        snapshots: Snapshots,
        answers: Answers,
        gate: Gate,
        record: Record,
        reload: Callable[[Actor], Awaitable[Changes]],
    ) -> None:
        self.gate = gate
        self._snapshots = snapshots
        self._answers = answers
        self._record = record
        self._reload = reload

    # What can be seen

    @_seen
    def GetSnapshot(self, request: pb.GetSnapshotRequest) -> pb.Snapshot:
        return self._snapshots.take(Selection.of(request))

    async def WatchSnapshots(self, request: pb.WatchSnapshotsRequest, context: Context) -> AsyncIterator[pb.Snapshot]:
        try:
            self.gate.admit(context, order=False)
            async for snapshot in self._snapshots.follow(Selection.of(request), request.interval_ms):
                yield snapshot
        except Fault as fault:
            await faults.abort(context, fault)

    @_seen
    def ListChanges(self, request: pb.ListChangesRequest) -> pb.ListChangesReply:
        backends = frozenset({request.backend}) if request.backend else frozenset()
        found, total = self._record.latest(entries(request.limit), backends)
        return pb.ListChangesReply(changes=map(views.change, found), total=total)

    @_seen
    def ListBackends(self, request: pb.ListBackendsRequest) -> pb.ListBackendsReply:
        snapshot = self._snapshots.take(Selection(frozenset(), frozenset(), 0))
        return pb.ListBackendsReply(backends=[each.backend for each in snapshot.backends])

    @_seen
    def ListConnections(self, request: pb.ListConnectionsRequest) -> pb.ListConnectionsReply:
        shown = self._of(request.backend, pb.SNAPSHOT_PART_CONNECTIONS, request.limit or ENTRIES_MAX)
        connections = sorted(shown.connections, key=lambda each: each.number)
        return pb.ListConnectionsReply(connections=connections, total=shown.connections_total)

    @_seen
    def ListWaiting(self, request: pb.ListWaitingRequest) -> pb.ListWaitingReply:
        shown = self._of(request.backend, pb.SNAPSHOT_PART_QUEUE, request.limit)
        return pb.ListWaitingReply(calls=shown.waiting, waiting=shown.waiting_total)

    # Orders

    @_ordered
    async def SetCap(self, request: pb.SetCapRequest, actor: Actor) -> pb.SetCapReply:
        driver = self._driver(request.backend)
        before = self._orders(driver, actor).set_cap(request.cap)
        return pb.SetCapReply(backend=views.backend(driver), cap_before=before)

    @_ordered
    async def Pause(self, request: pb.PauseRequest, actor: Actor) -> pb.PauseReply:
        driver = self._driver(request.backend)
        self._orders(driver, actor).pause()
        return pb.PauseReply(backend=views.backend(driver))

    @_ordered
    async def Resume(self, request: pb.ResumeRequest, actor: Actor) -> pb.ResumeReply:
        driver = self._driver(request.backend)
        self._orders(driver, actor).resume()
        return pb.ResumeReply(backend=views.backend(driver))

    @_ordered
    async def Drain(self, request: pb.DrainRequest, actor: Actor) -> pb.DrainReply:
        driver = self._driver(request.backend)
        self._orders(driver, actor).drain()
        return pb.DrainReply(backend=views.backend(driver))

    @_ordered
    async def KillConnection(self, request: pb.KillConnectionRequest, actor: Actor) -> pb.KillConnectionReply:
        driver = self._driver(request.backend)
        self._orders(driver, actor).kill_connection(request.number)
        return pb.KillConnectionReply(backend=views.backend(driver))

    @_ordered
    async def KillCall(self, request: pb.KillCallRequest, actor: Actor) -> pb.KillCallReply:
        driver = self._driver(request.backend)
        killed = self._orders(driver, actor).kill_call(request.request_id, request.tenant)
        return pb.KillCallReply(backend=views.backend(driver), killed=killed)

    @_ordered
    async def Retire(self, request: pb.RetireRequest, actor: Actor) -> pb.RetireReply:
        driver = self._driver(request.backend)
        self._orders(driver, actor).retire()
        self._answers.distrust(driver.name, "order")
        return pb.RetireReply(backend=views.backend(driver))

    @_ordered
    async def Invalidate(self, request: pb.InvalidateRequest, actor: Actor) -> pb.InvalidateReply:
        count, change = self._answers.order(request.tags, request.operation, request.everything)
        self._record.note(actor, change)
        return pb.InvalidateReply(answers=count)

    @_ordered
    async def Reload(self, request: pb.ReloadRequest, actor: Actor) -> pb.ReloadReply:
        return views.reloaded(await self._reload(actor))

    def _driver(self, name: str) -> Driver:
        return self._snapshots.driver(name)

    def _orders(self, driver: Driver, actor: Actor) -> Orders:
        return Orders(driver, partial(self._record.note, actor))

    def _of(self, backend: str, part: pb.SnapshotPart.ValueType, limit: int) -> pb.BackendSnapshot:
        self._driver(backend)  # an empty name means none here, and all of them there
        (shown,) = self._snapshots.take(Selection(frozenset({part}), frozenset({backend}), entries(limit))).backends
        return shown
