"""Results page by page through the whole line: by an MCP client, and by a program that has nothing but the cursor."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests.interaction import wire
from tests.interaction.line import SIMULATED, Line

pytestmark = pytest.mark.anyio

ROWS, PAGE_ROWS = 1000, 70
MANY: dict[str, Any] = {
    "backend": "sim",
    "description": "Many rows.",
    "method": "rows",
    "paged": True,
    "arguments": {"count": {"type": "integer"}},
    "effect": "read",
    "page_rows": PAGE_ROWS,
}
CONFIG = {**SIMULATED, "operations": {**SIMULATED["operations"], "many": MANY}}


@pytest.fixture
async def line(bare_line: Line) -> Line:
    """A line with an operation that has pages."""
    await bare_line.start_pooler(CONFIG)
    await bare_line.start_frontend()
    return bare_line


@asynccontextmanager
async def stub(line: Line) -> AsyncIterator["pooler_pb2_grpc.PoolerServiceAsyncStub"]:
    async with wire.stub(line.pooler.address) as opened:
        yield opened


def context(**facts: Any) -> pb.CallContext:
    return pb.CallContext(timeout_ms=10_000, **facts)


async def first_page(stub: Any, conversation: str = "") -> dict[str, Any]:
    request = wire.request("many", count=ROWS)
    request.context.conversation = conversation
    table: dict[str, Any] = orjson.loads((await stub.Call(request)).result)
    return table


async def refusal(stub: Any, cursor: str, **facts: Any) -> tuple[str, str, str]:
    """Why a page cannot be fetched: status, reason, words."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.FetchPage(pb.FetchPageRequest(context=context(**facts), cursor=cursor))
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(raised.value)  # type: ignore[arg-type]
    assert status.details[0].Unpack(info)
    return raised.value.code().name, info.reason, status.message


async def test_a_tool_with_pages_says_how_they_are_asked_for(line: Line, era: str) -> None:
    async with line.client(era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    schema = tools["many"].input_schema
    assert schema["required"] == ["count"]
    assert schema["properties"]["cursor"]["type"] == "string"
    assert "cursor" not in tools["rows"].input_schema["properties"]


async def test_a_client_pages_a_result_to_its_end_through_any_instance(line: Line, era: str) -> None:
    await line.start_frontend()
    rows: list[Any] = []
    sizes: list[int] = []
    arguments: dict[str, Any] = {"count": ROWS}
    async with line.client(era) as one:
        line.frontends.reverse()
        async with line.client(era) as other:
            while True:
                client = (one, other)[len(sizes) % 2]
                table = (await client.call_tool("many", arguments)).structured_content
                rows += table["rows"]
                sizes.append(table["row_count"])
                if "next_cursor" not in table:
                    break
                arguments["cursor"] = table["next_cursor"]
    assert rows == [[number, f"row {number}"] for number in range(ROWS)]
    assert sizes == [PAGE_ROWS] * (ROWS // PAGE_ROWS) + [ROWS % PAGE_ROWS]
    assert line.system().requests_total == 1


async def test_a_model_reads_what_to_do_about_a_cursor_that_is_good_for_nothing(line: Line, era: str) -> None:
    async with line.client(era) as client:
        table = (await client.call_tool("many", {"count": ROWS})).structured_content
        wrong = await client.call_tool("many", {"count": 7, "cursor": table["next_cursor"]})
        made_up = await client.call_tool("many", {"count": ROWS, "cursor": "page2"})
    assert (wrong.is_error, made_up.is_error) == (True, True)
    assert "repeat the arguments with which many was called" in getattr(wrong.content[0], "text", "")
    assert "call the operation again without a cursor" in getattr(made_up.content[0], "text", "")


async def test_an_empty_cursor_asks_for_the_first_page(line: Line, era: str) -> None:
    async with line.client(era) as client:
        table = (await client.call_tool("many", {"count": 3, "cursor": ""})).structured_content
    assert (table["row_count"], "next_cursor" in table) == (3, False)


async def test_a_method_without_pages_is_cut_as_it_ever_was(bare_line: Line) -> None:
    cut = {key: value for key, value in MANY.items() if key != "paged"}
    await bare_line.start_pooler({**SIMULATED, "operations": {"many": cut}})
    async with stub(bare_line) as data:
        table = await first_page(data)
    assert (table["row_count"], table["truncated"], "next_cursor" in table) == (PAGE_ROWS, True, False)


async def test_whoever_has_nothing_but_the_cursor_gets_every_page(line: Line) -> None:
    async with stub(line) as data:
        tables = [await first_page(data)]
        while cursor := tables[-1].get("next_cursor"):
            reply = await data.FetchPage(pb.FetchPageRequest(context=context(), cursor=cursor))
            assert reply.kind == pb.RESULT_KIND_VALUE
            tables.append(orjson.loads(reply.result))
    assert [row[0] for table in tables for row in table["rows"]] == list(range(ROWS))


async def test_a_cursor_opens_for_nobody_else(line: Line) -> None:
    async with stub(line) as data:
        cursor = (await first_page(data))["next_cursor"]
        for whose in ({"tenant": "other"}, {"principal": "bob"}):
            status, reason, words = await refusal(data, cursor, **whose)
            assert (status, reason) == ("NOT_FOUND", "HANDLE_UNKNOWN")
            assert "call the operation again without a cursor" in words


async def test_a_fetch_needs_a_bound_as_every_call_does(line: Line) -> None:
    async with stub(line) as data:
        cursor = (await first_page(data))["next_cursor"]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await data.FetchPage(pb.FetchPageRequest(cursor=cursor))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_pooler_that_was_restarted_has_lost_what_it_kept_and_says_so(line: Line) -> None:
    async with stub(line) as data:
        cursor = (await first_page(data))["next_cursor"]
    await line.stop_pooler()
    await line.start_pooler(CONFIG)
    async with stub(line) as data:
        status, reason, words = await refusal(data, cursor)
    assert (status, reason) == ("UNAVAILABLE", "HANDLE_LOST")
    assert "call the operation again without a cursor" in words


async def test_a_conversations_cursors_end_with_it(line: Line) -> None:
    async with stub(line) as data:
        conversation = (await data.OpenConversation(pb.OpenConversationRequest(context=context()))).conversation
        kept = await first_page(data, conversation)
        other = await first_page(data)
        await data.CloseConversation(pb.CloseConversationRequest(context=context(), conversation=conversation))
        assert (await refusal(data, kept["next_cursor"]))[:2] == ("NOT_FOUND", "HANDLE_EXPIRED")
        reply = await data.FetchPage(pb.FetchPageRequest(context=context(), cursor=other["next_cursor"]))
    assert orjson.loads(reply.result)["rows"][0][0] == PAGE_ROWS


async def test_of_a_result_that_nobody_will_go_on_with_nothing_is_kept(line: Line) -> None:
    async with stub(line) as data:
        request = wire.request("many", count=ROWS)
        request.first_page_only = True
        table = orjson.loads((await data.Call(request)).result)
    assert (table["row_count"], table["truncated"], "next_cursor" in table) == (PAGE_ROWS, True, False)


async def test_a_resource_that_is_no_tool_is_cut_to_its_first_page_and_says_so(bare_line: Line, era: str) -> None:
    arguments = {"count": {"type": "integer", "default": ROWS}}
    operations = {
        "all": {**MANY, "arguments": arguments, "tool": False, "resource": "sim://all"},
        "tool": {**MANY, "arguments": arguments, "resource": "sim://tool"},
    }
    await bare_line.start_pooler({**SIMULATED, "operations": operations, "prompts": {}})
    await bare_line.start_frontend()
    async with bare_line.client(era) as client:
        cut, whole = [
            orjson.loads(getattr((await client.read_resource(uri)).contents[0], "text", ""))
            for uri in ("sim://all", "sim://tool")
        ]
        assert (cut.get("truncated"), "next_cursor" in cut) == (True, False)
        second = (await client.call_tool("tool", {"cursor": whole["next_cursor"]})).structured_content
    assert second["rows"][0][0] == PAGE_ROWS


@pytest.fixture
async def shop(bare_line: Line, tmp_path: Path) -> Line:
    """A pooler over a table that is read by key."""
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(n, "C" * (n % 2)) for n in range(ROWS)])
    by_key = {
        "backend": "shop",
        "statement": "SELECT id FROM orders WHERE customer <> :customer",
        "arguments": {"customer": {"type": "string"}},
        "effect": "read",
        "page_rows": PAGE_ROWS,
        "order_by": ["id desc"],
    }
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    await bare_line.start_pooler(
        {
            "backends": {"shop": {"kind": "sqlalchemy", "url": url, "pool": {"cap": 1}}},
            "operations": {"by_key": by_key},
        }
    )
    return bare_line


async def test_pages_by_key_are_fetched_by_their_cursor_alone_where_the_arguments_are_short(shop: Line) -> None:
    async with stub(shop) as data:
        tables = [orjson.loads((await data.Call(wire.request("by_key", customer="C"))).result)]
        while cursor := tables[-1].get("next_cursor"):
            reply = await data.FetchPage(pb.FetchPageRequest(context=context(), cursor=cursor))
            tables.append(orjson.loads(reply.result))
    assert [row[0] for table in tables for row in table["rows"]] == list(range(ROWS - 2, -1, -2))


async def test_a_cursor_by_key_that_has_no_room_for_its_arguments_asks_for_them(shop: Line) -> None:
    async with stub(shop) as data:
        long = "x" * 200
        cursor = orjson.loads((await data.Call(wire.request("by_key", customer=long))).result)["next_cursor"]
        status, reason, words = await refusal(data, cursor)
        assert (status, reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENTS")
        assert "call by_key again with them, and with the cursor as `cursor`" in words
        table = orjson.loads((await data.Call(wire.request("by_key", customer=long, cursor=cursor))).result)
    assert table["rows"][0] == [ROWS - 1 - PAGE_ROWS]


async def test_a_reload_that_changes_the_keys_ends_the_cursors_that_went_by_them(shop: Line) -> None:
    async with stub(shop) as data:
        cursor = orjson.loads((await data.Call(wire.request("by_key", customer="C"))).result)["next_cursor"]
        operations = {
            "by_key": {
                "backend": "shop",
                "statement": "SELECT id, customer FROM orders WHERE customer <> :customer",
                "arguments": {"customer": {"type": "string"}},
                "effect": "read",
                "order_by": ["customer", "id"],
            }
        }
        await shop.reload({"operations": operations})
        with pytest.raises(grpc.aio.AioRpcError, match="This cursor belongs to another call"):
            await data.Call(wire.request("by_key", customer="C", cursor=cursor))
