"""Changes on their way to whoever watches: callers of the wire, and clients that listen (2026-07-28)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import orjson
import pytest
from mcp.client import Client
from mcp.client.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    Subscription,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction import wire
from tests.interaction.line import PATIENCE_SECONDS, Line, eventually, modern
from tests.interaction.modern_client import modern_client
from tests.interaction.scripted_pooler import BREAK, Refusal, scripted

pytestmark = pytest.mark.anyio

CHANNEL = "counts"
COUNT = {"backend": "sim", "method": "count", "arguments": {"value": {"type": "string"}}, "effect": "read"}
OPERATIONS: dict[str, Any] = {
    "told": {**COUNT, "resource": "told://{value}", "watch": {"channel": CHANNEL, "argument": "value"}},
    "asked": {**COUNT, "resource": "asked://{value}", "watch": {"every_seconds": 0.1}},
    "unwatched": {**COUNT, "resource": "unwatched://{value}"},
    "put": {"backend": "sim", "method": "put", "arguments": {"value": {"type": "string"}}, "effect": "write"},
}
CONFIGURATION: dict[str, Any] = {
    "backends": {"sim": {"kind": "simulated", "pool": {"cap": 3, "parallel_starts": 3}}},
    "operations": OPERATIONS,
    "prompts": {"greet": {"text": "Dear {name}!", "arguments": {"name": {}}}},
    "pooler": {"watches_max": 100},
}


@pytest.fixture
async def watched(bare_line: Line) -> Line:
    """A line whose resources are watched."""
    await bare_line.start_pooler(CONFIGURATION)
    return bare_line


def say(line: Line, value: str = "") -> None:
    line.system().channels.say(CHANNEL, value)


def listeners(line: Line) -> int:
    return len(line.system().channels.listening)


# On the wire


def target(uri: str, operation: str = "told", **arguments: Any) -> pb.Watched:
    return pb.Watched(uri=uri, operation=operation, arguments=orjson.dumps(arguments))


class Watcher:
    """A caller who watches, and what it has heard."""

    def __init__(self, stub: Any, targets: Iterable[pb.Watched], tenant: str = "") -> None:
        self.stream = stub.Watch(pb.WatchRequest(context=pb.CallContext(tenant=tenant), targets=targets))
        self.heard: Counter[str] = Counter()

    async def begun(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.stream.initial_metadata()

    async def hear(self) -> None:
        async for event in self.stream:
            self.heard[event.uri] += 1


@asynccontextmanager
async def watching(line: Line, *targets: pb.Watched, **who: str) -> AsyncIterator[Watcher]:
    async with wire.stub(line.pooler.address) as stub:
        watcher = Watcher(stub, targets, **who)
        await watcher.begun()
        hearing = asyncio.create_task(watcher.hear())
        yield watcher
        hearing.cancel()
        await asyncio.wait({hearing})


async def test_a_caller_hears_of_every_change_from_the_moment_that_the_watch_has_begun(watched: Line):
    async with watching(watched, target("x", value="x"), target("y", value="y")) as watcher:
        say(watched, "x")
        say(watched, "z")
        await eventually(lambda: watcher.heard["x"] == 1)
        say(watched)
        await eventually(lambda: watcher.heard == {"x": 2, "y": 1})


async def test_the_connection_is_given_back_when_the_last_caller_has_left(watched: Line):
    async with watching(watched, target("x", value="x")), watching(watched, target("x", value="y")):
        assert listeners(watched) == 1
    await eventually(lambda: listeners(watched) == 0 and watched.system().counts().busy == 0)


async def test_a_caller_who_reads_nothing_costs_no_more_than_its_targets_and_hears_of_the_last_change(watched: Line):
    async with wire.stub(watched.pooler.address) as stub:
        watcher = Watcher(stub, [target("u" * 10_000, value="x")])
        await watcher.begun()
        heard = 0
        for _ in range(20_000):
            say(watched, "x")
            if heard == 0:
                await asyncio.sleep(0)
        (watch,) = watched.pooler._watches._watches
        await eventually(lambda: len(watch._changed) == 1)
        hearing = asyncio.create_task(watcher.hear())
        await eventually(lambda: not watch._changed)
        before = watcher.heard.total()
        assert 0 < before < 20_000
        say(watched, "x")
        await eventually(lambda: watcher.heard.total() > before)
        hearing.cancel()
        await asyncio.wait({hearing})


REFUSED = {
    "of no operation": ([target("x", "nothing")], grpc.StatusCode.NOT_FOUND, "nothing"),
    "of one that is not watched": (
        [target("x", "unwatched", value="x")],
        grpc.StatusCode.INVALID_ARGUMENT,
        "unwatched",
    ),
    "with arguments that do not fit": ([target("x", value=7)], grpc.StatusCode.INVALID_ARGUMENT, "value"),
    "without a name": ([target("", value="x")], grpc.StatusCode.INVALID_ARGUMENT, "URI"),
    "too many": ([target(str(n), value="x") for n in range(101)], grpc.StatusCode.RESOURCE_EXHAUSTED, "100"),
}


@pytest.mark.parametrize(("targets", "status", "word"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_watch_that_cannot_be_is_refused_with_what_is_wrong(watched: Line, targets, status, word):
    async with wire.stub(watched.pooler.address) as stub:
        watcher = Watcher(stub, targets)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watcher.hear()
    assert raised.value.code() is status
    assert word in (raised.value.details() or "")
    assert len(watched.pooler._watches) == 0


async def test_a_pooler_that_stops_waits_for_no_watcher(watched: Line):
    async with watching(watched, target("x", value="x"), target("y", "asked", value="y")) as watcher:
        async with asyncio.timeout(4):  # of the 5 seconds of its grace
            await watched.stop_pooler()
        assert await watcher.stream.code() is grpc.StatusCode.OK


# Clients that listen


class Listener:
    """A client's subscription, and what it has heard."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        self.client = client
        self.honored = subscription.honored
        self.heard: Counter[ServerEvent] = Counter()
        self.reading = asyncio.create_task(self._read(subscription))

    async def _read(self, subscription: Subscription) -> None:
        async for event in subscription:
            self.heard[event] += 1


@asynccontextmanager
async def listening(line: Line, *uris: str, **lists: bool) -> AsyncIterator[Listener]:
    async with (
        line.client() as client,
        client.listen(resource_subscriptions=list(uris), **lists) as subscription,
    ):
        listener = Listener(client, subscription)
        yield listener
        listener.reading.cancel()
        await asyncio.wait({listener.reading})


def updated(*uris: str) -> dict[ServerEvent, int]:
    return {ResourceUpdated(uri): 1 for uri in uris}


async def test_a_client_is_told_what_it_hears_of_and_hears_of_that_alone(watched: Line):
    await watched.start_frontend()
    async with listening(watched, "told://x", "unwatched://x", "asked://y", "none://z") as listener:
        assert listener.honored.resource_subscriptions == ["told://x", "asked://y"]
        assert listener.honored.tools_list_changed is None
        say(watched, "y")
        say(watched, "x")
        await listener.client.call_tool("put", {"value": "y"})
        await eventually(lambda: listener.heard == updated("told://x", "asked://y"))


async def test_a_server_says_that_it_has_subscriptions(watched: Line):
    await watched.start_frontend()
    async with watched.http() as http:
        answer = await http.post(watched.url, **modern("server/discover"))
    found = answer.json()["result"]["capabilities"]
    assert found["resources"] == {"subscribe": True, "listChanged": True}
    assert (found["tools"], found["prompts"]) == ({"listChanged": True}, {"listChanged": True})


LISTS = {"tools_list_changed": True, "resources_list_changed": True, "prompts_list_changed": True}


async def test_a_client_hears_which_list_has_changed_and_of_no_other(watched: Line):
    await watched.start_frontend()
    async with listening(watched, **LISTS) as every, listening(watched, tools_list_changed=True) as tools:
        hidden = {**OPERATIONS["unwatched"], "tool": False, "resource": "more://{value}"}
        await watched.reload({"operations": {**OPERATIONS, "more": hidden}})
        await eventually(lambda: every.heard == {ResourcesListChanged(): 1})
        await watched.reload({"prompts": {"greet": {"text": "Hello!"}}})
        await eventually(lambda: every.heard == {ResourcesListChanged(): 1, PromptsListChanged(): 1})
        assert tools.heard == {}
        await watched.reload({"operations": {**OPERATIONS, "more": {**hidden, "tool": True}}})
        await eventually(lambda: tools.heard == {ToolsListChanged(): 1} and every.heard[ToolsListChanged()] == 1)
        assert every.heard.total() == 3


async def test_after_a_broken_way_each_resource_is_told_once_and_then_its_changes(watched: Line):
    await watched.start_frontend()
    async with listening(watched, "told://x", "told://y") as listener:
        await watched.relay.cut()
        await watched.relay.open()
        await eventually(lambda: listener.heard == updated("told://x", "told://y"))
        say(watched, "x")
        await eventually(lambda: listener.heard[ResourceUpdated("told://x")] == 2)
        assert listener.heard[ResourceUpdated("told://y")] == 1


async def test_a_client_that_listens_while_the_pooler_is_away_is_told_once_it_is_back(watched: Line):
    await watched.start_frontend()
    async with watched.client() as client:
        await client.list_tools()
        await watched.relay.cut()
        async with client.listen(resource_subscriptions=["told://x"]) as subscription:
            listener = Listener(client, subscription)
            await watched.relay.open()
            await eventually(lambda: listener.heard == updated("told://x"))
            listener.reading.cancel()


async def test_a_resource_that_is_watched_otherwise_after_a_reload_is_told_and_still_watched(watched: Line):
    await watched.start_frontend()
    async with listening(watched, "told://x", "asked://y") as listener:
        otherwise = {**OPERATIONS["told"], "watch": {"every_seconds": 0.1}}
        await watched.reload({"operations": {**OPERATIONS, "told": otherwise}})
        await eventually(lambda: listeners(watched) == 0)
        await eventually(lambda: listener.heard == updated("told://x"))
        await listener.client.call_tool("put", {"value": "x"})
        await eventually(lambda: listener.heard[ResourceUpdated("told://x")] == 2)
        assert listener.heard[ResourceUpdated("asked://y")] == 0


async def test_a_frontend_that_stops_ends_its_streams_as_the_protocol_wants_it(watched: Line):
    await watched.start_frontend()
    async with listening(watched, "told://x") as listener:
        watched.frontends[0].should_exit = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            await listener.reading  # raises SubscriptionLost when the stream just breaks off
    await eventually(lambda: len(watched.pooler._watches) == 0)


async def test_a_client_that_leaves_is_watched_for_no_more(watched: Line):
    await watched.start_frontend()
    async with listening(watched, "told://x", "asked://y"):
        assert len(watched.pooler._watches) == 2
    await eventually(lambda: len(watched.pooler._watches) == 0 and listeners(watched) == 0)


async def test_what_the_pooler_refuses_to_watch_is_an_error_with_its_words(watched: Line):
    await watched.start_frontend()
    uris = [f"told://{number}" for number in range(101)]
    async with watched.client() as client:
        with pytest.raises(MCPError, match="may watch 100"):
            async with client.listen(resource_subscriptions=uris):
                pass


async def test_a_watch_that_is_refused_later_ends_the_stream_so_that_its_client_asks_again(bare_line: Line):
    seen = pb.Operation(name="seen", effect=pb.EFFECT_READ, resource="seen://{x}", watched=True)
    async with scripted(seen) as (pooler, address):
        bare_line.relay.target = address
        await bare_line.start_frontend(conversations=False)
        pooler.say("Watch", pb.WatchEvent(uri="seen://1"), BREAK)
        pooler.say("Watch", Refusal("INVALID_ARGUMENTS", 3, "seen cannot be watched."))
        async with modern_client(bare_line.url) as client:
            answer = await client.ask("subscriptions/listen", notifications={"resourceSubscriptions": ["seen://1"]})
        await bare_line.relay.cut()
    assert answer.messages[0]["method"] == "notifications/subscriptions/acknowledged"
    assert [told["uri"] for told in answer.told("notifications/resources/updated")] == ["seen://1"]
    assert answer.result["resultType"] == "complete"
