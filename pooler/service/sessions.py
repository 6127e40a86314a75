"""OpenSession and CloseSession: the operations that a backend with sessions has, for callers who are no MCP clients.

The same calls by other names, so there is one way to begin and to end a session. It keeps nothing of one.
"""

from abc import abstractmethod
from typing import Any

import grpc
import orjson

from pooler.backends.base import Caller
from pooler.errors import Fault
from pooler.runtime.desks import ARGUMENT, Desks
from pooler.service import convert, faults
from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class SessionsMixin(pooler_pb2_grpc.PoolerServiceServicer):
    """The sessions' part of the data plane."""

    desks: Desks

    async def OpenSession(  # noqa: N802 - the wire's name
        self, request: pb.OpenSessionRequest, context: Context
    ) -> pb.OpenSessionReply:
        try:
            operation = self.desks.tools(request.backend).begin
        except Fault as fault:
            await faults.abort(context, fault)
        reply = await self.Call(pb.CallRequest(context=request.context, operation=operation), context)
        told = orjson.loads(reply.result)
        return pb.OpenSessionReply(
            session=told["session"],
            idle_ms=round(told["idle_seconds"] * 1000),
            lifetime_ms=round(told["lifetime_seconds"] * 1000),
            timing=reply.timing,
        )

    async def CloseSession(  # noqa: N802 - the wire's name
        self, request: pb.CloseSessionRequest, context: Context
    ) -> pb.CloseSessionReply:
        try:
            session = self.desks.find(request.session, Caller(*convert.caller(request.context), request_id=""))
            tools = self.desks.tools(session.driver.name)
        except Fault as fault:
            await faults.abort(context, fault)
        operation = tools.commit if request.commit else tools.rollback
        arguments = orjson.dumps({ARGUMENT: request.session})
        call = pb.CallRequest(context=request.context, operation=operation, arguments=arguments)
        return pb.CloseSessionReply(timing=(await self.Call(call, context)).timing)

    @abstractmethod
    async def Call(self, request: pb.CallRequest, context: Context) -> pb.CallReply: ...  # noqa: N802 - the wire's name
