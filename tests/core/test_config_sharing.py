"""Answers that are shared: what a configuration may say of them, and what it makes of the operations."""

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from pooler import build
from pooler.config import Config, ConfigError, load
from pooler.core.cache import Terms
from pooler.runtime.driver import Driver
from pooler.runtime.reuse.reading import Reading, Rule
from pooler.runtime.reuse.room import Answers
from pooler.runtime.reuse.writing import Committing, Writing

URL = "postgresql://app@localhost/orders"
BACKENDS: dict[str, Any] = {
    "orders": {"kind": "postgres", "url": URL, "pool": {"cap": 2}, "sessions": True},
    "small": {"kind": "postgres", "url": URL, "pool": {"cap": 1}},
    "telling": {"kind": "postgres", "url": URL, "pool": {"cap": 2}, "invalidate": {"channel": "changes"}},
    "pinned": {"kind": "process", "command": ["./worker"], "pool": {"cap": 1}, "pin": "principal"},
}
READ: dict[str, Any] = {
    "backend": "orders",
    "statement": "SELECT * FROM orders WHERE customer = :customer AND (:day IS NULL OR day = :day)",
    "arguments": {"customer": {"type": "string"}, "day": {"type": "string"}},
    "constraints": {"required": ["customer"]},
    "effect": "read",
}
WRITE: dict[str, Any] = {
    **READ,
    "statement": "DELETE FROM orders WHERE customer = :customer AND day = :day",
    "effect": "write",
}
METHOD: dict[str, Any] = {"backend": "pinned", "method": "count", "effect": "read"}
TTL = {"ttl_seconds": 30}


def loaded(folder: Path, *, backends: dict[str, Any] | None = None, **operations: dict[str, Any]) -> Config:
    file = folder / "penstock.yaml"
    file.write_text(yaml.safe_dump({"backends": backends or BACKENDS, "operations": operations}))
    return load(file)


def answers(config: Config) -> dict[str, Any]:
    """Who attends to each operation's calls."""
    drivers = {name: cast(Driver, _Named(name)) for name in config.backends}
    return dict(build.reusing(config, drivers, Answers(config.pooler.cache_bytes)))


class _Named:
    """As much of a driver as is asked for before anything is called."""

    def __init__(self, name: str) -> None:
        self.name = name


def rule(folder: Path, operation: dict[str, Any]) -> Rule:
    reading = answers(loaded(folder, read=operation))["read"]
    assert isinstance(reading, Reading)
    return reading.rule._replace(revision=None)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({**READ, "cache": TTL}, Rule(Terms(30.0))),
        (
            {**READ, "cache": {**TTL, "stale_seconds": 300, "stale_if_down": True, "tags": ["all", "of:{customer}"]}},
            Rule(Terms(30.0, 300.0, float("inf")), tags=("all", "of:{customer}")),
        ),
        ({**READ, "cache": {**TTL, "stale_if_down": 60}}, Rule(Terms(30.0, down=60.0))),
        ({**READ, "cache": {**TTL, "strict": True, "scope": "principal"}}, Rule(Terms(30.0), "principal", strict=True)),
        ({**READ, "cache": {**TTL, "near": True}, "flight": False}, Rule(Terms(30.0), near=True, joins=False)),
        ({**READ, "flight": True}, Rule(Terms(), strict=True)),
    ],
)
def test_how_answers_are_shared(tmp_path: Path, operation: dict[str, Any], expected: Rule) -> None:
    assert rule(tmp_path, operation) == expected


def test_a_read_that_says_nothing_shares_nothing(tmp_path: Path) -> None:
    assert "read" not in answers(loaded(tmp_path, read=READ, other={**READ, "flight": False}))


def test_a_write_is_attended_to_where_it_says_what_it_changes_or_somebody_is_strict(tmp_path: Path) -> None:
    says = {**WRITE, "invalidates": ["of:{customer}"]}
    found = answers(loaded(tmp_path, says=says, quiet=WRITE, read={**READ, "cache": TTL}))
    assert {name: type(each) for name, each in found.items()} == {
        "says": Writing,
        "read": Reading,
        "orders_commit": Committing,
    }

    strict = answers(loaded(tmp_path, says=says, quiet=WRITE, read={**READ, "cache": {**TTL, "strict": True}}))
    assert isinstance(strict["quiet"], Writing)


def test_what_an_operation_is_changes_with_its_statement_and_with_its_backend(tmp_path: Path) -> None:
    def revision(operation: dict[str, Any], **backend: Any) -> Any:
        backends = {**BACKENDS, "orders": {**BACKENDS["orders"], **backend}}
        return answers(loaded(tmp_path, backends=backends, read=operation))["read"].rule.revision

    kept = {**READ, "cache": TTL}
    assert revision(kept) == revision(kept)
    assert revision(kept) == revision(kept, pool={"cap": 7})
    assert revision(kept) != revision(kept, url="postgresql://app@elsewhere/orders")
    assert revision(kept) != revision({**kept, "statement": READ["statement"] + " ORDER BY 1"})


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({**WRITE, "cache": TTL}, "cache: is for operations that read"),
        ({**WRITE, "flight": True}, "flight: is for operations that read"),
        ({**READ, "confirm": "Really?", "cache": TTL}, "cache: is for operations that ask nobody"),
        ({**METHOD, "asks": True, "flight": True}, "flight: is for operations that ask nobody"),
        ({**METHOD, "cache": TTL}, "this one pins them"),
        ({**READ, "invalidates": ["all"]}, "invalidates: is for operations that write"),
        ({**READ, "cache": {}}, "ttl_seconds: is missing"),
        ({**READ, "cache": {"ttl_seconds": 0}}, "must be more than 0"),
        ({**READ, "cache": {**TTL, "tags": ["two words"]}}, "must be one word"),
        ({**READ, "cache": {**TTL, "tags": ["of:{custmer}"]}}, "no argument; did you mean 'customer'"),
        ({**READ, "cache": {**TTL, "tags": ["of:{day}"]}}, "'day' may be left out"),
        ({**READ, "cache": {**TTL, "tags": ["of:{"]}}, "brace without its other half"),
        ({**WRITE, "invalidates": ["on:{day}"]}, "'day' may be left out"),
        ({**READ, "cache": {**TTL, "strict": True, "near": True}}, "near: gives answers that a write has made wrong"),
        ({**READ, "cache": {**TTL, "strict": True, "stale_seconds": 1}}, "stale_seconds: gives answers"),
        ({**READ, "cache": {**TTL, "strict": True, "stale_if_down": True}}, "stale_if_down: gives answers"),
        ({**READ, "cache": {**TTL, "scope": "world"}}, "scope: must be"),
        ({**READ, "backend": "telling", "cache": {**TTL, "stale_if_down": True}}, "has nothing to give"),
    ],
)
def test_what_cannot_be_shared_is_said_with_its_place(tmp_path: Path, operation: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, one=operation)

    assert said in str(caught.value)
    assert "operations.one" in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ({**BACKENDS["small"], "invalidate": {"channel": "c"}}, "raise the cap to 2, or use a `ttl_seconds`"),
        ({**BACKENDS["orders"], "invalidate": {"channel": "x" * 64}}, "at most 63 bytes"),
        (
            {"kind": "sqlalchemy", "url": "sqlite:///x.db", "pool": {"cap": 2}, "invalidate": {"channel": "c"}},
            "has no channels",
        ),
    ],
)
def test_a_backend_that_cannot_tell_of_changes_is_said_with_its_place(
    tmp_path: Path, backend: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, backends={"orders": BACKENDS["orders"], "one": backend}, read=READ)

    assert said in str(caught.value)
    assert "backends.one.invalidate.channel" in str(caught.value)


def test_a_backend_that_tells_of_changes_is_listened_to(tmp_path: Path) -> None:
    config = loaded(tmp_path, read=READ)
    drivers = {name: cast(Driver, _Named(name)) for name in config.backends}

    assert build.hearing(config, drivers) == {drivers["telling"]: "changes"}
