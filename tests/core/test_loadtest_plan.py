"""What a plan may say, in a file or on the command line, and how its faults are told; and how it meets a catalogue."""

import re
from pathlib import Path

import orjson
import pytest

from pooler.config.faults import ConfigError
from pooler.loadtest.fitting import PlanError, fitted
from pooler.loadtest.flags import steps_of, tenants_of, vanish_of
from pooler.loadtest.plan import CallSpec, Plan, Step, without_credentials
from pooler.loadtest.plan_file import plan_of
from pooler.service.load_watch import Offered
from tests.house.tree import ROOT

FIND = Offered(
    "find_orders", True, {"type": "object", "properties": {"customer": {"type": "string"}}, "required": ["customer"]}
)
BEST = Offered("best", True, {"type": "object", "properties": {"count": {"type": "integer", "default": 10}}})
NOTE = Offered("note", False, {"type": "object"})
PICK = Offered(
    "pick",
    True,
    {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 1, "maximum": 3}},
        "required": ["kind", "n"],
    },
)


def written(folder: Path, text: str) -> Path:
    file = folder / "plan.yaml"
    file.write_text(text, "utf-8")
    return file


def test_a_plan_in_a_file_says_the_same_as_its_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP", "a-secret-token")
    file = written(
        tmp_path,
        """
target: {mcp: "http://127.0.0.1:1/mcp", era: 2025-11-25}
steps: [{rate: 50, seconds: 10}, {rate: 50, to: 400, seconds: 30}]
calls:
  - {operation: find_orders, weight: 3, arguments: {customer: {template: "C{n:04}", n: {zipf: 300}}}}
tenants: {shop: {weight: 3, token: "${SHOP}"}}
vanish: {share: 0.1, after_ms: 50}
expect: ["p99<250ms"]
""",
    )
    flags = {
        "target": {"mcp": "http://127.0.0.1:1/mcp", "era": "2025-11-25"},
        "steps": steps_of("50,50..400x30", 10),
        "vanish": vanish_of(0.1, "50", drop=False),
        "expect": ["p99<250ms"],
    }

    from_file, from_flags = plan_of(file, {}), plan_of(None, flags)

    assert from_file.steps == from_flags.steps == (Step(rate=50, seconds=10), Step(rate=50, to=400, seconds=30))
    assert (from_file.target, from_file.vanish, from_file.expect) == (
        from_flags.target, from_flags.vanish, from_flags.expect,
    )  # fmt: skip
    assert from_file.tenants["shop"].token == "a-secret-token"


def test_the_plan_that_the_readme_shows_is_sound(tmp_path, monkeypatch):
    monkeypatch.setenv("ORDERS_ADMIN_URL", "postgresql://dba@db/orders")
    (text,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
        if block.startswith("target:")
    ]

    plan = plan_of(written(tmp_path, text), {})

    assert (len(plan.steps), len(plan.calls), len(plan.expect)) == (3, 2, 3)


def test_a_flag_replaces_what_the_file_says_and_leaves_the_rest(tmp_path):
    file = written(tmp_path, "target: {pooler: 127.0.0.1:1, streams: 3}\nseed: 7\n")

    plan = plan_of(file, {"target": {"pooler": "127.0.0.1:2"}, "arrivals": "even"})

    assert (plan.target.pooler, plan.target.streams, plan.seed, plan.arrivals) == ("127.0.0.1:2", 3, 7, "even")


def test_every_fault_of_a_file_is_told_with_its_place(tmp_path):
    file = written(
        tmp_path,
        "stepps: []\n"
        "steps: [{rate: -1, seconds: 5}]\n"
        "calls: [{operation: a, arguments: {x: {rnage: [1, 2]}}}]\n"
        'expect: ["p99<250"]\n'
        "observe: postgresql://me:secret@db/x\n",
    )

    with pytest.raises(ConfigError) as error:
        plan_of(file, {})

    told = str(error.value)
    assert "plan.yaml:1:1 stepps: unknown key; did you mean 'steps'?" in told
    assert "plan.yaml:2:16 steps.0.rate: must be at least 0" in told
    assert "argument 'x': a mapping names one way to make a value, not rnage: did you mean 'range'?" in told
    assert "'p99<250': '250' does not fit; it takes 250ms or 1.5s" in told
    assert "observe: a secret stands in the file" in told
    assert "me:secret" not in told


def test_a_fault_of_a_flag_is_told_without_a_file():
    with pytest.raises(PlanError, match=r"target.mcp|target: mcp must be a URL"):
        plan_of(None, {"target": {"mcp": "127.0.0.1:8080"}})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: steps_of("fast", 5), "--rate 'fast'"),
        (lambda: steps_of("50,,60", 5), "--rate ''"),
        (lambda: tenants_of(["shop:many"]), "NAME:WEIGHT"),
        (lambda: vanish_of(0.5, "soon", drop=True), "--vanish-after 'soon'"),
    ],
)
def test_a_flag_that_cannot_be_read_is_told_how_it_is_written(make, words):
    with pytest.raises(PlanError) as error:
        make()

    assert words in str(error.value)


def test_what_a_report_shows_of_a_plan_has_no_secret():
    plan = Plan.model_validate(
        {
            "target": {"mcp": "https://user:pass@host/mcp?key=hidden"},
            "tenants": {"shop": {"token": "token-hidden"}},
            "observe": "postgresql://me:hidden@db/x",
        }
    )

    shown = orjson.dumps(plan.shown()).decode()
    assert "https://host/mcp" in shown
    assert not [secret for secret in ("pass", "hidden", "user:") if secret in shown + repr(plan).split("mcp=")[0]]
    assert "hidden" not in repr(plan.tenants)
    assert without_credentials(None) is None


def test_a_plan_without_calls_gets_an_operation_that_reads_and_needs_nothing():
    assert fitted(Plan(), [NOTE, FIND, BEST]).calls == (CallSpec(operation="best"),)


def test_what_a_schema_says_is_enough_to_make_arguments_of():
    (call,) = fitted(Plan(), [FIND, PICK]).calls

    assert call.arguments == {"kind": {"choice": ["a", "b"]}, "n": {"range": [1, 3]}}


def test_where_nothing_can_be_called_without_knowing_more_the_operations_are_named():
    with pytest.raises(PlanError, match="name one that reads: find_orders"):
        fitted(Plan(), [FIND, NOTE])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (CallSpec(operation="find_order"), "did you mean 'find_orders'?"),
        (CallSpec(operation="note"), "'note' changes something"),
        (CallSpec(operation="find_orders"), '"customer" is a required property'),
        (CallSpec(operation="find_orders", arguments={"customer": {"range": [1, 9]}}), "customer: "),
    ],
)
def test_a_call_that_does_not_fit_is_told_before_any_is_sent(call, words):
    with pytest.raises(PlanError) as error:
        fitted(Plan(calls=(call,)), [FIND, NOTE])

    assert words in str(error.value)


def test_what_changes_something_is_called_only_when_the_plan_says_so():
    assert fitted(Plan(calls=(CallSpec(operation="note"),), writes=True), [NOTE]).calls[0].operation == "note"
