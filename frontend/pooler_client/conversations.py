"""Conversations: the state of clients of the 2025-11-25 era, all of which lives behind the pooler.

Every question may be asked twice, so all of them are repeated over a broken way. What is followed is taken up again
where it broke off. Close what `follow` returns (`contextlib.aclosing`).
"""

from collections.abc import AsyncGenerator

from grpc.aio import UnaryStreamCall

from frontend.auth import Caller
from frontend.errors import way_interrupted
from frontend.events import (
    Answer,
    Cancel,
    Conversation,
    Delivery,
    Done,
    LogLevel,
    ResourceChanged,
    RunEvent,
    Subscribe,
    Unsubscribe,
)
from frontend.pooler_client.calls import Interrupted
from frontend.pooler_client.convert import context_of, watched
from frontend.pooler_client.convert_runs import event_of
from frontend.pooler_client.trail import Trail
from frontend.pooler_client.way import Way
from protos.penstock.v1 import pooler_pb2 as pb


class Conversations:
    """All raise PoolerError: HANDLE_UNKNOWN, HANDLE_EXPIRED or HANDLE_LOST for a conversation that is none any more."""

    def __init__(self, way: Way) -> None:
        self._way = way

    async def open(self, caller: Caller, note: bytes = b"", client_capabilities: bytes = b"") -> Conversation:
        """Begins one. Asked again over a broken way it may begin two, of which the first idles out.

        `client_capabilities`: what its client can do, as MCP's `clientCapabilities` in JSON.
        """
        request = pb.OpenConversationRequest(context=context_of(caller), note=note)
        request.context.client_capabilities = client_capabilities
        return _conversation(await self._way.ask(self._way.stub.OpenConversation, request))

    async def get(self, caller: Caller, conversation: str) -> Conversation:
        """As it stands; keeps it from idling out."""
        request = pb.GetConversationRequest(context=context_of(caller), conversation=conversation)
        return _conversation(await self._way.ask(self._way.stub.GetConversation, request))

    async def close(self, caller: Caller, conversation: str) -> None:
        """Ends it, and with it its runs and sessions."""
        request = pb.CloseConversationRequest(context=context_of(caller), conversation=conversation)
        await self._way.ask(self._way.stub.CloseConversation, request)

    async def deliver(self, caller: Caller, conversation: str, what: Delivery) -> None:
        """Passes on what its client has said that is no request."""
        request = _deliver(what)
        request.context.CopyFrom(context_of(caller))
        request.conversation = conversation
        await self._way.ask(self._way.stub.Deliver, request)

    async def follow(
        self, caller: Caller, conversation: str, after: str = ""
    ) -> AsyncGenerator[RunEvent | ResourceChanged, None]:
        """What the client is to hear. `after`: `RUN.SEQ` for the later events of one run, to its Done.

        Empty: what belongs to no run, until the conversation ends.
        """
        position = _Position(after)

        def reopen() -> "UnaryStreamCall[pb.FollowConversationRequest, pb.ConversationEvent]":
            return self._way.stub.FollowConversation(
                pb.FollowConversationRequest(
                    context=context_of(caller), conversation=conversation, after=position.after
                )
            )

        trail = Trail(self._way, reopen)
        try:
            while not position.done:
                message = await trail.next()
                if message is None:
                    # Without a run, the end is the conversation's own.
                    if not position.run:
                        return
                    await trail.mend("the events ended before the run did")
                elif (event := position.take(message)) is not None:
                    yield event
        except Interrupted:
            raise way_interrupted() from None
        finally:
            trail.close()


class _Position:
    """How far a conversation has been followed."""

    def __init__(self, after: str) -> None:
        self.run, _, seq = after.partition(".")
        self._seq = int(seq) if seq.isdecimal() else 0
        self.done = False

    @property
    def after(self) -> str:
        return f"{self.run}.{self._seq}" if self.run else ""

    def take(self, message: pb.ConversationEvent) -> RunEvent | ResourceChanged | None:
        """None for what has been taken already, and for what this program does not know."""
        if message.HasField("resource"):
            return ResourceChanged(message.resource.uri)
        event = event_of(message.run) if message.HasField("run") else None
        if event is None or event.seq <= self._seq:
            return None
        self._seq = event.seq
        self.done = isinstance(event.what, Done)
        return event


def _conversation(message: pb.Conversation) -> Conversation:
    return Conversation(message.conversation, message.note, message.log_level, message.idle_ms)


def _deliver(what: Delivery) -> pb.DeliverRequest:
    match what:
        case Answer(run, key, result):
            return pb.DeliverRequest(answer=pb.DeliverAnswer(run=run, key=key, result=result))
        case Cancel(request_key):
            return pb.DeliverRequest(cancel=pb.DeliverCancel(request_key=request_key))
        case LogLevel(level):
            return pb.DeliverRequest(log_level=pb.DeliverLogLevel(level=level))
        case Subscribe(target):
            return pb.DeliverRequest(subscribe=pb.DeliverSubscription(target=watched(target)))
        case Unsubscribe(target):
            return pb.DeliverRequest(unsubscribe=pb.DeliverSubscription(target=watched(target)))
