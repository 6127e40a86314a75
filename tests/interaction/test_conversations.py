"""What clients of the 2025-11-25 era see of their conversations, on whichever frontend they come to."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.interaction.line import LEGACY, PATIENCE_SECONDS, SIMULATED, Line, eventually
from tests.interaction.talker import Event, Talker, notification, request, tool
from tests.round_robin import round_robin

pytestmark = pytest.mark.anyio

TALKING: dict[str, Any] = {
    **SIMULATED,
    "operations": {
        **SIMULATED["operations"],
        "report": {
            "backend": "sim",
            "method": "report",
            "arguments": {"seconds": {"type": "number"}, "steps": {"type": "integer"}},
            "effect": "read",
            "timeout_seconds": 120,
        },
        "ask": {
            "backend": "sim",
            "method": "ask",
            "arguments": {"question": {"type": "string"}},
            "effect": "read",
            "asks": True,
        },
        "put": {"backend": "sim", "method": "put", "arguments": {"value": {"type": "string"}}, "effect": "write"},
        "count": {
            "backend": "sim",
            "method": "count",
            "arguments": {"value": {"type": "string"}},
            "effect": "read",
            "tool": False,
            "resource": "sim://count/{value}",
            "watch": {"every_seconds": 0.1},
        },
        "delete_orders": {
            "backend": "sim",
            "method": "write",
            "arguments": {"count": {"type": "integer"}},
            "effect": "write",
            "confirm": "Delete {count} orders?",
        },
    },
}
ELICITS: dict[str, Any] = {"elicitation": {}}
YES = {"action": "accept", "content": {}}


@pytest.fixture
async def lines(tmp_path: Path) -> AsyncIterator[Line]:
    """A pooler with two frontends."""
    line = Line(tmp_path)
    await line.start_pooler(TALKING)
    for _ in range(2):
        await line.start_frontend(detach_grace_seconds=30)
    yield line
    await line.close()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
async def talker(lines: Line, http: httpx.AsyncClient) -> Talker:
    """A client whose conversation was begun at the first frontend."""
    talking = Talker(http, url(lines, 0))
    await talking.open(ELICITS)
    return talking


def url(line: Line, number: int) -> str:
    return f"http://{line.frontends[number].address}/mcp"


async def taken(events: AsyncIterator[Event], count: int) -> list[Event]:
    """The next events of a stream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [await anext(events) for _ in range(count)]


async def rest(events: AsyncIterator[Event]) -> list[Event]:
    """The events up to the end of a stream."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [event async for event in events]


async def test_a_conversation_begins_with_what_it_makes_possible(lines: Line, http: httpx.AsyncClient):
    talking = Talker(http, url(lines, 0))
    opened = await talking.open()
    assert talking.handle.startswith("conversation.")
    capabilities = opened["capabilities"]
    assert capabilities["resources"] == {"subscribe": True, "listChanged": True}
    assert (capabilities["tools"], capabilities["prompts"]) == ({"listChanged": True}, {"listChanged": True})
    assert capabilities["logging"] == {}


async def test_the_sdks_client_talks_to_frontends_that_take_turns(lines: Line):
    async with (
        round_robin([url(lines, 0), url(lines, 1)]) as (address, proxy),
        httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http,
    ):
        heard: list[float] = []
        asked: list[str] = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        async def elicited(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
            asked.append(params.message)
            return types.ElicitResult(action="accept", content={})

        transport = streamable_http_client(address, http_client=http)
        async with Client(transport, mode=LEGACY, cache=None, elicitation_callback=elicited) as client:
            assert len((await client.list_tools()).tools) == 9
            reported = await client.call_tool("report", {"seconds": 1, "steps": 4}, progress_callback=progressed)
            assert reported.structured_content == {"result": "4 steps"}
            deleted = await client.call_tool("delete_orders", {"count": 3})
            assert deleted.structured_content == {"rows_affected": 3}
        assert heard == sorted(set(heard))
        assert heard[-1] > 1
        assert asked == ["Delete 3 orders?"]
        assert min(proxy.served.values()) >= 3


async def test_a_stream_left_in_its_midst_goes_on_at_the_other_frontend_with_each_event_once(
    lines: Line, talker: Talker
):
    async with talker.stream(tool("report", {"seconds": 3, "steps": 10}, token="t")) as events:
        before = await taken(events, 3)
    talker.url = url(lines, 1)
    async with talker.listen(after=before[-1].id) as events:
        after = await rest(events)
    # A stream opens by repeating where it is.
    assert (before[0].message, after[0]) == ({}, Event(before[-1].id, {}))
    messages = [event.message for event in before[1:] + after[1:]]
    progress = [each["params"]["progress"] for each in messages if each.get("method") == "notifications/progress"]
    assert progress == sorted(set(progress))
    assert messages[-1]["result"]["structuredContent"] == {"result": "10 steps"}
    assert lines.system().requests_total == 1
    names = [event.id for event in before + after[1:]]
    assert len(names) == len(set(names))


async def test_a_stream_that_was_read_to_its_end_can_be_read_again_from_any_event(lines: Line, talker: Talker):
    async with talker.stream(tool("report", {"seconds": 0.5, "steps": 2}, token="t")) as events:
        first = await rest(events)
    talker.url = url(lines, 1)
    for number, event in enumerate(first):
        async with talker.listen(after=event.id) as events:
            assert (await rest(events))[1:] == first[number + 1 :]


async def test_a_call_whose_way_is_cut_is_found_again_and_carried_out_once(lines: Line, talker: Talker):
    async with talker.stream(tool("write_slowly", {"seconds": 1})) as events:
        await taken(events, 1)
        await eventually(lambda: lines.system().counts().busy == 1)
        await lines.relay.cut()
        await lines.relay.open()
        answer = (await rest(events))[-1].message
    assert answer["result"]["structuredContent"] == {"result": "done"}
    assert lines.system().requests_total == 1


async def test_a_question_is_answered_at_a_frontend_that_did_not_ask(lines: Line, talker: Talker):
    async with talker.stream(tool("ask", {"question": "Why?"})) as events:
        question = (await taken(events, 2))[1].message
        assert (question["method"], question["params"]["message"]) == ("elicitation/create", "Why?")
        talker.url = url(lines, 1)
        said = await talker.post({"jsonrpc": "2.0", "id": question["id"], "result": YES})
        assert said.status_code == 202
        answer = (await rest(events))[-1].message
    assert answer["result"]["structuredContent"] == {"said": YES, "state": "asked Why?"}


async def test_a_question_waits_for_a_client_that_comes_again(lines: Line, talker: Talker):
    async with talker.stream(tool("ask", {"question": "Why?"})) as events:
        primed = (await taken(events, 1))[0]
        await eventually(lambda: lines.system().requests_total == 1)
    talker.url = url(lines, 1)
    async with talker.listen(after=primed.id) as events:
        question = (await taken(events, 2))[1].message
        await talker.post({"jsonrpc": "2.0", "id": question["id"], "result": YES})
        assert (await rest(events))[-1].message["result"]["structuredContent"]["said"] == YES


async def test_a_user_who_declines_stops_what_he_was_asked_to_confirm(lines: Line, talker: Talker):
    async with talker.stream(tool("delete_orders", {"count": 3})) as events:
        question = (await taken(events, 2))[1].message
        await talker.post({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        answer = (await rest(events))[-1].message
    assert answer["result"]["_meta"]["penstock/error"]["reason"] == "INPUT_DECLINED"
    assert lines.system().requests_total == 0


async def test_a_client_that_answers_with_an_error_has_not_consented(lines: Line, talker: Talker):
    async with talker.stream(tool("delete_orders", {"count": 3})) as events:
        question = (await taken(events, 2))[1].message
        await talker.post({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no user here"}})
        answer = (await rest(events))[-1].message
    assert answer["result"]["isError"] is True
    assert lines.system().requests_total == 0


async def test_a_client_that_cannot_be_asked_is_refused(lines: Line, http: httpx.AsyncClient):
    talking = Talker(http, url(lines, 0))
    await talking.open()
    answer = await talking.ask("tools/call", {"name": "delete_orders", "arguments": {"count": 3}})
    assert answer["result"]["_meta"]["penstock/error"]["reason"] == "INPUT_UNAVAILABLE"


async def test_an_answer_to_nothing_is_taken_and_changes_nothing(talker: Talker):
    for request_id in ("r9.1.confirm", "never", 12):
        said = await talker.post({"jsonrpc": "2.0", "id": request_id, "result": YES})
        assert said.status_code == 202


async def test_a_cancel_reaches_the_backend_from_any_frontend_and_the_request_is_answered(lines: Line, talker: Talker):
    async with talker.stream(tool("work", {"seconds": 120}, number=7)) as events:
        await taken(events, 1)
        await eventually(lambda: lines.system().counts().busy == 1)
        talker.url = url(lines, 1)
        said = await talker.post(notification("cancelled", {"requestId": 7, "reason": "enough"}))
        assert said.status_code == 202
        answer = (await rest(events))[-1].message
    assert (answer["id"], answer["error"]["code"]) == (7, -32800)
    await eventually(lambda: lines.system().counts().busy == 0)


async def test_a_cancel_names_its_request_exactly(lines: Line, talker: Talker):
    async with talker.stream(tool("work", {"seconds": 1}, number=7)) as events:
        await taken(events, 1)
        await talker.post(notification("cancelled", {"requestId": "7"}))
        assert (await rest(events))[-1].message["result"]["structuredContent"] == {"result": "done"}


async def test_a_run_whose_client_never_comes_again_ends_with_its_grace(bare_line: Line, http: httpx.AsyncClient):
    await bare_line.start_pooler(TALKING)
    await bare_line.start_frontend(detach_grace_seconds=0.5)
    talking = Talker(http, url(bare_line, 0))
    await talking.open()
    async with talking.stream(tool("work", {"seconds": 120})) as events:
        await taken(events, 1)
        await eventually(lambda: bare_line.system().counts().busy == 1)
    assert bare_line.system().counts().busy == 1
    await eventually(lambda: bare_line.system().counts().busy == 0)


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


async def test_a_frontend_that_stops_ends_its_streams_and_another_goes_on_with_them(lines: Line, talker: Talker):
    async with talker.stream(tool("report", {"seconds": 2, "steps": 4}, token="t")) as events:
        await taken(events, 1)
        lines.frontends[0].should_exit = True
        before = await rest(events)
    assert all("result" not in event.message for event in before)
    last = before[-1].id if before else "r1.1"
    talker.url = url(lines, 1)
    async with talker.listen(after=last) as events:
        assert (await rest(events))[-1].message["result"]["structuredContent"] == {"result": "4 steps"}


async def test_a_client_of_an_older_revision_gets_no_event_without_data(lines: Line, http: httpx.AsyncClient):
    talking = Talker(http, url(lines, 0), version="2025-06-18")
    assert (await talking.open())["protocolVersion"] == "2025-06-18"
    async with talking.stream(tool("echo", {"value": "x"})) as events:
        (answer,) = await rest(events)
    assert answer.message["result"]["structuredContent"] == {"result": "x"}
    assert answer.id


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
