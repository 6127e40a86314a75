"""Large results of real databases, and readers who are slow, gone, or left without their pooler; the server counts."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest

from tests.interaction import wire
from tests.programs import Pooler
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

ROWS, PAGE_ROWS = 30_000, 1000
ENDLESS = 500_000_000
PATIENCE_SECONDS = 30

Server = PostgresServer | MariadbServer


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_server")


def at_work(server: Server) -> int:
    """How many of our connections have a statement under way, or a transaction open, by the server's own list."""
    if isinstance(server, PostgresServer):
        return server.ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'legacy' AND state <> 'idle'")
    return server.ask(
        "SELECT count(*) FROM information_schema.processlist WHERE user = 'legacy' AND command <> 'Sleep'"
    )


def config(server: Server, **spool: Any) -> dict[str, Any]:
    if isinstance(server, PostgresServer):
        kind, cap = "postgres", 1
        rows = "SELECT n, 'row ' || n AS label FROM (SELECT generate_series(1, :count::bigint) AS n) AS made"
    else:
        kind, cap = "sqlalchemy", 2  # one is the reserve for cancels
        rows = "SELECT seq AS n, concat('row ', seq) AS label FROM seq_1_to_500000000 WHERE seq <= :count"
    reads = {"backend": "db", "statement": rows, "arguments": {"count": {"type": "integer"}}, "effect": "read"}
    return {
        "pooler": {"spool": {"memory_bytes": 65_536, **spool}},
        "backends": {"db": {"kind": kind, "url": server.url, "pool": {"cap": cap}}},
        "operations": {
            "rows": {**reads, "page_rows": PAGE_ROWS, "timeout_seconds": 60},
            "rows_by_key": {**reads, "page_rows": PAGE_ROWS, "order_by": ["n"]},
            "answer": {
                "backend": "db",
                "statement": "SELECT :n + 0 AS n",
                "arguments": {"n": {"type": "integer"}},
                "effect": "read",
            },
        },
    }


async def page(stub: Any, operation: str = "rows", **arguments: Any) -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads((await stub.Call(wire.request(operation, 30_000, **arguments))).result)
    return table


async def rest(stub: Any, table: dict[str, Any], operation: str = "rows", **arguments: Any) -> list[dict[str, Any]]:
    """This page, and all behind it."""
    tables = [table]
    while cursor := tables[-1].get("next_cursor"):
        tables.append(await page(stub, operation, cursor=cursor, **arguments))
    return tables


def numbers(tables: list[dict[str, Any]]) -> list[int]:
    return [row[0] for table in tables for row in table["rows"]]


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.promise(37)
async def test_the_only_connection_is_free_as_soon_as_the_pooler_has_the_result(server: Any, tmp_path: Path) -> None:
    with Pooler(tmp_path, config(server)) as pooler:
        async with wire.stub(pooler.address) as stub:
            first = await page(stub, count=ROWS)
            await eventually(lambda: at_work(server) == 0)
            assert (await page(stub, "answer", n=7))["rows"] == [[7]]
            assert numbers(await rest(stub, first, count=ROWS)) == list(range(1, ROWS + 1))
            assert at_work(server) == 0


@pytest.mark.promise(37)
async def test_work_that_nobody_goes_on_with_is_stopped_in_the_database_and_the_connection_serves_on(
    server: Any, tmp_path: Path
) -> None:
    with Pooler(tmp_path, config(server, keep_seconds=1, tenant_bytes=1 << 20)) as pooler:
        async with wire.stub(pooler.address) as stub:
            await page(stub, count=ENDLESS)
            await eventually(lambda: at_work(server) == 1)
            pooler.await_event("a result was not fetched in time, it is given up", operation="rows")
            await eventually(lambda: at_work(server) == 0)
            assert (await page(stub, "answer", n=7))["rows"] == [[7]]
    opened = [line for line in pooler.log if line.get("event") == "connection opened"]
    assert len(opened) == 1, "the connection was worth keeping"


@pytest.mark.promise(37)
async def test_a_reader_who_stops_holds_the_connection_no_longer_than_allowed_and_hears_that_rows_are_missing(
    server: Any, tmp_path: Path
) -> None:
    with Pooler(tmp_path, config(server, tenant_bytes=1 << 20, hold_seconds=0.5)) as pooler:
        async with wire.stub(pooler.address) as stub:
            first = await page(stub, count=ENDLESS)
            assert (await page(stub, "answer", n=7))["rows"] == [[7]], (
                "the next one waits for half a second, not for ever"
            )
            tables = await rest(stub, first, count=ENDLESS)
    assert numbers(tables) == list(range(1, len(numbers(tables)) + 1))
    assert len(numbers(tables)) > PAGE_ROWS
    assert [table for table in tables if table.get("truncated")] == [tables[-1]]


async def test_a_result_that_outgrows_what_is_kept_comes_whole_to_a_reader_who_goes_on(
    server: Any, tmp_path: Path
) -> None:
    with Pooler(tmp_path, config(server, tenant_bytes=1 << 17)) as pooler:
        async with wire.stub(pooler.address) as stub:
            tables = await rest(stub, await page(stub, count=ROWS), count=ROWS)
    assert numbers(tables) == list(range(1, ROWS + 1))
    assert not any("truncated" in table for table in tables)


async def test_a_killed_pooler_takes_kept_results_along_and_pages_by_key_go_on(server: Any, tmp_path: Path) -> None:
    pooler = Pooler(tmp_path, config(server))
    async with wire.stub(pooler.address) as stub:
        kept = await page(stub, count=ROWS)
        by_key = [await page(stub, "rows_by_key", count=5000)]
        by_key.append(await page(stub, "rows_by_key", cursor=by_key[0]["next_cursor"], count=5000))
    assert list((tmp_path / "state" / "spool").iterdir()) == [], "a file of it has no name"
    pooler.kill()
    with Pooler(tmp_path, config(server)) as pooler:
        async with wire.stub(pooler.address) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match="restarted since this cursor was made") as raised:
                await page(stub, cursor=kept["next_cursor"], count=ROWS)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            tables = [by_key[0], *await rest(stub, by_key[1], "rows_by_key", count=5000)]
    assert numbers(tables) == list(range(1, 5001))
