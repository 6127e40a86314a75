"""Resources that are watched: what a configuration may say of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pooler.build import watching
from pooler.config import ConfigError, load
from pooler.runtime.watches.room import Rule

BACKENDS: dict[str, Any] = {
    "orders": {"kind": "postgres", "url": "postgresql://app@localhost/orders", "pool": {"cap": 2}},
    "small": {"kind": "postgres", "url": "postgresql://app@localhost/orders", "pool": {"cap": 1}},
    "leaky": {"kind": "postgres", "url": "postgresql://app@localhost/orders", "pool": {"cap": 2, "max_uses": 1}},
    "loans": {"kind": "process", "command": ["./worker"], "pool": {"cap": 1}},
    "remote": {"kind": "simulated", "address": "127.0.0.1:7600", "pool": {"cap": 2}},
}
READ: dict[str, Any] = {
    "backend": "orders",
    "statement": "SELECT * FROM orders WHERE customer = :customer",
    "arguments": {"customer": {"type": "string"}},
    "effect": "read",
    "resource": "orders://{customer}",
}
METHOD: dict[str, Any] = {"backend": "loans", "method": "count", "effect": "read", "resource": "loans:count"}


def loaded(folder: Path, operation: dict[str, Any]) -> Any:
    file = folder / "penstock.yaml"
    file.write_text(yaml.safe_dump({"backends": BACKENDS, "operations": {"watched": operation}}))
    return load(file)


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        ({**READ, "watch": {"channel": "Orders, all"}}, Rule(channel="Orders, all")),
        ({**READ, "watch": {"channel": "c", "argument": "customer"}}, Rule("c", "customer")),
        ({**READ, "backend": "small", "watch": {"every_seconds": 30}}, Rule(every_seconds=30.0)),
        ({**METHOD, "watch": {"every_seconds": 0.5}}, Rule(every_seconds=0.5)),
    ],
)
def test_a_resource_is_watched_on_a_channel_or_by_asking(tmp_path: Path, operation: dict[str, Any], rule: Rule) -> None:
    assert watching(loaded(tmp_path, operation)) == {"watched": rule}


def test_one_that_says_nothing_is_not_watched(tmp_path: Path) -> None:
    assert watching(loaded(tmp_path, READ)) == {}


BY_ASKING, BY_CHANNEL = {"every_seconds": 30}, {"channel": "c"}


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({**READ, "watch": {}}, "either a `channel` or `every_seconds`"),
        ({**READ, "watch": {**BY_ASKING, **BY_CHANNEL}}, "either a `channel` or `every_seconds`"),
        ({**READ, "watch": {"every_seconds": 0.01}}, "every_seconds"),
        ({**READ, "watch": {"channel": ""}}, "must not be empty"),
        ({**READ, "watch": {"channel": "ü" * 32}}, "at most 63 bytes"),
        ({**READ, "watch": {"channle": "c"}}, "did you mean 'channel'?"),
        ({**READ, "watch": {**BY_CHANNEL, "argument": "custommer"}}, "did you mean 'customer'?"),
        ({**READ, "watch": {**BY_ASKING, "argument": "customer"}}, "is what the payload of a `channel` names"),
        ({**READ, "resource": None, "watch": BY_ASKING}, "is for resources"),
        ({**READ, "effect": "write", "resource": None, "watch": BY_ASKING}, "is for resources"),
        ({**READ, "confirm": "Sure?", "watch": BY_ASKING}, "would ask its user"),
        ({**METHOD, "asks": True, "watch": BY_ASKING}, "would ask its user"),
        ({**METHOD, "watch": BY_CHANNEL}, "the kind of 'loans' has no channels; use `every_seconds`"),
        ({**METHOD, "backend": "remote", "watch": BY_CHANNEL}, "the kind of 'remote' has no channels"),
        ({**READ, "backend": "small", "watch": BY_CHANNEL}, "raise the cap to 2"),
        ({**READ, "backend": "leaky", "watch": BY_CHANNEL}, "`max_uses: 1`"),
    ],
)
def test_what_cannot_be_watched_is_told_with_what_to_do(tmp_path: Path, operation: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, operation)
    assert said in str(caught.value)
    assert "watch" in str(caught.value)
