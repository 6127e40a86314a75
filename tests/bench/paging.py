"""Large results from PostgreSQL: the first page and all of them, at an MCP client and on the wire; memory; small calls.

Beside one `fetchall` of psycopg and the JSON of its rows, on a server that is there anyway.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import httpx2 as httpx
import orjson
import psutil
import psycopg
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests.bench.wire import CONTEXT, Run, exchange
from tests.programs import Frontend, Pooler

ROWS, CELLS = 10_000, 10
MANY_ROWS = 1_000_000
SMALL_PAGE = 50
ROUNDS = 7
FIRST_PAGE_MS, ALL_PAGES, SMALL_CALLS = 15.0, 1.5, 3.0
"""The bounds: the first page at the client, all pages beside a fetchall, small calls' p99 beside being alone."""
LARGE, LARGE_ROWS = 4, 100_000
POINTS, POINT_CALLERS = 3000, 4

COLUMNS = """
n AS id, n * 7 AS a, n % 13 AS b, n / 3.0 AS c, n::float8 / 7 AS d, 'row ' || n AS e, repeat('x', 20) AS f,
DATE '2026-01-01' + (n % 365)::int AS g, n % 2 = 0 AS h, md5(n::text) AS i
"""
STATEMENT = "SELECT * FROM wide WHERE id <= {count}"


def config(url: str) -> dict[str, Any]:
    def large(page_rows: int) -> dict[str, Any]:
        return {
            "backend": "db",
            "statement": STATEMENT.format(count=":count"),
            "arguments": {"count": {"type": "integer"}},
            "effect": "read",
            "timeout_seconds": 600,
            "page_rows": page_rows,
            "page_bytes": 4 << 20,
        }

    return {
        "backends": {"db": {"kind": "postgres", "url": url, "pool": {"cap": 8, "warm": 8, "parallel_starts": 8}}},
        "operations": {
            **{f"rows_{size}": large(size) for size in (SMALL_PAGE, 200, 1000, 2500)},
            "point": {
                "backend": "db",
                "statement": "SELECT id, filler FROM points WHERE id = :id",
                "arguments": {"id": {"type": "integer"}},
                "effect": "read",
            },
        },
    }


Page = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def all_pages(page: Page, count: int) -> tuple[float, float]:
    """Seconds until the first page was there, and until all were."""
    began, rows = time.perf_counter(), 0
    table = await page({"count": count})
    first = time.perf_counter() - began
    while True:
        rows += table["row_count"]
        if "next_cursor" not in table:
            break
        table = await page({"count": count, "cursor": table["next_cursor"]})
    assert rows == count, f"{rows} rows of {count}"
    return first, time.perf_counter() - began


@asynccontextmanager
async def over_mcp(url: str) -> AsyncIterator[Callable[[str], Page]]:
    async with (
        httpx.AsyncClient(timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode="2026-07-28", cache=None) as client,
    ):

        def of(operation: str) -> Page:
            async def page(arguments: dict[str, Any]) -> dict[str, Any]:
                table: dict[str, Any] = (await client.call_tool(operation, arguments)).structured_content or {}
                return table

            return page

        yield of


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator[Callable[[str], Page]]:
    """An MCP client with nothing in it but the request: what the line costs without the SDK on the other side."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    async with httpx.AsyncClient(timeout=60) as http:

        def of(operation: str) -> Page:
            headers = {
                "accept": "application/json, text/event-stream",
                "content-type": "application/json",
                "mcp-protocol-version": "2026-07-28",
                "mcp-method": "tools/call",
                "mcp-name": operation,
            }

            async def page(arguments: dict[str, Any]) -> dict[str, Any]:
                params = {"name": operation, "arguments": arguments, "_meta": meta}
                body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
                answer = orjson.loads((await http.post(url, content=body, headers=headers)).content)
                table: dict[str, Any] = answer["result"]["structuredContent"]
                return table

            return page

        yield of


@asynccontextmanager
async def over_grpc(address: str) -> AsyncIterator[Callable[[str], Page]]:
    options = [("grpc.max_receive_message_length", 64 << 20)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = pooler_pb2_grpc.PoolerServiceStub(channel)

        def of(operation: str) -> Page:
            async def page(arguments: dict[str, Any]) -> dict[str, Any]:
                request = pb.CallRequest(context=CONTEXT, operation=operation, arguments=orjson.dumps(arguments))
                table: dict[str, Any] = orjson.loads((await stub.Call(request)).result)
                return table

            return page

        yield of


def fetchall(url: str) -> float:
    """Seconds for one psycopg fetchall and the JSON of it, on an open connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            rows = connection.execute(STATEMENT.format(count=ROWS)).fetchall()
            orjson.dumps(rows, default=str)
            seconds.append(time.perf_counter() - began)
    return median(seconds)


async def measured(
    of: Callable[[str], Page], size: int, count: int = ROWS, rounds: int = ROUNDS
) -> tuple[float, float]:
    """The medians of several rounds, after one that is not counted."""
    await all_pages(of(f"rows_{size}"), count)
    times = [await all_pages(of(f"rows_{size}"), count) for _ in range(rounds)]
    return median(first for first, _ in times), median(last for _, last in times)


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what)."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE wide AS SELECT {COLUMNS} FROM generate_series(1, {MANY_ROWS}) AS n")
        connection.execute("ALTER TABLE wide ADD PRIMARY KEY (id)")
        connection.execute("ANALYZE wide")
    plain = fetchall(url)
    rows = [(f"psycopg fetchall and JSON, {ROWS} rows × {CELLS}", f"{plain * 1e3:.1f} ms", "")]
    with tempfile.TemporaryDirectory() as folder, Pooler(Path(folder), config(url)) as pooler:
        with Frontend(pooler.address) as frontend:
            for size in (200, 1000, 2500):
                for name, line in (
                    ("the SDK's MCP client", over_mcp(frontend.url)),
                    ("a bare MCP client", over_http(frontend.url)),
                    ("a gRPC client", over_grpc(pooler.address)),
                ):
                    async with line as of:
                        first, last = await measured(of, size)
                    rows.append(_row(size, name, first, last, plain))
        rows += await memory(pooler)
        rows += await beside_large(pooler)
    return rows


def _row(size: int, name: str, first: float, last: float, plain: float) -> tuple[str, str, str]:
    part = f"first {first * 1e3 / FIRST_PAGE_MS:.2f} × {FIRST_PAGE_MS:g} ms"
    whole = f"all {last / plain:.1f} × fetchall, bound {ALL_PAGES:g}"
    figure = f"first {first * 1e3:.1f} ms, all {last * 1e3:.1f} ms"
    return f"{ROWS} rows in pages of {size}, at {name}", figure, f"{part}; {whole}"


async def memory(pooler: Pooler) -> list[tuple[str, str, str]]:
    """What a million rows cost the pooler, read in pages of fifty."""
    process, most, over = psutil.Process(pooler.pid), 0, asyncio.Event()
    before = process.memory_full_info().uss

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, process.memory_full_info().uss)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    async with over_grpc(pooler.address) as of:
        first, last = await all_pages(of(f"rows_{SMALL_PAGE}"), MANY_ROWS)
    over.set()
    await watching
    figure = f"{(most - before) / (1 << 20):.1f} MiB more at the most, {last:.0f} s, first page {first * 1e3:.1f} ms"
    return [
        (
            f"{MANY_ROWS} rows in pages of {SMALL_PAGE}, the pooler's memory",
            figure,
            f"before {before / (1 << 20):.0f} MiB",
        )
    ]


async def beside_large(pooler: Pooler) -> list[tuple[str, str, str]]:
    """Small calls while four large results are read, by processes of their own."""
    points = [
        pb.CallRequest(context=CONTEXT, operation="point", arguments=b'{"id":%d}' % (1 + number % 1000))
        for number in range(POINTS)
    ]
    await exchange(pooler.address, points[:300], POINT_CALLERS)
    alone: Run = await exchange(pooler.address, points, POINT_CALLERS)
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.paging", pooler.address, stdout=asyncio.subprocess.PIPE
    )
    assert reader.stdout is not None
    await reader.stdout.readline()
    beside: Run = await exchange(pooler.address, points, POINT_CALLERS)
    reader.terminate()
    await reader.wait()
    p99_alone, p99_beside = alone.percentile(0.99), beside.percentile(0.99)
    return [
        (
            f"p99 of small calls beside {LARGE} large results",
            f"{p99_beside * 1e3:.1f} ms (median {beside.percentile(0.5) * 1e3:.1f} ms)",
            f"alone {p99_alone * 1e3:.1f} ms: {p99_beside / p99_alone:.1f} ×, bound {SMALL_CALLS:g}",
        )
    ]


async def read_for_ever(address: str) -> None:
    """Reads large results one after the other, and says when it has begun."""
    async with over_grpc(address) as of:
        page = of("rows_1000")
        await page({"count": LARGE_ROWS})
        print("reading", flush=True)

        async def read() -> None:
            while True:
                await all_pages(page, LARGE_ROWS)

        await asyncio.gather(*(read() for _ in range(LARGE)))


if __name__ == "__main__":
    asyncio.run(read_for_ever(sys.argv[1]))
