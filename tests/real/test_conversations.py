"""Conversations and the processes that carry them: frontends that are killed, and clients that go on with another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.interaction.talker import Event, Talker, tool
from tests.programs import Frontend, Pooler
from tests.real.test_faults import eventually
from tests.round_robin import round_robin
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60
ROWS, PAGE_ROWS = 1000, 70
AHEAD, NAP_SECONDS = 4, 1.0
WRITES = 6


def config(server: PostgresServer, cap: int) -> dict[str, Any]:
    seconds = {"seconds": {"type": "number"}}
    rows = "SELECT n FROM generate_series(1, :count::int) AS n, LATERAL (SELECT pg_sleep(0.0005 + 0 * n)) AS slow"
    write = "WITH slow AS (SELECT pg_sleep(:seconds)) INSERT INTO marks SELECT :mark::int FROM slow"
    return {
        "backends": {"db": {"kind": "postgres", "url": server.url, "pool": {"cap": cap}}},
        "operations": {
            "nap": {"backend": "db", "statement": "SELECT pg_sleep(:seconds)", "arguments": seconds, "effect": "read"},
            "rows": {
                "backend": "db",
                "statement": rows,
                "arguments": {"count": {"type": "integer"}},
                "effect": "read",
                "page_rows": PAGE_ROWS,
            },
            "mark": {
                "backend": "db",
                "statement": write,
                "arguments": {**seconds, "mark": {"type": "integer"}},
                "effect": "write",
            },
        },
    }


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        yield client


async def heard_until_killed(talker: Talker, frontend: Frontend, count: int) -> list[Event]:
    """The events of a slow query, whose frontend is killed as soon as so many have come."""
    heard: list[Event] = []

    async def hear() -> None:
        async with talker.stream(tool("rows", {"count": ROWS}, token="t")) as events:
            async for event in events:
                heard.append(event)
                if len(heard) == count:
                    frontend.kill()

    with pytest.raises(httpx.TransportError):
        await hear()
    return heard


async def heard_after(talker: Talker, name: str) -> list[Event]:
    """What comes after an event of this name, to the stream's end; but for its opening."""
    async with asyncio.timeout(PATIENCE_SECONDS), talker.listen(after=name) as events:
        return [event async for event in events][1:]


async def all_rows(talker: Talker, table: dict[str, Any]) -> list[int]:
    """The rows of a first page, and of all that follow."""
    rows = [row[0] for row in table["rows"]]
    while (cursor := table.get("next_cursor")) is not None:
        answer = await talker.ask("tools/call", {"name": "rows", "arguments": {"count": ROWS, "cursor": cursor}})
        table = answer["result"]["structuredContent"]
        assert len(table["rows"]) <= PAGE_ROWS
        rows += [row[0] for row in table["rows"]]
    return rows


async def test_a_client_whose_frontend_is_killed_goes_on_at_the_other_and_gets_each_event_and_each_row_once(
    tmp_path: Path, postgres_server: PostgresServer, http: httpx.AsyncClient
) -> None:
    with (
        Pooler(tmp_path, config(postgres_server, cap=1)) as pooler,
        Frontend(pooler.address) as one,
        Frontend(pooler.address) as other,
    ):
        ahead, talker = Talker(http, other.url), Talker(http, one.url)
        await ahead.open()
        await talker.open()
        nap = {"name": "nap", "arguments": {"seconds": NAP_SECONDS}}
        naps = [asyncio.create_task(ahead.ask("tools/call", nap, number)) for number in range(AHEAD)]
        await asyncio.to_thread(eventually, 1, postgres_server.sleeping)
        before = await heard_until_killed(talker, one, count=3)
        talker.url = other.url
        after = await heard_after(talker, before[-1].id)
        whole = await heard_after(talker, before[0].id)
        rows = await all_rows(talker, after[-1].message["result"]["structuredContent"])
        await asyncio.gather(*naps)
    assert before[1:] + after == whole
    progress = [event.message["params"] for event in whole[:-1]]
    assert [step["progress"] for step in progress] == sorted({step["progress"] for step in progress})
    assert "queued, 1 ahead" in [step["message"] for step in progress]
    assert progress[-1]["message"] == "at work"
    assert rows == list(range(1, ROWS + 1))


async def test_writes_under_way_when_a_frontend_is_killed_are_answered_by_the_other_and_happen_once(
    tmp_path: Path, postgres_server: PostgresServer, http: httpx.AsyncClient
) -> None:
    postgres_server.run_as_owner("CREATE TABLE marks (mark int)")
    with (
        Pooler(tmp_path, config(postgres_server, cap=WRITES)) as pooler,
        Frontend(pooler.address) as one,
        Frontend(pooler.address) as other,
    ):
        async with (
            round_robin([one.url, other.url]) as (address, proxy),
            Client(streamable_http_client(address, http_client=http), mode="legacy", cache=None) as client,
        ):
            served = proxy.served[one.url]
            calls = [
                asyncio.create_task(client.call_tool("mark", {"seconds": 3, "mark": number}))
                for number in range(WRITES)
            ]
            await asyncio.to_thread(eventually, WRITES, postgres_server.sleeping)
            assert served < proxy.served[one.url] < served + WRITES
            one.kill()
            results = await asyncio.gather(*calls)
    assert [result.structured_content for result in results] == [{"rows_affected": 1}] * WRITES
    assert postgres_server.ask("SELECT count(*) FROM marks") == WRITES
    assert postgres_server.ask("SELECT count(DISTINCT mark) FROM marks") == WRITES
    postgres_server.run_as_owner("DROP TABLE marks")


async def test_a_frontend_that_is_asked_to_stop_hands_its_streams_over_before_it_ends(
    tmp_path: Path, postgres_server: PostgresServer, http: httpx.AsyncClient
) -> None:
    with (
        Pooler(tmp_path, config(postgres_server, cap=1)) as pooler,
        Frontend(pooler.address) as one,
        Frontend(pooler.address) as other,
    ):
        talker = Talker(http, one.url)
        await talker.open()
        async with talker.stream(tool("nap", {"seconds": 3})) as events, talker.listen() as news:
            opening = await anext(events)
            await asyncio.to_thread(eventually, 1, postgres_server.sleeping)
            stopping = asyncio.create_task(asyncio.to_thread(one.stop))
            # Both end as a server ends them; a stream that was cut would raise.
            assert [event async for event in events if "result" in event.message] == []
            assert [event async for event in news] == []
        assert await stopping == 0
        talker.url = other.url
        answer = (await heard_after(talker, opening.id))[-1].message
    assert answer["result"]["structuredContent"]["row_count"] == 1


async def test_a_conversation_outlives_its_pooler_and_a_call_that_was_under_way_is_said_to_be_lost(
    tmp_path: Path, postgres_server: PostgresServer, http: httpx.AsyncClient
) -> None:
    kept = config(postgres_server, cap=1) | {"pooler": {"store": "sqlite"}}
    before = Pooler(tmp_path, kept)
    with Frontend(before.address) as frontend:
        talker = Talker(http, frontend.url)
        await talker.open()
        await talker.ask("logging/setLevel", {"level": "error"})
        async with talker.stream(tool("nap", {"seconds": 60})) as events:
            await asyncio.to_thread(eventually, 1, postgres_server.sleeping)
            before.kill()
            kept["pooler"]["listen"] = before.address
            with Pooler(tmp_path, kept):
                answer = [event async for event in events][-1].message
                rows = await talker.ask("tools/call", {"name": "rows", "arguments": {"count": 3}})
    assert answer["result"]["_meta"]["penstock/error"]["reason"] == "HANDLE_LOST"
    assert rows["result"]["structuredContent"]["row_count"] == 3
