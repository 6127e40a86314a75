"""How long the programs take from exec to their first right answer."""

import json
import sqlite3
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from protos.penstock.v1 import pooler_pb2 as pb
from tests.bench.wire import CONTEXT, unary
from tests.programs import Frontend, Pooler

VERSION = "2026-07-28"


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
            began = time.perf_counter()
            with Frontend(pooler.address) as frontend:
                answer = _ask(frontend.url)
                frontend_seconds = time.perf_counter() - began
            assert answer["result"]["structuredContent"]["rows"] == [["12.50"]], answer
    bytecode = "without bytecode" if sys.dont_write_bytecode else "bytecode compiled"
    return [
        (
            "pooler with SQLite, exec to first right answer",
            f"{pooler_seconds:.2f} s",
            f"{pooler_seconds / 2:.2f} × 2 s",
        ),
        (
            f"frontend, exec to first right answer ({bytecode})",
            f"{frontend_seconds:.2f} s",
            f"{frontend_seconds / 3:.2f} × 3 s",
        ),
    ]
