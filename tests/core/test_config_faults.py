"""Every fault that a configuration can have, each with its place and its sentence. Starts nothing."""

import base64
from pathlib import Path
from textwrap import dedent

import pytest

from pooler.config import ConfigError, load

SOUND = """\
pooler: {calls_max: 100}
backends:
  loans:
    kind: process
    command: [./loans-worker]
    pool: {cap: 2}
operations:
  balance:
    backend: loans
    method: balance
    arguments: {loan: {type: string}}
    effect: read
prompts:
  greet: {text: "Hello {name}", arguments: {name: {}}}
"""


def faults(tmp_path: Path, text: str) -> list[str]:
    """The faults of a configuration, each without the name of its file."""
    file = tmp_path / "penstock.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [str(fault).removeprefix(f"{file}:") for fault in caught.value.faults]


def test_a_sound_configuration_has_none(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(SOUND, "utf-8")

    config = load(file)

    assert config.pooler.calls_max == 100
    assert config.backends["loans"].pool.cap == 2
    assert config.operations["balance"].method == "balance"


# What is replaced in SOUND, by what, and then: the place, the key, and how the sentence begins.
CASES = [
    ("calls_max", "calls_mx", "1:10 pooler.calls_mx", "unknown key; did you mean 'calls_max'?"),
    ("100", "many", "1:21 pooler.calls_max", "must be a whole number"),
    ("100", "1.5", "1:21 pooler.calls_max", "must be a whole number"),
    ("100", "true", "1:21 pooler.calls_max", "must be a number"),
    ("100", "0", "1:21 pooler.calls_max", "must be at least 1"),
    ("calls_max: 100", "listen: localhost", "1:18 pooler.listen", "must be HOST:PORT, for example 127.0.0.1:7433"),
    (
        "calls_max: 100",
        "listen: 127.0.0.1:70000",
        "1:18 pooler.listen",
        "must be HOST:PORT, for example 127.0.0.1:7433",
    ),
    ("calls_max: 100", "log_level: loud", "1:21 pooler.log_level", "must be 'debug', 'info', 'warning' or 'error'"),
    ("calls_max: 100", "store: redis", "1:17 pooler.store", "must be 'memory' or 'sqlite'"),
    ("calls_max: 100", "handle_keys: []", "1:23 pooler.handle_keys", "must not be empty"),
    (
        "calls_max: 100",
        "conversations: {idle_second: 3}",
        "1:26 pooler.conversations.idle_second",
        "unknown key; did you mean 'idle_seconds'?",
    ),
    ("{calls_max: 100}", "7", "1:9 pooler", "must be a mapping of keys to values"),
    ("pooler", "poolr", "1:1 poolr", "unknown key; did you mean 'pooler'?"),
    ("kind: process", "kind: proces", "4:11 backends.loans.kind", "no such kind; did you mean 'process'?"),
    (
        "kind: process",
        "x: y",
        "3:3 backends.loans.kind",
        "is missing; known are postgres, process, simulated and sqlalchemy",
    ),
    ("command:", "comand:", "5:5 backends.loans.comand", "unknown key; did you mean 'command'?"),
    ("[./loans-worker]", "[]", "5:14 backends.loans.command", "must not be empty"),
    ("cap: 2", "cap: 0", "6:17 backends.loans.pool.cap", "must be at least 1"),
    (
        "cap: 2",
        "warm: 2",
        "6:5 backends.loans.pool.cap",
        "is missing; add it (the most connections the backend may ever see, dying ones included)",
    ),
    (
        "cap: 2",
        "cap: 2, warm: 3",
        "6:26 backends.loans.pool.warm",
        "must be at most the cap, which is 2; lower it or raise the cap",
    ),
    ("cap: 2", "cap: 2, idle_seconds: 0", "6:34 backends.loans.pool.idle_seconds", "must be more than 0"),
    ("cap: 2", "cap: 2, idle_seconds: .inf", "6:34 backends.loans.pool.idle_seconds", "must be at most 2592000"),
    (
        "backend: loans",
        "backend: loan",
        "9:14 operations.balance.backend",
        "no backend is called that; did you mean 'loans'?",
    ),
    ("backend: loans", "tool: no", "8:3 operations.balance.backend", "is missing; add it (the backend that does it)"),
    ("effect: read", "effect: reed", "12:13 operations.balance.effect", "must be 'read' or 'write'"),
    ("effect: read", "effect: read\n    tool: perhaps", "13:11 operations.balance.tool", "must be true or false"),
    (
        "method: balance",
        "title: 7\n    method: balance",
        "10:12 operations.balance.title",
        "must be a text; put it in quotes",
    ),
    (
        "method: balance",
        "description: x",
        "8:3 operations.balance",
        "needs either a `statement` or a `method`; give exactly one of them",
    ),
    (
        "method: balance",
        "method: balance\n    statement: SELECT 1",
        "8:3 operations.balance",
        "needs either a `statement` or a `method`; give exactly one of them",
    ),
    (
        "method: balance",
        "statement: SELECT 1",
        "10:16 operations.balance.statement",
        "a worker process has no statements: name its `method` instead",
    ),
    (
        "method: balance",
        "method: ping",
        "10:13 operations.balance.method",
        "the method 'ping' belongs to the worker protocol: give the worker another name",
    ),
    (
        "  balance:",
        "  my balance:",
        "8:3 operations.my balance",
        "is no usable name; use letters, digits, `_`, `-` and `.`, at most 128 characters",
    ),
    (
        "type: string",
        "type: strin",
        "11:30 operations.balance.arguments.loan.type",
        'is no sound JSON Schema (2020-12): "strin" is not valid under any of',
    ),
    (
        "type: string",
        "type: string, default: 7",
        "11:47 operations.balance.arguments.loan.default",
        "does not fit the argument's own schema; correct one of them",
    ),
    (
        "type: string",
        "type: string, complete: loans",
        "11:48 operations.balance.arguments.loan.complete",
        "no operation is called 'loans'; known are balance",
    ),
    (
        "effect: read",
        "effect: read\n    mime_type: text/plain",
        "13:16 operations.balance.mime_type",
        "is for resources; add `resource` or leave it out",
    ),
    (
        "effect: read",
        "effect: read\n    resource: 'loans://{lona}'",
        "13:15 operations.balance.resource",
        "the variable 'lona' is no argument; did you mean 'loan'?",
    ),
    (
        "effect: read",
        "effect: read\n    resource: 'loans://all'",
        "13:15 operations.balance.resource",
        "has no place for loan; add it to the URI, or give the argument a default",
    ),
    (
        "effect: read",
        "effect: read\n    resource: '/loans/{loan}'",
        "13:15 operations.balance.resource",
        "must be a URI or a URI template with a scheme, for example orders://{customer}",
    ),
    (
        "effect: read",
        "effect: read\n    resource: 'loans://{loan:3}'",
        "13:15 operations.balance.resource",
        "a `:n` modifier, or a brace without its other half, cannot be matched; write {name}",
    ),
    (
        "effect: read",
        "effect: write\n    resource: 'loans://{loan}'",
        "13:15 operations.balance.resource",
        "reading a resource may change nothing; only operations with `effect: read` can be one",
    ),
    (
        "effect: read",
        "effect: read\n    returns: table",
        "13:14 operations.balance.returns",
        "must be `content` or a JSON Schema mapping",
    ),
    (
        "effect: read",
        "effect: read\n    returns: {minimum: 1}",
        "13:14 operations.balance.returns",
        "must say its `type`, as one word: only objects are answered as they are",
    ),
    (
        "effect: read",
        "effect: read\n    returns: {type: array, items: {$ref: 'http://example.com/x'}}",
        "13:14 operations.balance.returns",
        "is no sound JSON Schema (2020-12): Resource 'http://example.com/x' is not",
    ),
    (
        "Hello {name}",
        "Hello {nmae} {name}",
        "14:17 prompts.greet.text",
        "the place {nmae} is no argument; did you mean 'name'?",
    ),
    (
        "Hello {name}",
        "Hello",
        "14:44 prompts.greet.arguments.name",
        "has no place in the text; add {name} or leave it out",
    ),
    (
        'text: "Hello {name}"',
        "operation: balanc",
        "14:22 prompts.greet.operation",
        "no operation is called 'balanc'; did you mean 'balance'?",
    ),
    (
        "effect: read",
        "effect: read\n    constraints: {properties: {}}",
        "13:19 operations.balance.constraints.properties",
        "is made from `arguments`; leave it out",
    ),
    (
        "effect: read",
        "effect: read\n    constraints: {required: loan}",
        "13:29 operations.balance.constraints.required",
        "must be a list of arguments",
    ),
    (
        "effect: read",
        "effect: read\n    constraints: {required: [lone]}",
        "13:29 operations.balance.constraints.required",
        "'lone' is no argument; did you mean 'loan'?",
    ),
    (
        "effect: read",
        "effect: read\n    constraints: {anyOf: {}}",
        "13:26 operations.balance.constraints.anyOf",
        "is no sound JSON Schema (2020-12)",
    ),
    (
        'text: "Hello {name}"',
        "title: x",
        "14:3 prompts.greet",
        "needs either a `text` or an `operation`; give exactly one of them",
    ),
]


@pytest.mark.parametrize(("sound", "faulty", "place", "sentence"), CASES)
def test_a_fault_is_told_with_its_place_and_a_remedy(
    tmp_path: Path, sound: str, faulty: str, place: str, sentence: str
) -> None:
    assert sound in SOUND

    found = faults(tmp_path, SOUND.replace(sound, faulty, 1))

    assert [fault for fault in found if fault.startswith(f"{place}: {sentence}")], f"not among {found}"


def test_every_fault_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = dedent("""\
        pooler: {calls_mx: 3}
        backends:
          orders: {kind: simulated, pool: {cap: 0, queue_timout: 3}}
          loans: {kind: process, command: [./w], pool: {cap: 2, warm: 3}}
        operations:
          a: {backend: lons, method: balance, effect: read}
          b: {backend: loans, method: balance, effect: reed, arguments: {x: {type: strin}}}
          a: {}
        """)

    assert [fault.partition(" ")[0] for fault in faults(tmp_path, text)] == [
        "1:10", "3:41", "3:44", "4:63", "6:16", "7:48", "7:76", "8:3",
    ]  # fmt: skip


def test_a_file_without_any_backend_is_told_what_to_add(tmp_path: Path) -> None:
    assert faults(tmp_path, "pooler: {}\n") == [
        "1:1 backends: is missing; name at least one backend, its kind and its pool"
    ]


def test_two_operations_cannot_answer_for_one_address(tmp_path: Path) -> None:
    text = SOUND.replace("effect: read", "effect: read\n    resource: 'loans://{loan}'").replace(
        "prompts:",
        "  other: {backend: loans, method: m, effect: read, arguments: {loan: {}}, resource: 'loans://{loan}'}\nprompts:",
    )

    assert faults(tmp_path, text) == [
        "14:85 operations.other.resource: is the resource of 'balance' already; change one of them"
    ]


def test_an_operation_that_writes_completes_nothing(tmp_path: Path) -> None:
    text = SOUND.replace("type: string", "type: string, complete: set").replace(
        "prompts:", "  set: {backend: loans, method: m, effect: write}\nprompts:"
    )

    (fault,) = faults(tmp_path, text)

    assert fault.startswith("11:48 operations.balance.arguments.loan.complete: 'set' writes, and completing happens at")


def test_a_completion_may_only_require_what_is_known_while_typing(tmp_path: Path) -> None:
    text = SOUND.replace("type: string", "type: string, complete: codes").replace(
        "prompts:",
        "  codes: {backend: loans, method: m, effect: read, arguments: {value: {}, country: {}}}\nprompts:",
    )

    (fault,) = faults(tmp_path, text)

    assert fault.startswith("11:48 operations.balance.arguments.loan.complete: 'codes' requires country, which nobody")


def test_a_prompt_of_an_operation_names_that_operations_arguments(tmp_path: Path) -> None:
    text = SOUND.replace('text: "Hello {name}"', "operation: balance")

    assert faults(tmp_path, text) == [
        "14:42 prompts.greet.arguments: the operation 'balance' also needs loan",
        "14:43 prompts.greet.arguments.name: the operation 'balance' takes no such argument; known are loan",
    ]


def test_a_prompt_of_an_operation_has_only_texts_to_give(tmp_path: Path) -> None:
    text = SOUND.replace('text: "Hello {name}", arguments: {name: {}}', "operation: balance").replace(
        "type: string", "type: integer"
    )

    assert faults(tmp_path, text) == [
        "14:22 prompts.greet.operation: a prompt's arguments are texts, but 'loan' of the operation is none"
    ]


def test_a_token_never_stands_in_the_file(tmp_path: Path) -> None:
    text = SOUND + "frontend: {tokens: [{token: 0123456789abcdef0123, tenant: a}]}\n"

    (fault,) = faults(tmp_path, text)

    assert fault == (
        "15:29 frontend.tokens.0.token: a secret stands in the file; write ${NAME} or ${file:PATH} and keep it there"
    )


def test_a_key_that_seals_handles_never_stands_in_the_file(tmp_path: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    text = SOUND.replace("calls_max: 100", f'handle_keys: ["{key}"]')

    (fault,) = faults(tmp_path, text)

    assert fault == (
        "1:24 pooler.handle_keys.0: a secret stands in the file; write ${NAME} or ${file:PATH} and keep it there"
    )


@pytest.mark.parametrize("secret", ["hunter2", "aHVudGVyMg==", base64.b64encode(bytes(33)).decode(), ""])
def test_a_key_that_cannot_seal_is_told_with_its_place_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("GOOD", base64.b64encode(bytes(32)).decode())
    monkeypatch.setenv("KEY", secret)
    text = SOUND.replace("calls_max: 100", 'handle_keys: ["${GOOD}", "${KEY}"]')

    (fault,) = faults(tmp_path, text)

    assert fault.startswith("1:35 pooler.handle_keys.1: must be 32 bytes of chance in base64, as `openssl rand")
    assert not secret or secret not in fault


def test_a_fault_never_shows_the_value_that_was_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN", "hunter2-is-no-address")

    (fault,) = faults(tmp_path, SOUND.replace("calls_max: 100", "listen: '${LISTEN}'"))

    assert "hunter2" not in fault
    assert fault.startswith("1:18 pooler.listen: ")
