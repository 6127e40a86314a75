"""How long the programs take from exec to their first right answer."""

import json
import sqlite3
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import CONTEXT, unary
from tests.programs import Frontend, Pooler

VERSION = "2026-07-28"
STARTS = 5
POOLER_SECONDS, FRONTEND_SECONDS = 2.0, 0.5
"""The bounds."""


def _config(folder: Path) -> dict[str, Any]:
    with sqlite3.connect(folder / "orders.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total TEXT)")
        database.execute("INSERT INTO orders VALUES (1, '12.50')")
    return {
        "backends": {"orders": {"kind": "sqlalchemy", "url": f"sqlite:///{folder}/orders.db", "pool": {"cap": 2}}},
        "operations": {
            "total": {"backend": "orders", "statement": "SELECT total FROM orders WHERE id = 1", "effect": "read"}
        },
    }


def _ask(url: str) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "total", "_meta": meta}}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "total",
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _frontend(pooler: Pooler) -> tuple[float, float]:
    """Seconds from exec to the first right answer, and the CPU that they took."""
    began = time.perf_counter()
    with Frontend(pooler.address) as frontend:
        answer = _ask(frontend.url)
        seconds, cpu = time.perf_counter() - began, frontend.cpu_seconds()
    assert answer["result"]["structuredContent"]["rows"] == [["12.50"]], answer
    return seconds, cpu


async def run(url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, beside what). The database's url is not needed: this one uses SQLite."""
    del url
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        with Pooler(folder, _config(folder)) as pooler:
            first = await unary(pooler.address, [pb.CallRequest(context=CONTEXT, operation="total")], 1)
            pooler_seconds = time.perf_counter() - began
            assert first.failures == 0
            starts = [_frontend(pooler) for _ in range(STARTS + 1)][1:]  # the first one may have to compile
    seconds, cpu = (median(figures) for figures in zip(*starts, strict=True))
    return [
        (
            "pooler with SQLite, exec to first right answer",
            f"{pooler_seconds:.2f} s",
            f"{pooler_seconds / POOLER_SECONDS:.2f} × {POOLER_SECONDS:g} s",
        ),
        (
            f"frontend, exec to first right answer, {STARTS} times",
            f"{seconds:.2f} s, {cpu:.2f} s of CPU",
            f"{seconds / FRONTEND_SECONDS:.2f} × {FRONTEND_SECONDS:g} s",
        ),
    ]
