"""The extension `io.modelcontextprotocol/tasks` on the wire. The pooler says what is written here."""

import asyncio
from typing import Any

import orjson
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction.line import Line, eventually
from tests.interaction.modern_client import KNOWS_TASKS, Response
from tests.interaction.scene import ALICE, NAME, WORKING, question, scene, state
from tests.interaction.scripted_pooler import Refusal, accepted, done, page, progress

pytestmark = pytest.mark.anyio

PROGRESS = "notifications/progress"


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


async def test_a_task_that_its_client_could_not_be_told_of_is_cancelled(bare_line: Line):
    async with scene(bare_line, KNOWS_TASKS) as (pooler, client):
        pooler.say("Run", accepted(run="run.1"), asyncio.Event())
        pooler.say("GetRun", Refusal("STORE_FULL", 8, "Nothing more can be kept."))
        pooler.say("CancelRun", state(pb.RUN_STATUS_CANCELLED))
        response = await client.call("long")
        await eventually(lambda: len(pooler.heard_of(pb.CancelRunRequest)) == 1)
    assert response.result["isError"] is True


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
