"""What a configuration may say of operations that share connections, fault by fault."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pooler.config import ConfigError, load

POSTGRES: dict[str, Any] = {"kind": "postgres", "url": "postgresql://legacy@127.0.0.1/legacy"}
POINT: dict[str, Any] = {
    "backend": "orders",
    "statement": "SELECT id FROM orders WHERE id = :id",
    "arguments": {"id": {"type": "integer"}},
    "effect": "read",
    "share": True,
}


def faults(folder: Path, backend: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    """What is wrong with a configuration of one operation that shares."""
    operation = {key: value for key, value in (POINT | changes).items() if value is not None}
    backends = {"orders": {"pool": {"cap": 2}} | (backend or POSTGRES)}
    document = {"backends": backends, "operations": {"point": operation}}
    file = folder / "penstock.yaml"
    file.write_text(yaml.safe_dump(document))
    try:
        load(file)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_a_short_read_may_share_its_connection(tmp_path):
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"effect": "write", "statement": "DELETE FROM orders WHERE id = :id"}, "is for reads"),
        ({"exclusive": True}, "contradicts `exclusive`"),
        ({"order_by": ["id"]}, "is for results of one page"),
        ({"long": True}, "is for short reads"),
        ({"statement": "SELECT set_config('a', 'b', false), :id"}, "leaves nothing on its connection"),
        ({"statement": "SELECT pg_advisory_lock(:id)"}, "leaves nothing on its connection"),
        ({"statement": "SELECT bump(:id)"}, "leaves nothing on its connection"),
        ({"statement": "SELECT 1; SELECT :id"}, "one statement is needed"),
    ],
)
def test_whatever_is_no_short_read_has_its_connection_for_itself(tmp_path, changes, sentence):
    (fault,) = faults(tmp_path, **changes)
    assert sentence in fault


def test_a_kind_whose_connections_carry_one_call_at_a_time_has_nothing_to_share(tmp_path):
    (fault,) = faults(tmp_path, {"kind": "sqlalchemy", "url": "sqlite:///orders.db"})
    assert "is for backends whose connections carry several calls at once" in fault


def test_a_simulated_system_shares_where_it_says_how_many_calls_a_session_takes(tmp_path):
    method = {"statement": None, "method": "echo", "arguments": {"value": {"type": "string"}}}
    assert faults(tmp_path, {"kind": "simulated", "streams": 8}, **method) == []
    (fault,) = faults(tmp_path, {"kind": "simulated"}, **method)
    assert "set its `streams`" in fault
    (fault,) = faults(tmp_path, {"kind": "simulated", "streams": 8}, **method | {"method": "leave_trace"})
    assert "is for methods that only read" in fault
