"""Operations that ask their user: what a configuration may say of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pooler.config import ConfigError, load

BACKENDS: dict[str, Any] = {
    "orders": {"kind": "sqlalchemy", "url": "sqlite:///orders.db", "pool": {"cap": 1}},
    "loans": {"kind": "process", "command": ["./worker"], "pool": {"cap": 1}},
}
ERASE: dict[str, Any] = {
    "backend": "orders",
    "statement": "DELETE FROM orders WHERE customer = :customer",
    "arguments": {"customer": {"type": "string"}},
    "effect": "write",
}
BALANCE: dict[str, Any] = {"backend": "loans", "method": "balance", "effect": "read"}


def faults(folder: Path, operations: dict[str, Any]) -> str:
    """What is wrong with these operations; empty when nothing is."""
    file = folder / "penstock.yaml"
    file.write_text(yaml.safe_dump({"backends": BACKENDS, "operations": operations}))
    try:
        load(file)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "keys",
    [
        {"confirm": "Erase the orders of {customer}?"},
        {"confirm": "Erase everything?"},
        {"long": True},
        {"long_after_seconds": 2.5},
    ],
)
def test_a_statement_may_be_confirmed_and_may_be_long(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert faults(tmp_path, {"erase": {**ERASE, **keys}}) == ""


def test_a_worker_may_ask(tmp_path: Path) -> None:
    assert faults(tmp_path, {"balance": {**BALANCE, "asks": True}}) == ""


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"confirm": "Erase {custommer}?"}, "did you mean 'customer'?"),
        ({"confirm": "Erase {customer?"}, "brace without its other half"),
        ({"confirm": "Erase {the customer}?"}, "brace without its other half"),
        ({"confirm": ""}, "must not be empty"),
        ({"asks": True}, "a statement asks nobody"),
        ({"long_after_seconds": 0}, "must be more than 0"),
    ],
)
def test_what_cannot_be_asked_is_said_at_its_place(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    found = faults(tmp_path, {"erase": {**ERASE, **keys}})
    (key,) = keys
    assert f"operations.erase.{key}" in found
    assert said in found


@pytest.mark.parametrize("keys", [{"confirm": "Really?"}, {"asks": True}])
def test_nobody_is_asked_at_every_keystroke(tmp_path: Path, keys: dict[str, Any]) -> None:
    completed = {**ERASE, "arguments": {"customer": {"type": "string", "complete": "balance"}}}
    found = faults(tmp_path, {"erase": completed, "balance": {**BALANCE, **keys}})
    assert "asks its user, and completing happens at every keystroke" in found
