"""What callers of a backend may keep: what is configured, what is refused, and which operations that brings along."""

from pathlib import Path

import jsonschema_rs
import orjson
import pytest

from pooler.backends import registry
from pooler.config import Config, ConfigError, load
from pooler.config.keeping import Keeping, SessionsConfig
from pooler.service.catalogue import catalogue

CONFIG = """\
backends:
  orders:
    kind: postgres
    url: postgresql://legacy@127.0.0.1:5432/legacy
    pool: {cap: 4}
    sessions: true
  loans:
    kind: process
    command: [./loans-worker]
    pool: {cap: 2}
    sessions: {max: 2, idle_seconds: 10, lifetime_seconds: 60}
    pin: principal
operations:
  find_orders:
    backend: orders
    statement: SELECT id FROM orders WHERE customer = :customer
    arguments: {customer: {type: string}}
    effect: read
  balance: {backend: loans, method: balance, arguments: {loan: {type: string}}, effect: read}
"""


def loaded(tmp_path: Path, text: str = CONFIG) -> Config:
    file = tmp_path / "penstock.yaml"
    file.write_text(text, "utf-8")
    return load(file)


def test_sessions_as_they_usually_are_need_one_word(tmp_path: Path) -> None:
    backends = loaded(tmp_path).backends

    assert backends["orders"].keeping == Keeping(sessions=SessionsConfig())
    assert backends["orders"].keeping.sessions == SessionsConfig(max=None, idle_seconds=30, lifetime_seconds=300)
    assert backends["loans"].keeping.pin_idle_seconds == 5
    assert loaded(tmp_path, CONFIG.replace("sessions: true", "sessions: false")).backends["orders"].keeping == Keeping()


def test_a_backend_with_sessions_has_operations_that_nobody_configures(tmp_path: Path) -> None:
    operations = {operation.name: operation for operation in catalogue(loaded(tmp_path)).operations}

    assert operations.keys() == {
        *("balance", "find_orders"),
        *("orders_begin", "orders_commit", "orders_rollback"),
        *("loans_open", "loans_close"),
    }
    assert not any(operations[name].idempotent for name in ("orders_begin", "orders_commit", "loans_close"))
    assert {operations[name].effect for name in ("orders_begin", "orders_rollback")} == {2}
    commit = jsonschema_rs.Draft202012Validator(orjson.loads(operations["orders_commit"].input_schema))
    assert commit.is_valid({"session": "session.x.y"})
    assert not commit.is_valid({})
    answer = jsonschema_rs.Draft202012Validator(orjson.loads(operations["orders_begin"].output_schema))
    assert answer.is_valid({"session": "session.x.y", "idle_seconds": 30.0, "lifetime_seconds": 300.0})


def test_every_operation_of_such_a_backend_may_name_a_session_and_no_other_one_may(tmp_path: Path) -> None:
    text = CONFIG.replace("sessions: true", "sessions: false")
    with_sessions, without = (catalogue(loaded(tmp_path, each)).operations for each in (CONFIG, text))
    schemas = [
        {operation.name: orjson.loads(operation.input_schema) for operation in each}
        for each in (with_sessions, without)
    ]

    assert "session" in schemas[0]["find_orders"]["properties"]
    assert "session" not in schemas[0]["find_orders"]["required"]
    assert "session" in schemas[0]["balance"]["properties"]
    assert "session" not in schemas[1]["find_orders"]["properties"]


@pytest.mark.parametrize(
    ("old", "new", "place", "sentence"),
    [
        ("sessions: true", "sessions: 3", "6:15 backends.orders.sessions", "must be a mapping of keys to values"),
        ("max: 2", "max: 0", "11:21 backends.loans.sessions.max", "must be at least 1"),
        ("max: 2", "max: true", "11:21 backends.loans.sessions.max", "must be a number"),
        ("max: 2", "max: 3", "11:21 backends.loans.sessions.max", "must be at most the cap, which is 2"),
        ("max: 2", "maximum: 2", "11:16 backends.loans.sessions.maximum", "unknown key; did you mean 'max'?"),
        ("idle_seconds: 10", "idle_seconds: 0", "11:38 backends.loans.sessions.idle_seconds", "must be more than 0"),
        ("idle_seconds: 10", "idle_seconds: 90", "11:15 backends.loans.sessions", "`idle_seconds` must be at most"),
        ("pin: principal", "pin: tenant", "12:10 backends.loans.pin", "must be 'principal'"),
        ("  find_orders:", "  orders_begin:", "14:3 operations.orders_begin", "is an operation that 'orders' has"),
        ("  balance:", "  loans_close:", "19:3 operations.loans_close", "is an operation that 'loans' has"),
        (
            "{customer: {",
            "{session: {",
            "17:17 operations.find_orders.arguments.session",
            "names the session of a call",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, place: str, sentence: str
) -> None:
    assert old in CONFIG
    with pytest.raises(ConfigError) as caught:
        loaded(
            tmp_path,
            CONFIG.replace(old, new).replace("= :customer", "= :session" if "session: {" in new else "= :customer"),
        )

    faults = [str(fault).split("penstock.yaml:")[1] for fault in caught.value.faults]
    assert [fault for fault in faults if fault.startswith(f"{place}: {sentence}")], faults


@pytest.mark.parametrize("kind", ["postgres", "process", "simulated", "sqlalchemy"])
def test_a_kind_says_without_its_driver_what_its_adapter_says_of_transactions(kind: str) -> None:
    given = {"postgres": {"url": "postgresql://x@y/z"}, "sqlalchemy": {"url": "sqlite:///x.db"}}
    given["process"] = {"command": ["true"]}  # type: ignore[dict-item]
    settings = registry.settings_of(kind).model_validate(given.get(kind, {}))

    assert settings.transactional == (registry.build(kind, settings).traits.tx == "local")
