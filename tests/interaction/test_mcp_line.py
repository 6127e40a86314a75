"""What an MCP client sees of a line that works, in both eras of the protocol."""

from typing import Any

import orjson
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference

from tests.interaction.line import MODERN, SIMULATED, Line

pytestmark = pytest.mark.anyio


async def test_tools_are_listed_with_what_they_do(line: Line, era: str) -> None:
    async with line.client(era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["echo", "rows", "work", "write_slowly", "wrong"]
    assert tools["echo"].input_schema["required"] == ["value"]
    reads, writes = tools["echo"].annotations, tools["write_slowly"].annotations
    assert reads is not None
    assert writes is not None
    assert (reads.read_only_hint, reads.destructive_hint, reads.idempotent_hint) == (True, False, True)
    assert (writes.read_only_hint, writes.destructive_hint, writes.idempotent_hint) == (False, True, False)


async def test_a_call_answers_with_structured_content_and_the_same_as_text(line: Line, era: str) -> None:
    async with line.client(era) as client:
        result = await client.call_tool("echo", {"value": "grüß Gott"})
    assert result.is_error is False
    assert result.structured_content == {"result": "grüß Gott"}
    assert [orjson.loads(block.text) for block in result.content if block.type == "text"] == [{"result": "grüß Gott"}]


async def test_a_result_says_where_the_time_went(line: Line, era: str) -> None:
    async with line.client(era) as client:
        result = await client.call_tool("work", {"seconds": 0.05})
    timing = (result.meta or {})["penstock/timing"]
    assert timing.keys() == {"queue_ms", "start_ms", "reset_ms", "backend_ms"}
    assert timing["backend_ms"] > 25


async def test_a_result_larger_than_any_piece_arrives_whole(line: Line) -> None:
    async with line.client(MODERN) as client:
        result = await client.call_tool("rows", {"count": 60_000})
    table = result.structured_content
    assert table["row_count"] == 60_000
    assert table["rows"][-1] == [59_999, "row 59999"]
    assert len(orjson.dumps(table)) > 1_000_000


async def test_misfitting_arguments_are_all_told_to_the_model_and_reach_no_backend(line: Line, era: str) -> None:
    async with line.client(era) as client:
        result = await client.call_tool("work", {"seconds": -1, "surplus": True})
    assert result.is_error is True
    (block,) = result.content
    assert block.type == "text"
    assert "2 arguments do not fit" in block.text
    assert "seconds: -1 is less than the minimum of 0" in block.text
    assert "'surplus' was unexpected" in block.text
    assert line.system().requests_total == 0


async def test_an_unknown_tool_is_a_protocol_error(line: Line, era: str) -> None:
    async with line.client(era) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("ecko", {"value": "x"})
    assert caught.value.code == -32602
    assert "did you mean 'echo'?" in caught.value.message


async def test_what_the_backend_refuses_is_told_in_its_own_words(line: Line, era: str) -> None:
    async with line.client(era) as client:
        result = await client.call_tool("wrong", {})
    assert result.is_error is True
    (block,) = result.content
    assert block.type == "text"
    assert "sim" in block.text
    assert "no request that this system understands" in block.text
    assert (result.meta or {})["penstock/error"]["reason"] == "REFUSED"


async def test_resources_and_templates_are_listed_and_read(line: Line, era: str) -> None:
    async with line.client(era) as client:
        plain = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        read = await client.read_resource("echo://a%20b")
        motto = await client.read_resource("sim://motto")
    assert [(resource.uri, resource.name) for resource in plain] == [("sim://motto", "motto")]
    assert [(each.uri_template, each.mime_type) for each in templates] == [("echo://{value}", "application/json")]
    (contents,) = read.contents
    assert (contents.uri, contents.mime_type) == ("echo://a%20b", "application/json")
    assert orjson.loads(getattr(contents, "text", "")) == {"result": "a b"}
    assert orjson.loads(getattr(motto.contents[0], "text", ""))["row_count"] == 2


async def test_an_unknown_resource_is_a_protocol_error_that_names_it(line: Line, era: str) -> None:
    async with line.client(era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("nowhere://x")
    assert (caught.value.code, caught.value.data) == (-32602, {"uri": "nowhere://x"})


async def test_a_prompt_is_listed_and_filled_in(line: Line, era: str) -> None:
    async with line.client(era) as client:
        (prompt,) = (await client.list_prompts()).prompts
        filled = await client.get_prompt("greet", {"name": "Ana"})
    assert (prompt.name, prompt.description) == ("greet", "A greeting.")
    assert [(message.role, getattr(message.content, "text", "")) for message in filled.messages] == [
        ("user", "Dear Ana!")
    ]


async def test_an_argument_is_completed_by_the_operation_that_it_names(bare_line: Line, era: str) -> None:
    operations: dict[str, Any] = {
        **SIMULATED["operations"],
        "numbers": {
            "backend": "sim",
            "method": "rows",
            "arguments": {"count": {"type": "integer", "default": 200}},
            "effect": "read",
            "tool": False,
        },
        "pick": {
            "backend": "sim",
            "method": "echo",
            "arguments": {"value": {"type": "string", "complete": "numbers"}},
            "effect": "read",
            "resource": "pick://{value}",
        },
    }
    await bare_line.start_pooler({**SIMULATED, "operations": operations})
    await bare_line.start_frontend()
    async with bare_line.client(era) as client:
        reference = ResourceTemplateReference(uri="pick://{value}")
        narrow = (await client.complete(reference, {"name": "value", "value": "19"})).completion
        wide = (await client.complete(reference, {"name": "value", "value": ""})).completion
    assert narrow.values == ["19", *(str(number) for number in range(190, 200))]
    assert (len(wide.values), wide.total, wide.has_more) == (100, 200, True)


async def test_lists_say_how_long_they_keep_and_for_whom(line: Line) -> None:
    async with line.client(MODERN) as client:
        tools = await client.list_tools()
        read = await client.read_resource("sim://motto")
    assert (tools.ttl_ms, tools.cache_scope) == (60_000, "public")
    assert (read.ttl_ms, read.cache_scope) == (0, "private")


async def test_a_list_behind_tokens_is_nobody_elses(bare_line: Line) -> None:
    await bare_line.start_pooler()
    await bare_line.start_frontend(tokens=[{"token": "0123456789abcdef"}])
    async with bare_line.client(MODERN, token="0123456789abcdef") as client:
        assert (await client.list_tools()).cache_scope == "private"


async def test_any_instance_answers_any_request(line: Line, era: str) -> None:
    await line.start_frontend()
    async with line.client(era) as client:
        await client.list_tools()
        line.frontends.reverse()
        async with line.client(era) as other:
            assert (await other.call_tool("echo", {"value": "x"})).is_error is False
        assert (await client.call_tool("echo", {"value": "y"})).is_error is False


async def test_a_reload_of_the_pooler_reaches_the_frontend(line: Line, era: str) -> None:
    operations = {name: operation for name, operation in SIMULATED["operations"].items() if name != "wrong"}
    async with line.client(era) as client:
        before = {tool.name for tool in (await client.list_tools()).tools}
        await line.reload({"operations": operations})
        after = before
        while after == before:
            after = {tool.name for tool in (await client.list_tools()).tools}
    assert before - after == {"wrong"}
