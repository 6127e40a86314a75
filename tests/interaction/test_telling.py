"""What a client hears of a call that takes its time, and how it is asked. The pooler says what is written here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction.line import PATIENCE_SECONDS, Line, eventually
from tests.interaction.modern_client import KNOWS_TASKS, ModernClient, Response, modern_client
from tests.interaction.scripted_pooler import (
    Refusal,
    ScriptedPooler,
    accepted,
    done,
    page,
    progress,
    queued,
    scripted,
)

pytestmark = pytest.mark.anyio

PLAIN = pb.Operation(name="plain", tool=True, effect=pb.EFFECT_READ, resource="plain://{x}")
ASKS = pb.Operation(name="asks", tool=True, asks=True, effect=pb.EFFECT_WRITE)
LONG = pb.Operation(name="long", tool=True, long=True, effect=pb.EFFECT_WRITE, timeout_ms=60_000)
LATER = pb.Operation(name="later", tool=True, long=True, long_after_ms=50, effect=pb.EFFECT_WRITE)
AT_LEISURE = pb.Operation(name="at_leisure", tool=True, long=True, long_after_ms=60_000, effect=pb.EFFECT_WRITE)

PROGRESS, MESSAGE = "notifications/progress", "notifications/message"
LEVEL = "io.modelcontextprotocol/logLevel"

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
FORM = {"mode": "form", "message": "Who?", "requestedSchema": SCHEMA}
NAME = {"name": {"method": "elicitation/create", "params": FORM}}
ALICE = {"name": {"action": "accept", "content": {"name": "Alice"}}}


def question(seq: int) -> pb.RunEvent:
    return pb.RunEvent(seq=seq, input_required=pb.RunInputRequired(input_requests=orjson.dumps(NAME)))


def state(status: pb.RunStatus.ValueType, **more: Any) -> pb.RunState:
    return pb.RunState(
        run="run.1", operation="long", status=status, created_ms=1_000, updated_ms=3_500, keep_ms=5_000, **more
    )


WORKING = state(pb.RUN_STATUS_WORKING)

Scene = tuple[ScriptedPooler, ModernClient]


@asynccontextmanager
async def scene(line: Line, capabilities: dict[str, Any] | None = None) -> AsyncIterator[Scene]:
    async with scripted(ASKS, AT_LEISURE, LATER, LONG, PLAIN) as (pooler, address):
        line.relay.target = address
        await line.start_frontend()
        async with modern_client(line.url, capabilities) as client:
            yield pooler, client
        await line.relay.cut()


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


# Tasks


def as_task(response: Response) -> dict[str, Any]:
    task = response.result
    assert task["resultType"] == "task", task
    return task


async def test_a_long_tool_answers_a_task_to_a_client_that_knows_them(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), asyncio.Event())
        pooler.say("GetRun", WORKING)
        task = as_task(await client.call("long"))
    del task["_meta"]
    assert task == {
        "resultType": "task",
        "taskId": "run.1",
        "status": "working",
        "createdAt": "1970-01-01T00:00:01.000Z",
        "lastUpdatedAt": "1970-01-01T00:00:03.500Z",
        "ttlMs": 65_000,
        "pollIntervalMs": 1_000,
    }
    [request] = pooler.heard_of(pb.RunRequest)
    assert (request.detach_grace_ms, request.await_input) == (-1, True)


async def test_a_long_tool_is_an_ordinary_one_to_any_other_client(bare_line: Line):
    async with scene(bare_line) as (pooler, client):
        pooler.say("Run", accepted(), page(2), done(3))
        response = await client.call("long")
        async with bare_line.client("legacy") as legacy:
            pooler.say("Run", accepted(), page(2), done(3))
            result = await legacy.call_tool("long", {})
    assert response.result["structuredContent"] == result.structured_content == {"result": 1}
    assert {each.detach_grace_ms for each in pooler.heard_of(pb.RunRequest)} == {0}


async def test_what_is_refused_before_it_is_a_task_is_an_ordinary_failure(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", Refusal("QUEUE_FULL", 8, "100 calls wait already."))
        assert (await client.call("long")).result["isError"] is True


async def test_a_tool_that_is_done_in_time_is_no_task(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), progress(2, 1), page(3), done(4))
        response = await client.call("at_leisure", _meta={"progressToken": "p"})
    assert response.result["structuredContent"] == {"result": 1}
    assert len(response.told(PROGRESS)) == 1


async def test_a_tool_becomes_a_task_when_its_time_has_passed(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), progress(2, 1), asyncio.Event())
        pooler.say("GetRun", WORKING)
        assert as_task(await client.call("later"))["taskId"] == "run.1"


async def test_whoever_leaves_before_there_is_a_task_takes_the_run_along(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), progress(2, 1), asyncio.Event())
        pooler.say("CancelRun", state(pb.RUN_STATUS_CANCELLED))
        params: dict[str, Any] = {"name": "at_leisure", "arguments": {}, "_meta": {"progressToken": "p"}}
        async with client.open("tools/call", **params) as response:
            assert "notifications/progress" in await anext(response.aiter_text())
        await eventually(lambda: len(pooler.heard_of(pb.CancelRunRequest)) == 1)
    assert pooler.heard_of(pb.CancelRunRequest)[0].run == "run.1"


async def test_what_a_tool_asks_before_it_is_a_task_is_a_round_of_the_call(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), question(2), asyncio.Event())
        first = await client.call("at_leisure", {"b": 1, "a": 2})
        [request] = pooler.heard_of(pb.RunRequest)
        pooler.say("GetRun", pb.RunState(run="run.1", operation="at_leisure", note=request.note))
        pooler.say("AnswerRun", WORKING)
        pooler.say("Attach", page(3), done(4))
        again = {"inputResponses": ALICE, "requestState": first.result["requestState"]}
        second = await client.call("at_leisure", {"a": 2, "b": 1}, **again)
        pooler.say("GetRun", pb.RunState(run="run.1", operation="at_leisure", note=request.note))
        other = await client.call("at_leisure", {"a": 3, "b": 1}, **again)
    assert first.result["resultType"] == "input_required"
    assert "taskId" not in first.result
    assert second.result["structuredContent"] == {"result": 1}
    [attach] = pooler.heard_of(pb.AttachRequest)
    assert (attach.run, attach.after) == ("run.1", 2)
    [answer] = pooler.heard_of(pb.AnswerRunRequest)
    assert orjson.loads(answer.input_responses) == ALICE
    assert other.error["code"] == -32602


async def test_a_round_that_is_answered_in_part_asks_for_the_rest(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), question(2), asyncio.Event())
        first = await client.call("at_leisure")
        [request] = pooler.heard_of(pb.RunRequest)
        pooler.say("GetRun", pb.RunState(run="run.1", operation="at_leisure", note=request.note))
        pooler.say("AnswerRun", state(pb.RUN_STATUS_INPUT_REQUIRED, input_requests=orjson.dumps(NAME)))
        second = await client.call("at_leisure", inputResponses={}, requestState=first.result["requestState"])
    assert second.result["inputRequests"].keys() == NAME.keys()


async def test_a_tasks_result_is_what_the_call_would_have_answered(bare_line: Line):
    reply = pb.CallReply(kind=pb.RESULT_KIND_VALUE, result=b'{"result":1}')
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("GetRun", state(pb.RUN_STATUS_COMPLETED, reply=reply))
        task = (await client.ask("tasks/get", taskId="run.1")).result
    assert (task["status"], task["resultType"]) == ("completed", "complete")
    assert task["result"]["structuredContent"] == {"result": 1}
    assert task["ttlMs"] == 7_500


async def test_a_tasks_other_ends(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        slow = pb.ExchangeError(code=4, reason=pb.REASON_WORK_TIMEOUT, message="Slow.")
        pooler.say("GetRun", state(pb.RUN_STATUS_FAILED, error=slow))
        failed_tool = (await client.ask("tasks/get", taskId="run.1")).result
        own = {"mcp_code": "-32050", "mcp_data": '{"why":"mine"}'}
        protocol = pb.ExchangeError(code=9, reason=pb.REASON_PROTOCOL, message="No.", metadata=own)
        pooler.say("GetRun", state(pb.RUN_STATUS_FAILED, error=protocol))
        failed = (await client.ask("tasks/get", taskId="run.1")).result
        left = pb.ExchangeError(code=1, reason=pb.REASON_CANCELLED, message="Cancelled.")
        pooler.say("GetRun", state(pb.RUN_STATUS_CANCELLED, error=left, message="Cancelled."))
        cancelled = (await client.ask("tasks/get", taskId="run.1")).result
    assert (failed_tool["status"], failed_tool["result"]["isError"]) == ("completed", True)
    assert (failed["status"], failed["error"]) == (
        "failed",
        {"code": -32050, "message": "No.", "data": {"why": "mine"}},
    )
    assert "result" not in failed
    assert (cancelled["status"], cancelled["statusMessage"]) == ("cancelled", "Cancelled.")
    assert cancelled.keys().isdisjoint({"result", "error"})


async def test_a_task_that_asks_is_answered_by_an_update(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("GetRun", state(pb.RUN_STATUS_INPUT_REQUIRED, input_requests=orjson.dumps(NAME)))
        task = (await client.ask("tasks/get", taskId="run.1")).result
        pooler.say("AnswerRun", WORKING)
        update = (await client.ask("tasks/update", taskId="run.1", inputResponses=ALICE)).result
    assert (task["status"], task["inputRequests"]) == ("input_required", NAME)
    assert update.keys() == {"resultType", "_meta"}
    assert orjson.loads(pooler.heard_of(pb.AnswerRunRequest)[0].input_responses) == ALICE


async def test_a_cancelled_task_is_acknowledged_and_no_more(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("CancelRun", WORKING)
        result = (await client.ask("tasks/cancel", taskId="run.1")).result
    assert (result.keys(), result["resultType"]) == ({"resultType", "_meta"}, "complete")


@pytest.mark.parametrize("reason", ["HANDLE_UNKNOWN", "HANDLE_EXPIRED", "HANDLE_LOST"])
async def test_a_task_that_is_not_there_is_an_error_that_ends_all_polling(bare_line: Line, reason: str):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("GetRun", Refusal(reason, 14 if reason == "HANDLE_LOST" else 5, "There is none."))
        response = await client.ask("tasks/get", taskId="run.1")
    assert (response.status, response.error["code"], response.error["message"]) == (400, -32602, "There is none.")


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_tasks_are_for_clients_that_declare_them(bare_line: Line, method: str):
    async with scene(bare_line) as (_, client):
        response = await client.ask(method, taskId="run.1", inputResponses={})
    assert response.error["code"] == -32021
    assert response.error["data"]["requiredCapabilities"] == {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.mark.parametrize("name", ["run.2", ""])
async def test_a_task_is_routed_by_its_id(bare_line: Line, name: str):
    async with scene(bare_line, KNOWS_TASKS) as (_, client):
        response = await client.ask("tasks/get", headers={"mcp-name": name}, taskId="run.1")
    assert (response.status, response.error["code"]) == (400, -32020)


async def test_the_extension_is_declared_to_those_who_can_use_it(bare_line: Line):
    async with scene(bare_line) as (_, client):
        found = (await client.ask("server/discover")).result
        async with bare_line.client("legacy") as legacy:
            known = legacy.server_capabilities
    assert "io.modelcontextprotocol/tasks" in found["capabilities"]["extensions"]
    assert "tasks" not in found["capabilities"]
    assert not known.extensions
