"""What a worker says in MCP's own form reaches the client as it was said; what the caller is reaches the worker."""

import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.interaction.line import Line, modern

pytestmark = pytest.mark.anyio

METHODS = ("blocks", "failing", "broken_content", "protocol_error")
TOKEN = "0123456789abcdef"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def workers(bare_line: Line) -> Line:
    """A line whose backend is the worker beside this file."""
    content: dict[str, Any] = {
        name: {"backend": "w", "method": name, "effect": "read", "returns": "content"} for name in METHODS
    }
    content["protocol_error"]["resource"] = "pages://seven"
    content["broken_content"]["resource"] = "broken://content"
    whoami = {"backend": "w", "method": "whoami", "effect": "read", "returns": {"type": "object"}}
    command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
    backend = {"kind": "process", "command": command, "pool": {"cap": 1, "warm": 1}}
    await bare_line.start_pooler({"backends": {"w": backend}, "operations": {**content, "whoami": whoami}})
    await bare_line.start_frontend(tokens=[{"token": TOKEN, "tenant": "acme", "principal": "ana"}])
    return bare_line


async def test_content_blocks_pass_through_untouched(workers: Line, era: str) -> None:
    async with workers.client(era, TOKEN) as client:
        result = await client.call_tool("blocks", {})
    wire = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert wire["content"] == [
        {"type": "text", "text": "a", "annotations": {"audience": ["user"], "priority": 0.5}},
        {"type": "resource_link", "uri": "x://y", "name": "y", "mimeType": "text/plain"},
    ]
    assert wire["structuredContent"] == {"n": 1}
    assert wire["_meta"]["example.com/a"] == 1
    assert "penstock/timing" in wire["_meta"]


async def test_a_workers_own_error_result_stays_one(workers: Line, era: str) -> None:
    async with workers.client(era, TOKEN) as client:
        result = await client.call_tool("failing", {})
    assert result.is_error is True
    assert "penstock/error" not in (result.meta or {})


async def test_content_that_is_none_is_told_without_its_details(workers: Line, era: str) -> None:
    async with workers.client(era, TOKEN) as client:
        result = await client.call_tool("broken_content", {})
        with pytest.raises(MCPError) as caught:
            await client.read_resource("broken://content")
    assert result.is_error is True
    assert (result.meta or {})["penstock/error"]["reason"] == "INTERNAL"
    assert "'broken_content' answered with what is no MCP CallToolResult" in str(result.content)
    assert "nonsense" not in str(result.content)
    assert caught.value.code == -32603
    assert "no MCP ReadResourceResult" in caught.value.message


async def test_a_workers_protocol_error_keeps_its_code_and_data(workers: Line, era: str) -> None:
    async with workers.client(era, TOKEN) as client:
        with pytest.raises(MCPError) as tool:
            await client.call_tool("protocol_error", {})
        with pytest.raises(MCPError) as resource:
            await client.read_resource("pages://seven")
    for caught in (tool, resource):
        assert (caught.value.code, caught.value.message, caught.value.data) == (-32007, "No such page", {"page": 7})


async def test_who_asks_and_under_which_trace_reaches_the_worker(workers: Line) -> None:
    call = modern("tools/call", {"name": "whoami", "arguments": {}}, "whoami")
    call["headers"] |= {"authorization": f"Bearer {TOKEN}", "traceparent": TRACE}
    async with workers.http() as http:
        seen = [(await http.post(workers.url, **call)).json()["result"]["structuredContent"] for _ in range(2)]
    assert [(each["tenant"], each["principal"], each["traceparent"]) for each in seen] == [("acme", "ana", TRACE)] * 2
    assert seen[0]["requestId"] != seen[1]["requestId"]


async def test_a_trace_in_the_request_wins_over_the_header_and_nonsense_is_dropped(workers: Line) -> None:
    inner = TRACE.replace("0af7", "1bf8")
    call = modern("tools/call", {"name": "whoami", "arguments": {}}, "whoami")
    call["headers"] |= {"authorization": f"Bearer {TOKEN}", "traceparent": TRACE}
    async with workers.http() as http:
        call["json"]["params"]["_meta"]["traceparent"] = inner
        first = (await http.post(workers.url, **call)).json()["result"]["structuredContent"]
        call["json"]["params"]["_meta"]["traceparent"] = "no trace\r\n"
        second = (await http.post(workers.url, **call)).json()["result"]["structuredContent"]
    assert first["traceparent"] == inner
    assert "traceparent" not in second
