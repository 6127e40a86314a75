"""What a client hears of a call that takes its time, and how it is asked. The pooler says what is written here."""

import asyncio
from typing import Any

import orjson
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction.line import PATIENCE_SECONDS, Line
from tests.interaction.scene import ALICE, NAME, scene
from tests.interaction.scripted_pooler import Refusal, accepted, done, page, progress, queued

pytestmark = pytest.mark.anyio

PROGRESS, MESSAGE = "notifications/progress", "notifications/message"
LEVEL = "io.modelcontextprotocol/logLevel"


async def test_a_client_with_a_token_hears_of_its_calls_progress(bare_line: Line):
    async with scene(bare_line) as (pooler, client):
        pooler.say(
            "Run",
            accepted(),
            queued(2, 4, 4),
            pb.RunEvent(seq=3, starting=pb.RunStarting(remaining_ms=12_000)),
            pb.RunEvent(seq=4, working=pb.RunWorking()),
            progress(5, 0, 10_000, "none yet"),
            progress(6, 4_000, 10_000),
            progress(7, 4_000, 10_000, "stands still"),
            page(8),
            done(9),
        )
        response = await client.call("plain", _meta={"progressToken": "p"})
    told = response.told(PROGRESS)
    assert [each["message"] for each in told] == [
        "queued, 3 ahead",
        "starting a client, about 12 s",
        "at work",
        "none yet",
        "4,000 of 10,000",
    ]
    values = [each["progress"] for each in told]
    assert values == sorted(set(values))
    assert {each["progressToken"] for each in told} == {"p"}
    assert told[-1]["total"] == 10_000
    assert response.result["structuredContent"] == {"result": 1}
    [request] = pooler.heard_of(pb.RunRequest)
    assert request.detach_grace_ms == 0


async def test_a_2025_client_hears_of_its_calls_progress_on_the_same_response(bare_line: Line):
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with scene(bare_line) as (pooler, _), bare_line.client("legacy") as client:
        pooler.say("Run", accepted(), progress(2, 1, 2, "half"), page(3), done(4))
        result = await client.call_tool("plain", {}, progress_callback=hear)
    assert result.structured_content == {"result": 1}
    assert heard == [(1, 2, "half")]


@pytest.mark.parametrize("method", ["resources/read", "tools/call"])
async def test_whatever_is_asked_with_a_token_is_followed(bare_line: Line, method: str):
    params: dict[str, Any] = {"uri": "plain://1"} if method == "resources/read" else {"name": "plain", "arguments": {}}
    async with scene(bare_line) as (pooler, client):
        pooler.say("Run", accepted(), progress(2, 1), page(3), done(4))
        response = await client.ask(method, **params, _meta={"progressToken": 3})
    assert [each["progress"] for each in response.told(PROGRESS)] == [1]
    assert response.result["resultType"] == "complete"


async def test_log_lines_reach_a_client_at_the_level_that_it_asked_for(bare_line: Line):
    lines = [
        pb.RunEvent(seq=seq, log=pb.RunLog(level=level, logger="loans", data=b'"%s"' % level.encode()))
        for seq, level in enumerate(("debug", "info", "error"), 2)
    ]
    async with scene(bare_line) as (pooler, client):
        pooler.say("Run", accepted(), *lines, page(5), done(6))
        response = await client.call("plain", _meta={LEVEL: "info"})
        pooler.say("Run", accepted(), *lines, page(5), done(6))
        silent = await client.call("plain", _meta={"progressToken": "p"})
    assert response.told(MESSAGE) == [
        {"level": "info", "logger": "loans", "data": "info"},
        {"level": "error", "logger": "loans", "data": "error"},
    ]
    assert silent.told(MESSAGE) == []


async def test_a_followed_call_fails_as_a_plain_one_does(bare_line: Line):
    async with scene(bare_line) as (pooler, client):
        pooler.say("Run", accepted(), done(2, "WORK_TIMEOUT", 4, "The work took longer than 5 s."))
        response = await client.call("plain", _meta={"progressToken": "p"})
        pooler.say("Run", Refusal("QUEUE_FULL", 8, "100 calls wait already."))
        refused = await client.call("plain", _meta={"progressToken": "p"})
    assert response.result["isError"] is True
    assert response.result["content"][0]["text"] == "The work took longer than 5 s."
    assert refused.result["content"][0]["text"] == "100 calls wait already."


async def test_a_client_that_leaves_takes_its_run_along(bare_line: Line):
    async with scene(bare_line) as (pooler, client):
        pooler.say("Run", accepted(), progress(2, 1), asyncio.Event())
        params: dict[str, Any] = {"name": "plain", "arguments": {}, "_meta": {"progressToken": "p"}}
        async with client.open("tools/call", **params) as response:
            assert "notifications/progress" in await anext(response.aiter_text())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await pooler.left.wait()


# What a call asks its user


async def test_a_call_that_asks_is_repeated_with_the_answers(bare_line: Line):
    asked = {"inputRequests": NAME, "requestState": "state.sealed"}
    async with scene(bare_line, {"elicitation": {}}) as (pooler, client):
        pooler.say("Run", accepted(), page(2, orjson.dumps(asked), pb.RESULT_KIND_INPUT_REQUIRED), done(3))
        first = await client.call("asks")
        pooler.say("Run", accepted(), page(2), done(3))
        second = await client.call("asks", inputResponses=ALICE, requestState=first.result["requestState"])
    assert (first.result["resultType"], first.result["requestState"]) == ("input_required", "state.sealed")
    assert first.result["inputRequests"].keys() == NAME.keys()
    assert second.result["resultType"] == "complete"
    one, two = pooler.heard_of(pb.RunRequest)
    assert orjson.loads(one.call.context.client_capabilities) == {"elicitation": {}}
    assert (one.call.request_state, one.call.input_responses) == ("", b"")
    assert two.call.request_state == "state.sealed"
    assert orjson.loads(two.call.input_responses) == ALICE


async def test_a_worker_that_asks_for_what_is_no_request_is_said_to_be_broken(bare_line: Line):
    asked = {"inputRequests": {"name": {"method": "elicitation/create", "params": {}}}, "requestState": "s"}
    async with scene(bare_line, {"elicitation": {}}) as (pooler, client):
        pooler.say("Run", accepted(), page(2, orjson.dumps(asked), pb.RESULT_KIND_INPUT_REQUIRED), done(3))
        response = await client.call("asks")
    assert response.result["isError"] is True
    assert "its worker has to be mended" in response.result["content"][0]["text"]


@pytest.mark.parametrize(
    ("reason", "code"), [("HANDLE_UNKNOWN", 5), ("HANDLE_EXPIRED", 5), ("HANDLE_LOST", 14), ("INVALID_ARGUMENTS", 3)]
)
async def test_a_state_that_is_none_is_an_error_of_the_clients_program(bare_line: Line, reason: str, code: int):
    async with scene(bare_line, {"elicitation": {}}) as (pooler, client):
        pooler.say("Run", Refusal(reason, code, "This state is none."))
        response = await client.call("asks", inputResponses=ALICE, requestState="state.tampered")
    assert (response.status, response.error["code"]) == (400, -32602)
    assert response.error["message"] == "This state is none."


async def test_a_client_that_cannot_be_asked_is_told_what_it_lacks(bare_line: Line):
    error = pb.ExchangeError(
        code=9,
        reason=pb.REASON_INPUT_UNAVAILABLE,
        message="It has to ask.",
        metadata={"required_capabilities": '{"elicitation":{"form":{}}}'},
    )
    async with scene(bare_line) as (pooler, client):
        pooler.say("Run", accepted(), pb.RunEvent(seq=2, done=pb.RunDone(error=error)))
        response = await client.call("asks")
        async with bare_line.client("legacy") as legacy:
            pooler.say("Run", accepted(), pb.RunEvent(seq=2, done=pb.RunDone(error=error)))
            refused = await legacy.call_tool("asks", {})
    assert (response.status, response.error["code"]) == (400, -32021)
    assert response.error["data"] == {"requiredCapabilities": {"elicitation": {"form": {}}}}
    assert refused.is_error
    assert "It has to ask." in refused.content[0].text
