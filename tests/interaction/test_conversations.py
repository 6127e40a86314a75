"""What clients of the 2025-11-25 era see of their calls, on whichever frontend they come to."""

from typing import Any

import httpx2 as httpx
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.interaction.line import LEGACY, PATIENCE_SECONDS, Line, eventually
from tests.interaction.talker import Event, Talker, notification, tool
from tests.interaction.talking import TALKING, YES, rest, taken, url
from tests.round_robin import round_robin

pytestmark = pytest.mark.anyio


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


async def test_log_lines_are_told_from_the_level_on_that_the_client_has_set_anywhere(lines: Line, talker: Talker):
    reported = tool("report", {"seconds": 0.2, "steps": 2})
    async with talker.stream(reported) as events:
        assert "notifications/message" in [event.message.get("method") for event in await rest(events)]
    await talker.ask("logging/setLevel", {"level": "error"})
    talker.url = url(lines, 1)
    async with talker.stream(reported) as events:
        assert [event.message.get("method") for event in (await rest(events))[1:]] == [None]


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


@pytest.mark.promise(6)
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


@pytest.mark.promise(6)
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
