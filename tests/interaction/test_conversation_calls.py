"""Conversations over a real channel: whose they are, what belongs to them, what ends with them, and what is heard."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import orjson
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction import wire
from tests.interaction.line import SIMULATED, Line, eventually

pytestmark = pytest.mark.anyio

MINUTE_MS = 60_000
TEXT = {"type": "string"}
CAPABILITIES = b'{"elicitation": {}}'
CONFIG: dict[str, Any] = {
    **SIMULATED,
    "operations": {
        **SIMULATED["operations"],
        "pages": {**SIMULATED["operations"]["rows"], "page_rows": 2, "paged": True},
        "changing": {
            "backend": "sim",
            "method": "count",
            "arguments": {"value": TEXT},
            "effect": "read",
            "resource": "sim://{value}",
            "watch": {"every_seconds": 0.1},
        },
        "put": {"backend": "sim", "method": "put", "arguments": {"value": TEXT}, "effect": "write"},
        "ask": {"backend": "sim", "method": "ask", "arguments": {"question": TEXT}, "effect": "read"},
    },
}
LASTING = {**CONFIG, "pooler": {"store": "sqlite"}}


@pytest.fixture
async def pooler(bare_line: Line) -> Line:
    await bare_line.start_pooler(CONFIG)
    return bare_line


def context(conversation: str = "", principal: str = "ann", capabilities: bytes = b"") -> pb.CallContext:
    return pb.CallContext(
        tenant="shop",
        principal=principal,
        timeout_ms=MINUTE_MS,
        conversation=conversation,
        client_capabilities=capabilities,
    )


async def refusal(work: Awaitable[Any]) -> str:
    """How it fails: its status, its reason and its sentence."""
    async with asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return f"{caught.value.code().name} {info.reason}: {status.message}"


class Talker:
    """A client of one conversation."""

    def __init__(self, stub: Any, conversation: pb.Conversation) -> None:
        self.stub = stub
        self.handle = conversation.conversation

    def request(self, operation: str, **arguments: Any) -> pb.CallRequest:
        return pb.CallRequest(context=context(self.handle), operation=operation, arguments=orjson.dumps(arguments))

    def run(self, operation: str, key: str = "", grace_ms: int = MINUTE_MS, **arguments: Any) -> Any:
        """Begins a run, as the stream of its events."""
        call = self.request(operation, **arguments)
        return self.stub.Run(pb.RunRequest(call=call, detach_grace_ms=grace_ms, await_input=True, request_key=key))

    def follow(self, after: str = "") -> Any:
        return self.stub.FollowConversation(
            pb.FollowConversationRequest(context=context(), conversation=self.handle, after=after)
        )

    async def deliver(self, **what: Any) -> None:
        await self.stub.Deliver(pb.DeliverRequest(context=context(), conversation=self.handle, **what))

    async def get(self) -> pb.Conversation:
        reply: pb.Conversation = await self.stub.GetConversation(
            pb.GetConversationRequest(context=context(), conversation=self.handle)
        )
        return reply

    async def close(self) -> None:
        await self.stub.CloseConversation(pb.CloseConversationRequest(context=context(), conversation=self.handle))


@asynccontextmanager
async def talking(pooler: Line, note: bytes = b"") -> AsyncIterator[Talker]:
    """A client that has opened a conversation."""
    async with wire.stub(pooler.pooler.address) as stub, asyncio.timeout(30):
        opening = pb.OpenConversationRequest(context=context(capabilities=CAPABILITIES), note=note)
        yield Talker(stub, await stub.OpenConversation(opening))


async def until(events: Any, kind: str) -> list[pb.RunEvent]:
    """The events up to the first of a kind."""
    heard = []
    async for event in events:
        heard.append(event.run if isinstance(event, pb.ConversationEvent) else event)
        if heard[-1].WhichOneof("event") == kind:
            return heard
    raise AssertionError(f"no {kind} among {heard}")


def kinds(events: list[pb.RunEvent]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events]


async def test_a_conversation_is_opened_read_changed_and_closed(pooler: Line) -> None:
    async with talking(pooler, b"\x00the client's own") as ann:
        opened = await ann.get()
        await ann.deliver(log_level=pb.DeliverLogLevel(level="warning"))
        changed = await ann.get()
        await ann.close()
        ended = await refusal(ann.get())

    assert (opened.conversation, opened.note, opened.log_level) == (ann.handle, b"\x00the client's own", "")
    assert (changed.note, changed.log_level, changed.idle_ms) == (b"\x00the client's own", "warning", 1_800_000)
    assert ended.startswith("NOT_FOUND HANDLE_EXPIRED: This conversation is over")


async def test_nobody_else_can_use_a_conversation_or_learns_that_it_exists(pooler: Line) -> None:
    async with talking(pooler) as ann:
        bob = context(principal="bob")
        theirs = await refusal(
            ann.stub.GetConversation(pb.GetConversationRequest(context=bob, conversation=ann.handle))
        )
        closing = await refusal(
            ann.stub.CloseConversation(pb.CloseConversationRequest(context=bob, conversation=ann.handle))
        )
        garbage = await refusal(
            ann.stub.GetConversation(pb.GetConversationRequest(context=bob, conversation="garbage"))
        )
        await ann.get()

    assert theirs == closing == garbage
    assert theirs.startswith("NOT_FOUND HANDLE_UNKNOWN: There is no such conversation")


async def test_calls_by_every_way_belong_to_a_conversation_until_it_ends(pooler: Line) -> None:
    async with talking(pooler) as ann:
        call = ann.request("echo", value="x")
        assert (await ann.stub.Call(call)).result == b'{"result":"x"}'
        await until(ann.run("echo", value="x"), "done")
        await ann.close()

        refused = [await refusal(ann.stub.Call(call)), await refusal(until(ann.run("echo", value="x"), "done"))]
        async with wire.stream(pooler.pooler.address) as stream:
            await stream.send(pb.ClientFrame(call=pb.ExchangeCall(id=1, request=call)))
            head = await stream.head()

    assert [text.partition(":")[0] for text in refused] == ["NOT_FOUND HANDLE_EXPIRED"] * 2
    assert head.error.reason == pb.REASON_HANDLE_EXPIRED


async def test_a_conversation_knows_what_its_client_can_be_asked(pooler: Line) -> None:
    async with talking(pooler) as ann:
        asked = await ann.stub.Call(ann.request("ask", question="Sure?"))
        outside = ann.request("ask", question="Sure?")
        outside.context.CopyFrom(context())
        refused = await refusal(ann.stub.Call(outside))

    assert asked.kind == pb.RESULT_KIND_INPUT_REQUIRED
    assert refused.startswith("FAILED_PRECONDITION INPUT_UNAVAILABLE")


async def test_the_events_of_a_run_are_heard_again_from_after_any_of_them(pooler: Line) -> None:
    async with talking(pooler) as ann:
        told = await until(ann.run("echo", value="x"), "done")
        name = told[0].accepted.name
        again = [await until(ann.follow(f"{name}.{event.seq}"), "done") for event in told[:-1]]

    assert name == "r1"
    assert again == [told[number:] for number in range(1, len(told))]


@pytest.mark.parametrize("after", ["r99.1", "garbage", ".", "r1", "r1.x", "r1.99999999999999999999"])
async def test_a_run_that_never_was_cannot_be_followed(pooler: Line, after: str) -> None:
    async with talking(pooler) as ann:
        refused = await refusal(until(ann.follow(after), "done"))

    assert refused.startswith("NOT_FOUND HANDLE_")


async def test_a_run_whose_stream_broke_is_followed_live_to_its_end(pooler: Line) -> None:
    async with talking(pooler) as ann:
        stream = ann.run("work", seconds=0.5)
        heard = await until(stream, "working")
        stream.cancel()
        rest = await until(ann.follow(f"{heard[0].accepted.name}.{heard[-1].seq}"), "done")

    assert [event.seq for event in heard + rest] == list(range(1, len(heard) + len(rest) + 1))
    assert kinds(rest)[-2:] == ["page", "done"]
    assert not rest[-1].done.HasField("error")


async def test_a_cancel_by_the_requests_name_stops_the_work_and_a_late_one_does_nothing(pooler: Line) -> None:
    async with talking(pooler) as ann:
        stream = ann.run("work", key='"seven"', seconds=100)
        await until(stream, "working")
        await ann.deliver(cancel=pb.DeliverCancel(request_key="7"))
        assert pooler.system().counts().busy == 1
        await ann.deliver(cancel=pb.DeliverCancel(request_key='"seven"'))
        (*_, done) = await until(stream, "done")
        await ann.deliver(cancel=pb.DeliverCancel(request_key='"seven"'))
        await eventually(lambda: pooler.system().counts().busy == 0)

    assert done.done.error.reason == pb.REASON_CANCELLED


@pytest.mark.parametrize(
    ("result", "said"),
    [(b'{"action": "accept", "content": {}}', {"action": "accept", "content": {}}), (b"", {"action": "cancel"})],
)
async def test_an_answer_that_comes_by_another_way_continues_the_run(
    pooler: Line, result: bytes, said: dict[str, Any]
) -> None:
    async with talking(pooler) as ann:
        stream = ann.run("ask", question="Sure?")
        asked = await until(stream, "input_required")
        (key,) = orjson.loads(asked[-1].input_required.input_requests)
        await ann.deliver(answer=pb.DeliverAnswer(run=asked[0].accepted.name, key=key, result=result))
        (*_, page, _) = await until(stream, "done")

    assert orjson.loads(page.page.reply.result)["said"] == said


async def test_what_cannot_be_delivered_is_refused(pooler: Line) -> None:
    async with talking(pooler) as ann:
        refused = [
            await refusal(ann.deliver()),
            await refusal(ann.deliver(log_level=pb.DeliverLogLevel(level="loud"))),
            await refusal(ann.deliver(subscribe=pb.DeliverSubscription(target=pb.Watched(uri="x", operation="echo")))),
            await refusal(ann.deliver(answer=pb.DeliverAnswer(run="r1", key="k", result=b"{"))),
            await refusal(ann.deliver(answer=pb.DeliverAnswer(run="r1", key="k", result=b"{}"))),
        ]

    assert [text.partition(":")[0] for text in refused] == ["INVALID_ARGUMENT INVALID_ARGUMENTS"] * 4 + [
        "NOT_FOUND HANDLE_EXPIRED"
    ]


@pytest.mark.promise(20)
async def test_a_conversation_that_is_closed_takes_its_runs_and_handles_along(pooler: Line) -> None:
    async with talking(pooler) as ann:
        done = await until(ann.run("echo", value="x"), "done")
        page = orjson.loads((await ann.stub.Call(ann.request("pages", count=10))).result)
        working = ann.run("work", seconds=100)
        begun = await until(working, "working")
        assert pooler.system().counts().busy == 1

        await ann.close()
        (*_, ended) = await until(working, "done")
        await eventually(lambda: pooler.system().counts().busy == 0)
        runs = [events[0].accepted.run for events in (done, begun)]
        worthless = [await refusal(ann.stub.GetRun(pb.GetRunRequest(context=context(), run=run))) for run in runs] + [
            await refusal(ann.stub.FetchPage(pb.FetchPageRequest(context=context(), cursor=page["next_cursor"])))
        ]

    assert ended.done.error.reason == pb.REASON_CANCELLED
    assert [text.partition(":")[0] for text in worthless] == ["NOT_FOUND HANDLE_EXPIRED"] * 3


async def test_a_stream_of_its_own_ends_with_its_conversation_and_with_a_newer_one(pooler: Line) -> None:
    async with talking(pooler) as ann:
        older = ann.follow()
        reading = asyncio.ensure_future(older.read())
        (conversation,) = pooler.pooler._kept.conversations._open.values()
        await eventually(lambda: conversation.hearing is not None)
        first = conversation.hearing
        newer = ann.follow()
        reading_newer = asyncio.ensure_future(newer.read())

        assert await reading is grpc.aio.EOF
        assert await older.code() == grpc.StatusCode.OK
        assert conversation.hearing is not first
        await ann.close()
        assert await reading_newer is grpc.aio.EOF


async def test_changes_of_what_a_client_has_subscribed_to_reach_the_stream_of_its_conversation(pooler: Line) -> None:
    target = pb.Watched(uri="sim://x", operation="changing", arguments=b'{"value": "x"}')
    async with talking(pooler) as ann:
        stream = ann.follow()
        await ann.deliver(subscribe=pb.DeliverSubscription(target=target))
        await eventually(lambda: pooler.pooler._watches.sources == 1)

        await ann.stub.Call(ann.request("put", value="x"))
        heard = await stream.read()
        await ann.deliver(unsubscribe=pb.DeliverSubscription(target=target))

        await eventually(lambda: pooler.pooler._watches.sources == 0)
    assert heard.resource.uri == "sim://x"


async def test_a_client_that_vanishes_stops_listening(pooler: Line) -> None:
    async with talking(pooler) as ann:
        stream = ann.follow()
        (conversation,) = pooler.pooler._kept.conversations._open.values()
        await eventually(lambda: conversation.hearing is not None)

        stream.cancel()

        await eventually(lambda: conversation.hearing is None)
        assert conversation.life.holds == 0


async def test_a_restarted_pooler_goes_on_with_conversations_and_their_finished_runs(bare_line: Line) -> None:
    await bare_line.start_pooler(LASTING)
    async with talking(bare_line, b"note") as ann:
        await ann.deliver(log_level=pb.DeliverLogLevel(level="info"))
        told = await until(ann.run("echo", value="x"), "done")
    await bare_line.stop_pooler()
    await bare_line.start_pooler(LASTING)

    async with wire.stub(bare_line.pooler.address) as stub, asyncio.timeout(30):
        later = Talker(stub, pb.Conversation(conversation=ann.handle))
        state = await later.get()
        again = await until(later.follow("r1.1"), "done")
        new = await until(later.run("echo", value="y"), "done")
        await later.close()
        gone = await refusal(stub.GetRun(pb.GetRunRequest(context=context(), run=told[0].accepted.run)))

    assert (state.note, state.log_level) == (b"note", "info")
    assert again == told[1:]
    assert new[0].accepted.name != "r1"
    assert gone.startswith("NOT_FOUND HANDLE_EXPIRED")


async def test_a_restarted_pooler_that_keeps_nothing_says_that_they_are_over(bare_line: Line) -> None:
    await bare_line.start_pooler(CONFIG)
    async with talking(bare_line) as ann:
        await ann.get()
    await bare_line.stop_pooler()
    await bare_line.start_pooler(CONFIG)

    async with wire.stub(bare_line.pooler.address) as stub:
        ended = await refusal(Talker(stub, pb.Conversation(conversation=ann.handle)).get())

    assert ended.startswith("NOT_FOUND HANDLE_EXPIRED")


async def test_another_pooler_says_that_the_one_that_keeps_it_is_not_there(bare_line: Line, pooler: Line) -> None:
    async with talking(pooler) as ann:
        kind, _, sealed = ann.handle.split(".")
        lost = await refusal(Talker(ann.stub, pb.Conversation(conversation=f"{kind}.ffffffff.{sealed}")).get())

    assert lost.startswith("UNAVAILABLE HANDLE_LOST")
