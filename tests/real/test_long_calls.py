"""Long calls and the processes that carry them: a frontend that is killed, a client on standard input and output."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp_types import ElicitRequestParams, ElicitResult

from tests.interaction.modern_client import KNOWS_TASKS, ModernClient, modern_client
from tests.programs import Frontend, Pooler

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60
REPORT = {"steps": {"type": "integer"}, "seconds": {"type": "number"}}

CONFIGURATION: dict[str, Any] = {
    "backends": {"sim": {"kind": "simulated", "pool": {"cap": 1}}},
    "operations": {
        "ask": {
            "backend": "sim",
            "method": "ask",
            "arguments": {"question": {"type": "string"}},
            "effect": "read",
            "asks": True,
        },
        "report": {"backend": "sim", "method": "report", "arguments": REPORT, "effect": "write", "long": True},
    },
}


async def ended(client: ModernClient, task: str) -> tuple[dict[str, Any], set[str]]:
    """A task once it has ended, and what it said of itself meanwhile."""
    seen = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (state := (await client.ask("tasks/get", taskId=task)).result)["status"] == "working":
            seen.add(state.get("statusMessage", ""))
            await asyncio.sleep(0.05)
    return state, seen


async def test_a_task_outlives_the_frontend_that_it_was_begun_through(tmp_path: Path) -> None:
    with Pooler(tmp_path, CONFIGURATION) as pooler, Frontend(pooler.address) as other:
        with Frontend(pooler.address) as frontend:
            async with modern_client(frontend.url, KNOWS_TASKS) as client:
                task = (await client.call("report", {"steps": 4, "seconds": 2})).result
            assert task["status"] == "working"
            frontend.kill()
        async with modern_client(other.url, KNOWS_TASKS) as client:
            state, seen = await ended(client, task["taskId"])
    assert state["status"] == "completed"
    assert state["result"]["structuredContent"] == {"result": "4 steps"}
    assert "step 3 of 4" in seen


async def test_a_finished_task_outlives_the_pooler_that_ran_it_where_its_state_is_kept_in_a_file(
    tmp_path: Path,
) -> None:
    configuration = {**CONFIGURATION, "pooler": {"store": "sqlite"}}
    with Pooler(tmp_path, configuration) as pooler, Frontend(pooler.address) as frontend:
        async with modern_client(frontend.url, KNOWS_TASKS) as client:
            done = (await client.call("report", {"steps": 1, "seconds": 0})).result["taskId"]
            await ended(client, done)
            cut_short = (await client.call("report", {"steps": 1, "seconds": 60})).result["taskId"]
        pooler.kill()
    with Pooler(tmp_path, configuration) as pooler, Frontend(pooler.address) as frontend:
        async with modern_client(frontend.url, KNOWS_TASKS) as client:
            kept = (await client.ask("tasks/get", taskId=done)).result
            lost = (await client.ask("tasks/get", taskId=cut_short)).result
    assert (kept["status"], kept["result"]["structuredContent"]) == ("completed", {"result": "1 steps"})
    assert lost["result"]["isError"] is True
    assert lost["result"]["_meta"]["penstock/error"]["reason"] in ("HANDLE_LOST", "OUTCOME_UNKNOWN")


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_a_2025_client_on_standard_input_and_output_is_asked_while_it_waits(tmp_path: Path, action: Any) -> None:
    asked = []

    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action=action)

    with Pooler(tmp_path, CONFIGURATION) as pooler:
        variables = {"PENSTOCK_FRONTEND_POOLER": pooler.address}
        parameters = StdioServerParameters(command=sys.executable, args=["-m", "frontend", "--stdio"], env=variables)
        async with Client(stdio_client(parameters), mode="legacy", elicitation_callback=answer) as client:
            result = await client.call_tool("ask", {"question": "Who?"})
    assert asked == ["Who?"]
    assert result.structured_content == {"said": {"action": action}, "state": "asked Who?"}


async def test_a_2025_client_on_standard_input_and_output_that_cannot_be_asked_is_told_so(tmp_path: Path) -> None:
    with Pooler(tmp_path, CONFIGURATION) as pooler:
        variables = {"PENSTOCK_FRONTEND_POOLER": pooler.address}
        parameters = StdioServerParameters(command=sys.executable, args=["-m", "frontend", "--stdio"], env=variables)
        async with Client(stdio_client(parameters), mode="legacy") as client:
            result = await client.call_tool("ask", {"question": "Who?"})
    assert result.is_error
    assert "elicitation" in result.content[0].text
