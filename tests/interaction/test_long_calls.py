"""Long calls over the whole line: progress, questions and tasks, by whichever frontend a client happens to meet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.interaction.line import PATIENCE_SECONDS, Line, eventually
from tests.interaction.modern_client import KNOWS_TASKS, ModernClient, modern_client

pytestmark = pytest.mark.anyio

TOKENS = [{"token": f"{name}-{'0' * 16}", "tenant": "shop", "principal": name} for name in ("alice", "bob")]
PROGRESS, MESSAGE = "notifications/progress", "notifications/message"


def operation(method: str, effect: str = "read", **more: Any) -> dict[str, Any]:
    return {"backend": "sim", "method": method, "effect": effect, "timeout_seconds": 60, **more}


REPORT = {"steps": {"type": "integer"}, "seconds": {"type": "number"}}
QUESTION = {"question": {"type": "string"}}
SECONDS = {"seconds": {"type": "number"}}

CONFIGURATION: dict[str, Any] = {
    "backends": {"sim": {"kind": "simulated", "pool": {"cap": 1, "warm": 1, "queue_timeout_seconds": 30}}},
    "operations": {
        "ask": operation("ask", arguments=QUESTION, asks=True),
        "delete": operation("write", "write", arguments={"count": {"type": "integer"}}, confirm="Delete {count}?"),
        "long_ask": operation("ask", arguments=QUESTION, asks=True, long=True),
        "long_report": operation("report", arguments=REPORT, long=True),
        "report": operation("report", arguments=REPORT, resource="report://{steps}/{seconds}"),
        "work": operation("work", arguments=SECONDS),
    },
}


@pytest.fixture
async def line(bare_line: Line) -> Line:
    """A pooler with one connection, and two frontends."""
    await bare_line.start_pooler(CONFIGURATION)
    for _ in range(2):
        await bare_line.start_frontend(tokens=TOKENS)
    return bare_line


class Clients:
    """The same client at the first frontend and at the second."""

    def __init__(self, first: ModernClient, second: ModernClient) -> None:
        self.first = first
        self.second = second


@asynccontextmanager
async def clients(line: Line, capabilities: dict[str, Any] | None = None, who: str = "alice") -> AsyncIterator[Clients]:
    urls = [f"http://{server.address}/mcp" for server in line.frontends]
    async with modern_client(urls[0], capabilities) as first, modern_client(urls[1], capabilities) as second:
        for client in (first, second):
            client.http.headers["authorization"] = f"Bearer {who}-{'0' * 16}"
        yield Clients(first, second)


async def ended(client: ModernClient, task: str) -> dict[str, Any]:
    """A task once it has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            state = (await client.ask("tasks/get", taskId=task)).result
            if state["status"] not in ("working", "input_required"):
                return state
            await asyncio.sleep(0.02)


async def status(client: ModernClient, task: str, awaited: str) -> dict[str, Any]:
    """A task once it has this status."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            state = (await client.ask("tasks/get", taskId=task)).result
            if state["status"] == awaited:
                return state
            await asyncio.sleep(0.02)


def busy(line: Line) -> int:
    return line.system().counts().busy


async def test_the_steps_of_the_work_are_told_as_they_come(line: Line):
    async with clients(line) as client:
        response = await client.first.call("report", {"steps": 3, "seconds": 1.5}, _meta={"progressToken": 1})
    told = response.told(PROGRESS)
    assert [each["message"] for each in told if "step" in each["message"]] == [f"step {n} of 3" for n in (1, 2, 3)]
    values = [each["progress"] for each in told]
    assert values == sorted(set(values))
    assert values[-3:] == [1, 2, 3]
    assert response.result["structuredContent"] == {"result": "3 steps"}


async def test_whoever_waits_hears_of_his_place(line: Line):
    async with clients(line) as client:
        ahead = asyncio.create_task(client.first.call("work", {"seconds": 0.5}))
        await eventually(lambda: busy(line) == 1)
        response = await client.second.call("report", {"steps": 1, "seconds": 0}, _meta={"progressToken": 1})
        await ahead
    words = [each["message"] for each in response.told(PROGRESS)]
    assert words[0] == "queued, next in line"
    assert words[-1] == "step 1 of 1"


async def test_a_resource_tells_of_its_progress_too(line: Line):
    async with clients(line) as client:
        response = await client.first.ask("resources/read", uri="report://1/0", _meta={"progressToken": "x"})
    assert response.told(PROGRESS)[-1] == {"progressToken": "x", "progress": 1, "total": 1, "message": "step 1 of 1"}


async def test_a_log_line_is_told_to_whoever_asked_for_its_level(line: Line):
    async with clients(line) as client:
        level = {"io.modelcontextprotocol/logLevel": "info"}
        heard = await client.first.call("report", {"steps": 1, "seconds": 0}, _meta=level)
        unheard = await client.first.call("report", {"steps": 1, "seconds": 0}, _meta={"progressToken": 1})
    assert [each["data"] for each in heard.told(MESSAGE)] == [{"steps": 1}]
    assert unheard.told(MESSAGE) == []


async def test_a_client_that_leaves_a_followed_call_stops_its_work(line: Line):
    async with clients(line) as client:
        params: dict[str, Any] = {"name": "work", "arguments": {"seconds": 60}, "_meta": {"progressToken": 1}}
        async with client.first.open("tools/call", **params) as response:
            assert "at work" in await anext(response.aiter_text())
            assert busy(line) == 1
        await eventually(lambda: busy(line) == 0)


async def test_a_followed_read_whose_way_breaks_says_that_it_may_be_repeated(line: Line):
    async with clients(line) as client:
        params: dict[str, Any] = {
            "name": "report",
            "arguments": {"steps": 1, "seconds": 60},
            "_meta": {"progressToken": 1},
        }
        async with client.first.open("tools/call", **params) as response:
            text = response.aiter_text()
            assert "at work" in await anext(text)  # the run is known here: before, the call would be made anew
            await line.relay.cut()
            await eventually(lambda: busy(line) == 0)  # by then the pooler has noticed; before, the run would go on
            await line.relay.open()
            rest = "".join([piece async for piece in text])
    assert '"isError":true' in rest
    assert "may safely be repeated" in rest


# Questions


async def test_a_question_of_one_frontend_is_answered_through_another(line: Line):
    async with clients(line, {"elicitation": {}}) as client:
        asked = (await client.first.call("ask", {"question": "Who?"})).result
        assert asked["resultType"] == "input_required"
        assert asked["inputRequests"]["answer"]["params"]["message"] == "Who?"
        answer = {"answer": {"action": "accept", "content": {}}}
        again = {"inputResponses": answer, "requestState": asked["requestState"]}
        done = (await client.second.call("ask", {"question": "Who?"}, **again)).result
    assert done["structuredContent"] == {"said": answer["answer"], "state": "asked Who?"}


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_a_write_is_begun_when_its_user_says_so_and_only_then(line: Line, action: str):
    async with clients(line, {"elicitation": {}}) as client:
        asked = (await client.first.call("delete", {"count": 3})).result
        assert asked["inputRequests"]["confirm"]["params"]["message"] == "Delete 3?"
        requests = line.system().requests_total
        again = {"inputResponses": {"confirm": {"action": action}}, "requestState": asked["requestState"]}
        done = (await client.second.call("delete", {"count": 3}, **again)).result
    carried_out = line.system().requests_total - requests
    if action == "accept":
        assert (carried_out, done["structuredContent"]) == (1, {"rows_affected": 3})
    else:
        assert (carried_out, done["isError"]) == (0, True)


async def test_a_state_that_was_changed_or_is_another_calls_is_refused(line: Line):
    async with clients(line, {"elicitation": {}}) as client:
        state = (await client.first.call("delete", {"count": 3})).result["requestState"]
        yes = {"confirm": {"action": "accept"}}
        tampered = await client.first.call("delete", {"count": 3}, inputResponses=yes, requestState=state + "x")
        moved = await client.first.call("delete", {"count": 4}, inputResponses=yes, requestState=state)
        async with clients(line, {"elicitation": {}}, who="bob") as other:
            stolen = await other.first.call("delete", {"count": 3}, inputResponses=yes, requestState=state)
    assert {each.error["code"] for each in (tampered, moved, stolen)} == {-32602}


@pytest.mark.parametrize("name", ["ask", "delete"])
async def test_a_client_that_cannot_be_asked_is_told_what_it_lacks(line: Line, name: str):
    arguments = {"question": "Who?"} if name == "ask" else {"count": 1}
    async with clients(line) as client:
        refused = await client.first.call(name, arguments)
    assert refused.error["code"] == -32021
    assert "elicitation" in refused.error["data"]["requiredCapabilities"]


# Tasks


async def test_a_task_begun_through_one_frontend_is_read_through_another(line: Line):
    async with clients(line, KNOWS_TASKS) as client:
        task = (await client.first.call("long_report", {"steps": 2, "seconds": 0.4})).result
        assert (task["resultType"], task["status"]) == ("task", "working")
        state = await ended(client.second, task["taskId"])
    assert state["status"] == "completed"
    assert state["result"]["structuredContent"] == {"result": "2 steps"}


async def test_a_task_says_what_is_happening(line: Line):
    async with clients(line, KNOWS_TASKS) as client:
        ahead = (await client.first.call("long_report", {"steps": 1, "seconds": 60})).result["taskId"]
        await eventually(lambda: busy(line) == 1)
        waiting = (await client.first.call("long_report", {"steps": 1, "seconds": 0})).result["taskId"]
        state = (await client.second.ask("tasks/get", taskId=waiting)).result
        assert state["statusMessage"] == "queued, next in line"
        await client.second.ask("tasks/cancel", taskId=ahead)
        assert (await ended(client.first, waiting))["status"] == "completed"


async def test_a_task_cancelled_through_another_frontend_stops_its_work(line: Line):
    async with clients(line, KNOWS_TASKS) as client:
        task = (await client.first.call("long_report", {"steps": 1, "seconds": 60})).result["taskId"]
        await eventually(lambda: busy(line) == 1)
        await client.second.ask("tasks/cancel", taskId=task)
        await eventually(lambda: busy(line) == 0)
        assert (await ended(client.first, task))["status"] == "cancelled"
        assert (await client.first.ask("tasks/cancel", taskId=task)).result["resultType"] == "complete"


async def test_a_task_asks_its_user_and_goes_on_with_the_answer(line: Line):
    async with clients(line, KNOWS_TASKS) as client:
        task = (await client.first.call("long_ask", {"question": "Who?"})).result["taskId"]
        state = await status(client.second, task, "input_required")
        assert state["inputRequests"]["answer"]["method"] == "elicitation/create"
        assert busy(line) == 0
        answer = {"answer": {"action": "accept", "content": {}}}
        await client.second.ask("tasks/update", taskId=task, inputResponses=answer)
        assert (await ended(client.first, task))["result"]["structuredContent"]["said"] == answer["answer"]


async def test_somebody_elses_task_is_none(line: Line):
    async with clients(line, KNOWS_TASKS) as client, clients(line, KNOWS_TASKS, who="bob") as other:
        task = (await client.first.call("long_report", {"steps": 1, "seconds": 0})).result["taskId"]
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            assert (await other.first.ask(method, taskId=task, inputResponses={})).error["code"] == -32602
        assert (await ended(client.first, task))["status"] == "completed"


async def test_a_task_outlives_the_way_over_which_it_was_begun(line: Line):
    async with clients(line, KNOWS_TASKS) as client:
        task = (await client.first.call("long_report", {"steps": 1, "seconds": 0.5})).result["taskId"]
        await line.relay.cut()
        await line.relay.open()
        assert (await ended(client.second, task))["status"] == "completed"


async def test_a_task_whose_pooler_has_gone_is_said_to_be_lost(line: Line):
    async with clients(line, KNOWS_TASKS) as client:
        task = (await client.first.call("long_report", {"steps": 1, "seconds": 0})).result["taskId"]
        await ended(client.first, task)
        await line.stop_pooler()
        await line.start_pooler(CONFIGURATION)
        lost = await client.second.ask("tasks/get", taskId=task)
    assert lost.error["code"] == -32602
    assert "task" in lost.error["message"] or "run" in lost.error["message"]


async def test_a_2025_client_gets_an_ordinary_answer_from_a_long_tool(line: Line):
    async with line.client("legacy", token=f"alice-{'0' * 16}") as client:
        result = await client.call_tool("long_report", {"steps": 1, "seconds": 0})
    assert result.structured_content == {"result": "1 steps"}
