"""OpenConversation, GetConversation, CloseConversation, FollowConversation and Deliver: conversations on the wire.

It keeps nothing of a conversation. A stream that ends, however it ends, is said at once by the call's own callback and
not when the generator is collected, since nobody may listen in its place and a run may have to be cancelled.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import orjson

from pooler.errors import Fault, Reason
from pooler.runtime.conversations.conversation import Conversation
from pooler.runtime.conversations.hearing import Watches
from pooler.runtime.conversations.record import Target
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.handles import unknown
from pooler.runtime.runs import Runs
from pooler.service import convert, convert_runs, faults
from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

NO_ANSWER = {"action": "cancel"}
"""What stands for the answer of a client that answered with an error."""

_POSITION = re.compile(r"([A-Za-z0-9]{1,64})\.([0-9]{1,18})")


class ConversationsMixin(pooler_pb2_grpc.PoolerServiceServicer):
    """The conversations' part of the data plane."""

    conversations: Conversations
    runs: Runs
    watches: Watches

    async def OpenConversation(  # noqa: N802 - the wire's name
        self, request: pb.OpenConversationRequest, context: Context
    ) -> pb.Conversation:
        try:
            tenant, principal = convert.caller(request.context)
            capabilities = request.context.client_capabilities
            conversation = await self.conversations.open(tenant, principal, capabilities, request.note)
        except Fault as fault:
            await faults.abort(context, fault)
        return self._shown(conversation, self.conversations.handle(conversation), request.note)

    async def GetConversation(  # noqa: N802 - the wire's name
        self, request: pb.GetConversationRequest, context: Context
    ) -> pb.Conversation:
        conversation = await self._found(request.context, request.conversation, context)
        try:
            note = await self.conversations.note(conversation)
        except Fault as fault:
            await faults.abort(context, fault)
        return self._shown(conversation, request.conversation, note)

    async def CloseConversation(  # noqa: N802 - the wire's name
        self, request: pb.CloseConversationRequest, context: Context
    ) -> pb.CloseConversationReply:
        await self.conversations.close(await self._found(request.context, request.conversation, context))
        return pb.CloseConversationReply()

    async def FollowConversation(  # noqa: N802 - the wire's name
        self, request: pb.FollowConversationRequest, context: Context
    ) -> AsyncIterator[pb.ConversationEvent]:
        conversation = await self._found(request.context, request.conversation, context)
        if request.after:
            async for event in self._run_after(conversation, request.after, context):
                yield event
            return
        hearing = self.conversations.listen(conversation, self.watches)
        _when_over(context, hearing.end)
        try:
            async for uri in hearing:
                yield pb.ConversationEvent(resource=pb.ResourceChanged(uri=uri))
        finally:
            hearing.end()

    async def Deliver(  # noqa: N802 - the wire's name
        self, request: pb.DeliverRequest, context: Context
    ) -> pb.DeliverReply:
        conversation = await self._found(request.context, request.conversation, context)
        try:
            await self._deliver(conversation, request)
        except Fault as fault:
            await faults.abort(context, fault)
        return pb.DeliverReply()

    async def _deliver(self, conversation: Conversation, request: pb.DeliverRequest) -> None:
        match request.WhichOneof("what"):
            case "answer":
                answer = request.answer
                await self.runs.answer(conversation.run(answer.run).id, _response(answer.key, answer.result))
            case "cancel":
                # One that has ended, or never was: a cancel may always come too late.
                if run := conversation.requests.get(request.cancel.request_key):
                    await self.runs.cancel(run.id)
            case "log_level":
                await self.conversations.set_log_level(conversation, request.log_level.level)
            case "subscribe":
                await self.conversations.subscribe(conversation, _target(request.subscribe.target), self.watches)
            case "unsubscribe":
                await self.conversations.unsubscribe(conversation, request.unsubscribe.target.uri)
            case _:
                raise Fault(Reason.INVALID_ARGUMENTS, "Nothing that this pooler knows is delivered.")

    async def _run_after(
        self, conversation: Conversation, after: str, context: Context
    ) -> AsyncIterator[pb.ConversationEvent]:
        try:
            position = _POSITION.fullmatch(after) or unknown("run")
            run = await self.runs.find(conversation.run(position[1]).id)
        except Fault as fault:
            await faults.abort(context, fault)
        follower = run.follow(int(position[2]))
        _when_over(context, follower.leave)
        try:
            async for event in follower:
                yield pb.ConversationEvent(run=convert_runs.event(event))
        finally:
            follower.leave()

    async def _found(self, caller: pb.CallContext, handle: str, context: Context) -> Conversation:
        """The conversation of a handle, if it is this caller's and still open; else the call ends with the reason."""
        try:
            return self.conversations.check(handle, *convert.caller(caller))
        except Fault as fault:
            await faults.abort(context, fault)

    def _shown(self, conversation: Conversation, handle: str, note: bytes) -> pb.Conversation:
        idle_ms = round(self.conversations.limits.idle_seconds * 1000)
        record = conversation.record
        return pb.Conversation(conversation=handle, note=note, log_level=record.log_level, idle_ms=idle_ms)


def _when_over(context: Context, leave: Callable[[], None]) -> None:
    context.add_done_callback(lambda _: leave())  # type: ignore[arg-type]  # the stubs want a class of theirs


def _response(key: str, result: bytes) -> bytes:
    """MCP's `inputResponses` with one answer. Raises Fault when it is no JSON."""
    try:
        return orjson.dumps({key: orjson.loads(result) if result else NO_ANSWER})
    except ValueError as error:
        raise Fault(Reason.INVALID_ARGUMENTS, f"The answer to {key!r} is no JSON: {error}") from None


def _target(target: pb.Watched) -> Target:
    return Target(target.uri, target.operation, target.arguments)
