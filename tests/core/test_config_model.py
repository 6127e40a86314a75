"""What a sound configuration gives to the rooms below: defaults, equality, schemas, operations."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from pooler.backends import registry
from pooler.config import Config, OperationConfig, Pool, PromptArgumentConfig, load
from pooler.config.keeping import Keeping
from pooler.config.operations import TABLE_SCHEMA
from pooler.config.schema import file_schema

CONFIG = """\
backends:
  loans: {kind: process, command: [./worker], pool: {cap: 2, start_timeout_seconds: 20}}
operations:
  balance:
    backend: loans
    method: balance
    arguments:
      loan: {type: string, description: Loan number, complete: codes}
      day: {type: string, default: today}
    effect: read
  codes: {backend: loans, method: codes, arguments: {value: {type: string}}, effect: read}
prompts:
  explain: {operation: balance}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "penstock.yaml"
    file.write_text(CONFIG, "utf-8")
    return load(file)


def operation(**keys: Any) -> OperationConfig:
    return OperationConfig.model_validate({"backend": "orders", "effect": "read"} | keys)


def test_the_queue_waits_ten_seconds_longer_than_a_start_may_take(config: Config) -> None:
    assert config.backends["loans"].pool.queue_timeout_seconds == 30.0
    assert Pool(cap=1, queue_timeout_seconds=5).queue_timeout_seconds == 5.0


def test_the_same_file_loaded_twice_gives_equal_parts(config: Config) -> None:
    again = load(config.file)

    assert again == config
    assert again.backends["loans"].pool is not config.backends["loans"].pool


def test_a_changed_key_makes_a_part_unequal_and_leaves_the_others(config: Config) -> None:
    config.file.write_text(CONFIG.replace("cap: 2", "cap: 3"), "utf-8")

    changed = load(config.file)

    assert changed.backends["loans"].settings == config.backends["loans"].settings
    assert changed.backends["loans"].pool != config.backends["loans"].pool
    assert changed.operations == config.operations


def test_arguments_are_required_unless_they_have_a_default(config: Config) -> None:
    assert config.operations["balance"].input_schema() == {
        "type": "object",
        "properties": {
            "loan": {"type": "string", "description": "Loan number"},
            "day": {"type": "string", "default": "today"},
        },
        "required": ["loan"],
        "additionalProperties": False,
    }
    assert config.operations["balance"].completions() == {"loan": "codes"}


def test_what_holds_for_all_arguments_together_stands_in_their_schema(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(
        CONFIG.replace(
            "      loan: {type: string, description: Loan number, complete: codes}\n",
            "      loan: {$ref: '#/$defs/number'}\n      name: {type: string}\n",
        ).replace(
            "    effect: read\n  codes",
            "    constraints:\n"
            "      $defs: {number: {type: string, pattern: '^[0-9]+$'}}\n"
            "      required: []\n"
            "      anyOf: [{required: [loan]}, {required: [name]}]\n"
            "    effect: read\n  codes",
        ),
        "utf-8",
    )
    schema = load(file).operations["balance"].input_schema()
    fits = jsonschema_rs.Draft202012Validator(schema).is_valid
    assert [fits(each) for each in ({"loan": "7"}, {"name": "x"}, {"day": "today"}, {"loan": "x"})] == [
        True,
        True,
        False,
        False,
    ]


def test_a_prompt_of_an_operation_has_its_arguments(config: Config) -> None:
    assert config.prompts["explain"].arguments == {
        "loan": PromptArgumentConfig(description="Loan number", required=True, complete="codes"),
        "day": PromptArgumentConfig(description="", required=False, complete=None),
    }


def test_an_adapter_gets_the_operation_without_our_own_key(config: Config) -> None:
    prepared = config.operations["balance"].to_operation("balance")

    assert prepared.name == "balance"
    assert prepared.arguments["loan"] == {"type": "string", "description": "Loan number"}
    assert prepared.returns == "value"


@pytest.mark.parametrize(
    ("keys", "promised", "returns"),
    [
        ({"statement": "SELECT 1"}, TABLE_SCHEMA, "table"),
        ({"statement": "DELETE FROM t", "effect": "write"}, None, "table"),
        ({"method": "m"}, None, "value"),
        ({"method": "m", "returns": "content"}, None, "content"),
    ],
)
def test_tables_have_an_output_schema_and_unpromised_values_have_none(
    keys: dict[str, Any], promised: dict[str, Any] | None, returns: str
) -> None:
    assert operation(**keys).output_schema() == promised
    assert operation(**keys).to_operation("o").returns == returns


def test_a_promised_object_is_described_as_it_is() -> None:
    schema = {"type": "object", "properties": {"owed": {"type": "string"}}}

    assert operation(method="m", returns=schema).output_schema() == schema


def test_a_promised_value_that_is_no_object_is_described_as_it_is_wrapped() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/booking"}, "$defs": {"booking": {"type": "string"}}}

    promised = operation(method="m", returns=schema).output_schema()

    assert promised is not None
    validator = jsonschema_rs.Draft202012Validator(promised)
    assert validator.is_valid({"result": ["a", "b"]})
    assert not validator.is_valid({"result": [1]})
    assert not validator.is_valid(["a", "b"])


Editor = jsonschema_rs.Draft202012Validator


@pytest.fixture(scope="module")
def editor() -> Editor:
    """What an editor makes of `penstock check --schema`."""
    return jsonschema_rs.Draft202012Validator(file_schema(None))


def test_the_editors_schema_takes_a_sound_file(editor: Editor) -> None:
    assert list(editor.iter_errors(yaml.safe_load(CONFIG))) == []


@pytest.mark.parametrize(
    ("sound", "faulty"),
    [
        ("cap: 2", "cap: 0"),
        ("cap: 2", "cap: 2, banana: 1"),
        ("kind: process", "kind: banana"),
        ("command: [./worker], ", ""),
        ("effect: read\n  codes", "effect: reed\n  codes"),
        ("prompts:", "banana:"),
    ],
)
def test_the_editors_schema_refuses_a_faulty_one(editor: Editor, sound: str, faulty: str) -> None:
    assert sound in CONFIG
    assert not editor.is_valid(yaml.safe_load(CONFIG.replace(sound, faulty)))


def test_the_editors_schema_takes_a_reference_where_a_number_is_wanted(editor: Editor) -> None:
    assert editor.is_valid(yaml.safe_load(CONFIG.replace("cap: 2", 'cap: "${CAP}"')))


def test_the_editors_schema_knows_the_keys_of_every_kind() -> None:
    schema = file_schema(None)

    for kind in registry.KINDS:
        keys = set(schema["$defs"][f"backend-{kind}"]["properties"])
        assert keys == {"kind", "pool", *Keeping.model_fields, *registry.settings_of(kind).model_fields}


def test_the_editors_schema_has_the_frontends_own_words_for_its_section() -> None:
    frontend = {
        "type": "object",
        "properties": {"tokens": {"type": "array", "items": {"$ref": "#/$defs/Token"}}},
        "additionalProperties": False,
        "$defs": {"Token": {"type": "object", "required": ["token"]}},
    }
    validator = jsonschema_rs.Draft202012Validator(file_schema(frontend))

    assert validator.is_valid(yaml.safe_load(CONFIG) | {"frontend": {"tokens": [{"token": "${T}"}]}})
    assert not validator.is_valid(yaml.safe_load(CONFIG) | {"frontend": {"tokens": [{}]}})
    assert not validator.is_valid(yaml.safe_load(CONFIG) | {"frontend": {"banana": 1}})
