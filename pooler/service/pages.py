"""FetchPage: a page for whoever has nothing but its cursor. Everybody else calls again, with the cursor among the rest.

It keeps no state, and knows nothing of where pages come from.
"""

from abc import abstractmethod
from typing import Any

import grpc
import orjson

from pooler.core.cursors import Keyed, Spooled
from pooler.errors import Fault, Reason
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.results import CURSOR
from pooler.service import convert, faults
from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class PagesMixin(pooler_pb2_grpc.PoolerServiceServicer):
    """The pages' part of the data plane."""

    _dispatcher: Dispatcher

    async def FetchPage(  # noqa: N802 - the wire's name
        self, request: pb.FetchPageRequest, context: Context
    ) -> pb.CallReply:
        try:
            asked = convert.request(pb.CallRequest(context=request.context), context.time_remaining())
            cursor = self._dispatcher.kept.open(request.cursor, asked.tenant, asked.principal)
            if isinstance(cursor, Spooled):
                outcome = await self._dispatcher.fetch(cursor, asked.timeout_seconds)
                return convert.reply(outcome.result, outcome.timing)
            call = _again(cursor, request)
        except Fault as fault:
            await faults.abort(context, fault)
        return await self.Call(call, context)

    @abstractmethod
    async def Call(self, request: pb.CallRequest, context: Context) -> pb.CallReply: ...  # noqa: N802 - the wire's name


def _again(cursor: Keyed, request: pb.FetchPageRequest) -> pb.CallRequest:
    """The call that the cursor's page is read by. Raises Fault when its arguments are not known here."""
    if cursor.arguments is None:
        sentence = (
            f"This cursor has no room for its call's arguments: call {cursor.operation} again with them, "
            f"and with the cursor as `{CURSOR}`."
        )
        raise Fault(Reason.INVALID_ARGUMENTS, sentence)
    arguments = orjson.dumps({**cursor.arguments, CURSOR: request.cursor})
    return pb.CallRequest(context=request.context, operation=cursor.operation, arguments=arguments)
