"""A cold frontend answers its first plain call without what only other requests need."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.programs import Pooler

HEAVY = {"anyio", "mcp", "mcp_types", "rich", "sse_starlette", "starlette", "structlog"}


def test_the_first_plain_call_is_answered_without_the_sdk(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "orders.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER)")
        database.execute("INSERT INTO orders VALUES (7)")
    config = {
        "backends": {"orders": {"kind": "sqlalchemy", "url": f"sqlite:///{tmp_path}/orders.db", "pool": {"cap": 1}}},
        "operations": {"first": {"backend": "orders", "statement": "SELECT id FROM orders", "effect": "read"}},
    }
    with Pooler(tmp_path, config) as pooler:
        command = [sys.executable, "-m", "tests.real.cold_frontend", pooler.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["answer"]["result"]["structuredContent"]["rows"] == [[7]]
    assert HEAVY & {name.partition(".")[0] for name in said["modules"]} == set()
