"""How conversations of the 2025-11-25 era begin and end, whose they are, what they hear, and what bounds them."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx2 as httpx
import pytest

from tests.interaction.line import LEGACY, Line, eventually
from tests.interaction.talker import Event, Talker, notification, request, tool
from tests.interaction.talking import TALKING, YES, rest, taken, url

pytestmark = pytest.mark.anyio


async def test_a_conversation_begins_with_what_it_makes_possible(lines: Line, http: httpx.AsyncClient):
    talking = Talker(http, url(lines, 0))
    opened = await talking.open()
    assert talking.handle.startswith("conversation.")
    capabilities = opened["capabilities"]
    assert capabilities["resources"] == {"subscribe": True, "listChanged": True}
    assert (capabilities["tools"], capabilities["prompts"]) == ({"listChanged": True}, {"listChanged": True})
    assert capabilities["logging"] == {}


async def test_a_conversation_that_was_ended_is_nobodys_any_more(lines: Line, talker: Talker):
    async with talker.stream(tool("work", {"seconds": 120})) as events:
        await taken(events, 1)
        await eventually(lambda: lines.system().counts().busy == 1)
        assert (await talker.delete()).status_code == 204
        assert "error" in (await rest(events))[-1].message
    await eventually(lambda: lines.system().counts().busy == 0)
    for number in (0, 1):
        talker.url = url(lines, number)
        answers = [
            await talker.post(request(1, "tools/list")),
            await talker.post(notification("initialized")),
            await talker.post({"jsonrpc": "2.0", "id": "r1.2.confirm", "result": YES}),
            await talker.get(),
            await talker.get(**{"last-event-id": "r1.1"}),
            await talker.delete(),
        ]
        assert [answer.status_code for answer in answers] == [404] * len(answers)


async def test_another_principal_has_no_part_in_a_conversation(bare_line: Line, http: httpx.AsyncClient):
    tokens = [{"token": f"{name}-0123456789abcdef", "principal": name} for name in ("ann", "bob")]
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(tokens=tokens)
    ann, bob = (Talker(http, url(bare_line, 0), each["token"]) for each in tokens)
    await ann.open()
    bob.handle = ann.handle
    assert (await bob.post(request(1, "tools/list"))).status_code == 404
    assert (await bob.get(**{"last-event-id": "r1.1"})).status_code == 404
    assert (await bob.delete()).status_code == 404
    assert (await ann.post(request(1, "tools/list"))).status_code == 200


async def test_lists_completion_and_what_is_no_method_are_answered_within_a_conversation(talker: Talker):
    assert await talker.ask("ping") == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert len((await talker.ask("prompts/list"))["result"]["prompts"]) == 1
    assert (await talker.ask("prompts/get", {"name": "greet", "arguments": {"name": "Ann"}}))["result"]["messages"]
    assert (await talker.ask("resources/read", {"uri": "sim://motto"}))["result"]["contents"]
    assert (await talker.ask("tools/fold"))["error"]["code"] == -32601
    assert (await talker.ask("tools/call", {"name": 7}))["error"]["code"] == -32602
    assert (await talker.ask("tools/call", {"name": "ehco"}))["error"]["code"] == -32602
    assert (await talker.ask("tools/call", {"name": "echo", "arguments": {"value": 7}}))["result"]["isError"] is True


async def test_a_log_level_that_is_none_is_refused(talker: Talker):
    assert (await talker.ask("logging/setLevel", {"level": "loud"}))["error"]["code"] == -32602
    assert (await talker.ask("logging/setLevel", {"level": "debug"}))["result"] == {}


async def test_a_subscription_to_what_cannot_be_watched_is_refused(talker: Talker):
    assert (await talker.ask("resources/subscribe", {"uri": "none://1"}))["error"]["code"] == -32602
    assert (await talker.ask("resources/subscribe", {"uri": "sim://motto"}))["error"]["code"] == -32602
    assert (await talker.ask("resources/subscribe", {"uri": "sim://count/x"}))["result"] == {}
    assert (await talker.ask("resources/unsubscribe", {"uri": "sim://count/x"}))["result"] == {}


async def test_whoever_subscribes_at_one_frontend_hears_of_changes_at_the_other(lines: Line, talker: Talker):
    for uri in ("sim://count/x", "sim://count/y", "sim://count/z"):
        assert (await talker.ask("resources/subscribe", {"uri": uri}))["result"] == {}
    await talker.ask("resources/unsubscribe", {"uri": "sim://count/z"})
    talker.url = url(lines, 1)
    heard: list[Any] = []
    async with talker.listen() as events:
        hearing = asyncio.create_task(hear(events, heard))
        await put(talker, "z")
        # That a watch begins may be told as a change, once; whoever hears of two has heard of a true one.
        for count in (1, 2):
            await put(talker, "y")
            await eventually(partial(at_least, count, heard, "sim://count/y"))
        hearing.cancel()
    assert "sim://count/z" not in heard


def at_least(count: int, heard: list[Any], uri: str) -> bool:
    return heard.count(uri) >= count


async def put(talker: Talker, value: str) -> None:
    answer = await talker.ask("tools/call", {"name": "put", "arguments": {"value": value}})
    assert answer["result"]["structuredContent"] == {"rows_affected": 1}


async def hear(events: AsyncIterator[Event], heard: list[Any]) -> None:
    async for event in events:
        assert event.message["method"] == "notifications/resources/updated"
        heard.append(event.message["params"]["uri"])


async def test_whoever_listens_hears_that_the_lists_have_changed(lines: Line, talker: Talker):
    async with talker.listen() as events:
        hearing = asyncio.create_task(taken(events, 3))
        await eventually(lambda: len(lines.frontends[0].frontend.streams) == 1)
        operations = {name: each for name, each in TALKING["operations"].items() if name != "wrong"}
        await lines.reload({"operations": operations})
        heard = [event.message["method"] for event in await hearing]
    assert heard == [f"notifications/{each}/list_changed" for each in ("tools", "resources", "prompts")]


async def test_a_newer_listener_takes_the_place_of_an_older_one(lines: Line, talker: Talker):
    async with talker.listen() as older:
        await eventually(lambda: len(lines.frontends[0].frontend.streams) == 1)
        talker.url = url(lines, 1)
        async with talker.listen():
            assert await rest(older) == []
            assert len(lines.frontends[1].frontend.streams) == 1


@pytest.mark.parametrize("name", ["r1.1.1.1", "elsewhere", "r77.1"])
async def test_a_place_on_no_stream_is_refused_and_the_conversation_goes_on(talker: Talker, name: str):
    assert (await talker.get(**{"last-event-id": name})).status_code == 400
    assert (await talker.ask("ping"))["result"] == {}


async def test_what_holds_for_every_request_holds_in_conversations(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(request_bytes_max=2048)
    talking = Talker(http, url(bare_line, 0))
    await talking.open()
    listing = request(1, "tools/list")
    assert (await talking.post(listing, host="evil.example.com")).status_code == 421
    assert (await talking.post(listing, origin="https://evil.example.com")).status_code == 403
    assert (await talking.post(listing, accept="application/json")).status_code == 406
    assert (await talking.get(accept="application/json")).status_code == 406
    assert (await talking.post(tool("echo", {"value": "x" * 4096}))).status_code == 413
    assert (await talking.post({"no": "message"})).status_code == 400


async def test_a_page_in_a_browser_may_have_a_conversation(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(allowed_origins=["https://app.example.com"])
    origin = {"origin": "https://app.example.com"}
    talking = Talker(http, url(bare_line, 0))
    await talking.open()
    answer = await talking.post(request(1, "ping"), **origin)
    assert answer.headers["access-control-allow-origin"] == origin["origin"]
    assert "mcp-session-id" in answer.headers["access-control-expose-headers"].lower()
    for method in ("GET", "DELETE"):
        asking = {**origin, "access-control-request-method": method, "access-control-request-headers": "mcp-session-id"}
        assert (await http.options(talking.url, headers=asking)).status_code == 200


async def test_who_only_listens_does_not_keep_out_who_calls(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(calls_max=1)
    first, second = Talker(http, url(bare_line, 0)), Talker(http, url(bare_line, 0))
    await first.open()
    await second.open()
    async with first.listen():
        await eventually(lambda: len(bare_line.frontends[0].frontend.streams) == 1)
        refused = await second.get()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        answer = await second.ask("tools/call", {"name": "echo", "arguments": {"value": "x"}})
        assert answer["result"]["structuredContent"] == {"result": "x"}


async def test_a_request_too_long_to_be_noted_is_refused(talker: Talker):
    answer = await talker.ask("resources/read", {"uri": "echo://" + "x" * 20_000})
    assert answer["error"]["code"] == -32602


async def test_a_result_beyond_the_bound_is_refused_whenever_it_is_read(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(result_bytes_max=65_536)
    talking = Talker(http, url(bare_line, 0))
    await talking.open()
    async with talking.stream(tool("rows", {"count": 10_000})) as events:
        opening, answer = await rest(events)
    async with talking.listen(after=opening.id) as events:
        assert (await rest(events))[-1].message == answer.message
    assert answer.message["result"]["_meta"]["penstock/error"]["reason"] == "RESULT_TOO_LARGE"


async def test_a_client_goes_without_a_conversation_while_there_is_no_pooler(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_frontend()
    talking = Talker(http, url(bare_line, 0))
    assert (await talking.open())["serverInfo"]["name"] == "penstock"
    assert talking.handle == ""


async def test_where_conversations_are_off_the_era_is_served_without_state(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(conversations=False)
    async with bare_line.client(LEGACY) as client:
        assert (await client.call_tool("echo", {"value": "x"})).structured_content == {"result": "x"}
    talking = Talker(http, url(bare_line, 0))
    talking.handle = "conversation.p.x"
    assert (await talking.get()).status_code == 405
