"""PoolerService: takes calls from the wire to the dispatcher, and outcomes back. It keeps no state of a call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from pooler.errors import Fault
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.desks import Desks
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.runs import Runs
from pooler.runtime.turns import Outcome
from pooler.runtime.watches.room import Watches
from pooler.service import convert, faults
from pooler.service.catalogue import Board
from pooler.service.conversations import ConversationsMixin
from pooler.service.exchange import Limits
from pooler.service.exchanges import Exchanges
from pooler.service.grpcio_line import Context as RawContext
from pooler.service.grpcio_line import GrpcioLine
from pooler.service.pages import PagesMixin
from pooler.service.runs import RunsMixin
from pooler.service.sessions import SessionsMixin
from pooler.service.watch import WatchMixin
from protos.penstock.v1 import pooler_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class PoolerServicer(RunsMixin, WatchMixin, ConversationsMixin, PagesMixin, SessionsMixin):
    """The data plane. `boot_id` is this process's random name."""

    def __init__(self, dispatcher: Dispatcher, board: Board, watches: Watches, limits: Limits, boot_id: str) -> None:
        self._dispatcher = dispatcher
        self._board = board
        self.watches = self.watch_room = watches
        self.exchanges = Exchanges(dispatcher, limits, boot_id)

    def join(self, conversations: Conversations, runs: Runs, desks: Desks) -> None:
        """The rooms that are opened with the pooler's name. Before the first call."""
        self.conversations = conversations
        self.runs = runs
        self.desks = desks

    async def Call(self, request: pb.CallRequest, context: Context) -> pb.CallReply:  # noqa: N802 - the wire's name
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def deliver(result: Outcome) -> None:
            if not outcome.done():
                outcome.set_result(result)

        try:
            call = self.exchanges.send(request, deliver, context.time_remaining())
        except Fault as fault:
            await faults.abort(context, fault)
        try:
            ended = await outcome
        except asyncio.CancelledError:
            call.leave()
            raise
        if isinstance(ended.result, Fault):
            await faults.abort(context, ended.result, ended.timing)
        return convert.reply(ended.result, ended.timing, ended.reuse)

    async def Exchange(  # type: ignore[override]  # noqa: N802 - of serialized messages, as `server` registers it
        self, request_iterator: AsyncIterator[bytes], context: RawContext
    ) -> None:
        line = GrpcioLine(context)
        exchange = self.exchanges.open(line)
        try:
            await line.carry(exchange)
        except Fault as fault:
            await faults.abort(context, fault)
        finally:
            exchange.close()

    async def GetCatalogue(  # noqa: N802 - the wire's name
        self, request: pb.GetCatalogueRequest, context: Context
    ) -> pb.Catalogue:
        return self._board.current

    async def WatchCatalogue(  # noqa: N802 - the wire's name
        self, request: pb.WatchCatalogueRequest, context: Context
    ) -> AsyncIterator[pb.Catalogue]:
        async for catalogue in self._board.follow(request.revision):
            yield catalogue

    def go_away(self) -> None:
        """Tells every exchange to open no further call here."""
        self.exchanges.go_away()
