"""The sample of `docker/`: its order book on a real PostgreSQL, asked through its own operations."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.programs import Pooler
from tests.servers.postgres import PostgresServer

FOLDER = Path(__file__).resolve().parents[2] / "docker"
PENSTOCK = str(Path(sys.executable).parent / "penstock")


@pytest.fixture
def pooler(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Pooler]:
    """A pooler with the sample's configuration, its database somewhere else."""
    admin = postgres_server.admin_url
    script = (FOLDER / "orders.sql").read_text("utf-8").replace(":'password'", "'of-the-sample'")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE orders")
    with psycopg.connect(admin.replace("/legacy", "/orders"), autocommit=True) as connection:
        connection.execute(script.encode())
    config: dict[str, Any] = yaml.safe_load((FOLDER / "penstock.yaml").read_text("utf-8"))
    config["backends"]["orders"]["url"] = postgres_server.url_of("app").replace("/legacy", "/orders")
    del config["pooler"]
    try:
        with Pooler(tmp_path, config) as running:
            yield running
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("DROP DATABASE orders WITH (FORCE)")
            connection.execute("DROP ROLE app")


def call(pooler: Pooler, *arguments: str) -> dict[str, Any]:
    done = subprocess.run([PENSTOCK, "call", *arguments, "--pooler", pooler.address], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_every_operation_of_the_sample_answers(pooler: Pooler) -> None:
    codes = call(pooler, "customer_codes", "value=C004")
    orders = call(pooler, "find_orders", "customer=C0042")
    best = call(pooler, "best_customers", "count=3")
    written = call(pooler, "set_order_status", "order=1", "status=paid")

    assert [row[0] for row in codes["rows"]] == [f"C{number:04}" for number in range(40, 50)]
    assert orders["row_count"] > 0
    assert orders["columns"] == ["id", "placed_on", "status", "total"]
    assert best["row_count"] == 3
    assert written == {"rows_affected": 1}
