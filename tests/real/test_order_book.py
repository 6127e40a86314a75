"""One configuration, three databases: the demo's order book on SQLite, PostgreSQL and MariaDB."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml

import pooler.demo
from pooler.demo.orders import write_orders
from tests.programs import Frontend, Pooler
from tests.real.mcp_http import call_tool

TABLES = ("customers", "products", "orders", "order_lines")
DEMO = Path(pooler.demo.__file__).parent / "penstock.yaml"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("book") / "orders.db"
    write_orders(file)
    return file


def copy_to(book: Path, url: str) -> Callable[[], None]:
    """Copies the order book into another database; returns what removes it again."""
    source, target = sqlalchemy.create_engine(f"sqlite:///{book}"), sqlalchemy.create_engine(url)
    metadata = sqlalchemy.MetaData()
    metadata.reflect(source)
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, sqlalchemy.TEXT):
                column.type = sqlalchemy.String(100)  # MariaDB wants a length for a key
            elif isinstance(column.type, sqlalchemy.NUMERIC):
                column.type = sqlalchemy.Numeric(12, 2)
    metadata.create_all(target)
    with source.connect() as reader, target.begin() as writer:
        for name in TABLES:
            table = metadata.tables[name]
            writer.execute(table.insert(), [dict(row) for row in reader.execute(table.select()).mappings()])

    def remove() -> None:
        metadata.drop_all(target)
        target.dispose()
        source.dispose()

    return remove


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def orders(request: pytest.FixtureRequest, book: Path) -> Iterator[dict[str, Any]]:
    """The backend `orders` of the demo, on each of the databases."""
    pool = {"cap": 3}
    if request.param == "sqlite":
        yield {"kind": "sqlalchemy", "url": f"sqlite:///{book}", "pool": pool}
        return
    server = request.getfixturevalue(f"{request.param}_server")
    kind = "postgres" if request.param == "postgres" else "sqlalchemy"
    driver_url = server.url.replace("postgresql://", "postgresql+psycopg://")
    remove = copy_to(book, driver_url)
    yield {"kind": kind, "url": server.url, "pool": pool}
    remove()


def plain(result: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """A table whose amounts can be compared: SQLite has no decimals and answers with numbers, the others with text."""
    assert not result.get("isError"), result["content"]
    table = result["structuredContent"]
    return table["columns"], [[as_number(cell) for cell in row] for row in table["rows"]]


def as_number(cell: Any) -> Any:
    try:
        return round(float(cell), 2)
    except ValueError:
        return cell


def test_the_demos_operations_answer_alike_on_every_database(orders: dict[str, Any], tmp_path: Path) -> None:
    demo = yaml.safe_load(DEMO.read_text())
    operations = {name: each for name, each in demo["operations"].items() if each["backend"] == "orders"}
    with (
        Pooler(tmp_path, {"backends": {"orders": orders}, "operations": operations}) as program,
        Frontend(program.address) as frontend,
    ):
        columns, found = plain(call_tool(frontend.url, "find_orders", {"customer": "CODK0002"}))
        assert columns == ["id", "placed_on", "status", "total"]
        assert len(found) == 50
        assert [row[0] for row in found] == sorted((row[0] for row in found), reverse=True)
        newest = int(found[0][0])
        columns, lines = plain(call_tool(frontend.url, "order_lines", {"order": newest}))
        assert round(sum(line[columns.index("amount")] for line in lines), 2) == found[0][3]
        columns, best = plain(call_tool(frontend.url, "best_customers", {"since": "2026-01-01", "count": 3}))
        assert [row[0] for row in best] == ["LIIE0001", "CODK0002", "LADK0003"]
        _, matches = plain(call_tool(frontend.url, "search_customers", {"text": "Bergen"}))
        assert matches
        assert {row[2] for row in matches} == {"Bergen"}
        written = call_tool(frontend.url, "set_order_status", {"order": newest, "status": "packed"})
        assert written["structuredContent"] == {"rows_affected": 1}
        _, found = plain(call_tool(frontend.url, "find_orders", {"customer": "CODK0002"}))
        assert found[0][2] == "packed"
        attack = "x'; DROP TABLE orders; --"
        assert plain(call_tool(frontend.url, "find_orders", {"customer": attack}))[1] == []
        assert plain(call_tool(frontend.url, "find_orders", {"customer": "CODK0002"}))[1] == found
