"""Pages of results: what a configuration may say of them, and what clients see of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pooler import build
from pooler.config import ConfigError, load
from pooler.config.operations import CURSOR_SCHEMA, TABLE_SCHEMA
from pooler.runtime.pages import Limits
from pooler.runtime.results import Paging

BACKENDS: dict[str, Any] = {
    "orders": {"kind": "postgres", "url": "postgresql://app@localhost/orders", "pool": {"cap": 2}},
    "ledger": {"kind": "sqlalchemy", "url": "mssql+pyodbc://app@localhost/ledger", "pool": {"cap": 2}},
    "loans": {"kind": "process", "command": ["./worker"], "pool": {"cap": 1}},
}
READ: dict[str, Any] = {
    "backend": "orders",
    "statement": "SELECT id, total FROM orders WHERE customer = :customer",
    "arguments": {"customer": {"type": "string"}},
    "effect": "read",
}
METHOD: dict[str, Any] = {"backend": "loans", "method": "all", "effect": "read"}


def loaded(folder: Path, operation: dict[str, Any], **pooler: Any) -> Any:
    file = folder / "penstock.yaml"
    file.write_text(yaml.safe_dump({"pooler": pooler, "backends": BACKENDS, "operations": {"listed": operation}}))
    return load(file)


@pytest.mark.parametrize(
    ("operation", "paging"),
    [
        (READ, Paging("listed", 200, 262_144)),
        ({**READ, "page_rows": 7, "page_bytes": 2048}, Paging("listed", 7, 2048)),
        ({**READ, "order_by": ["total desc", "id"]}, Paging("listed", 200, 262_144, ("total", "id"))),
        ({**METHOD, "paged": True}, Paging("listed", 200, 262_144)),
        (METHOD, None),
        ({**READ, "effect": "write"}, None),
    ],
    ids=["statement", "bounds", "keys", "paged method", "method", "write"],
)
def test_what_reads_a_table_has_pages_and_takes_a_cursor(
    tmp_path: Path, operation: dict[str, Any], paging: Paging | None
) -> None:
    found = loaded(tmp_path, operation).operations["listed"]
    assert build.paging("listed", found) == paging
    schema = found.input_schema()
    assert schema["properties"].get("cursor") == (CURSOR_SCHEMA if paging else None)
    assert schema["required"] == list(operation.get("arguments", {}))


def test_the_schema_of_a_table_knows_where_it_goes_on(tmp_path: Path) -> None:
    assert loaded(tmp_path, READ).operations["listed"].output_schema() == TABLE_SCHEMA
    assert "next_cursor" in TABLE_SCHEMA["properties"]
    assert "next_cursor" not in TABLE_SCHEMA["required"]


@pytest.mark.parametrize(
    ("operation", "place", "words"),
    [
        (
            {**READ, "statement": "SELECT :cursor + 0", "arguments": {"cursor": {"type": "integer"}}},
            "operations.listed.arguments.cursor",
            "is how the next page is asked for; use another name",
        ),
        ({**READ, "paged": True}, "operations.listed.paged", "a statement that reads has pages anyway"),
        ({**METHOD, "paged": True, "effect": "write"}, "operations.listed.paged", "is for methods that read"),
        ({**METHOD, "paged": True, "returns": "content"}, "operations.listed.paged", "whose answer is a table"),
        ({**READ, "order_by": ["nr"]}, "operations.listed.order_by", "'nr' is no column of the result (id, total)"),
        ({**READ, "order_by": ["id down"]}, "operations.listed.order_by", "'id down' is no key"),
        ({**READ, "order_by": []}, "operations.listed.order_by", "must not be empty"),
        ({**READ, "order_by": ["id"], "effect": "write"}, "operations.listed.order_by", "is for statements that read"),
        ({**READ, "order_by": ["id"], "backend": "ledger"}, "operations.listed.order_by", "MariaDB, MySQL and SQLite"),
        ({**METHOD, "order_by": ["id"]}, "operations.listed.order_by", "is for statements; leave it out"),
    ],
)
def test_what_cannot_be_paged_is_refused_with_the_place_and_the_reason(
    tmp_path: Path, operation: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, operation)
    (fault,) = [str(fault) for fault in caught.value.faults]
    assert f" {place}: " in fault
    assert words in fault


def test_a_method_without_pages_may_have_a_cursor_of_its_own(tmp_path: Path) -> None:
    own = {"type": "integer"}
    found = loaded(tmp_path, {**METHOD, "arguments": {"cursor": own}}).operations["listed"]
    assert found.input_schema()["properties"] == {"cursor": own}


def test_what_is_kept_of_results_is_bounded_as_configured(tmp_path: Path) -> None:
    assert build.limits(loaded(tmp_path, READ).pooler.spool) == Limits()
    spool = {"memory_bytes": 4096, "tenant_bytes": 1 << 20, "keep_seconds": 5, "hold_seconds": 0.5}
    assert build.limits(loaded(tmp_path, READ, spool=spool).pooler.spool) == Limits(4096, 1 << 20, 5.0, 0.5)
