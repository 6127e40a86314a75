"""Watch: tells a caller of changes until he leaves. It keeps nothing, and does not know how a change is found out."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from pooler.backends.base import Caller
from pooler.errors import Fault
from pooler.runtime.conversations.record import Target
from pooler.runtime.watches.room import Watches
from pooler.service import convert, faults
from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

EFFECT_SECONDS = 5.0
"""How long a watch may take to be in effect before its caller hears that it has begun all the same."""


class WatchMixin(pooler_pb2_grpc.PoolerServiceServicer):
    """The watches' part of the data plane."""

    watch_room: Watches

    async def Watch(  # noqa: N802 - the wire's name
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchEvent]:
        try:
            tenant, principal = convert.caller(request.context)
            targets = [Target(each.uri, each.operation, each.arguments).check() for each in request.targets]
            watch = self.watch_room.open(targets, Caller(tenant, principal, request.context.request_id))
        except Fault as fault:
            await faults.abort(context, fault)
        # Also when it ends while nobody is in the generator, which may then be collected late.
        context.add_done_callback(lambda _: watch.close())  # type: ignore[arg-type]  # the stubs want a class of theirs
        await watch.in_effect(EFFECT_SECONDS)
        await context.send_initial_metadata(())
        async for uri in watch:
            yield pb.WatchEvent(uri=uri)
