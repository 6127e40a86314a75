"""What a worker's results become, and which settings and operations a worker can have."""

from typing import Any

import orjson
import pytest

from pooler.backends.base import BackendError, FailureKind, Operation
from pooler.backends.process import results
from pooler.backends.process.settings import Settings


def prepared(**keys: Any) -> results.Prepared:
    return results.prepare(Operation("loan_balance", "read", method="balance", **keys))


def body(result: Any, **keys: Any) -> Any:
    return orjson.loads(results.answer(result, prepared(**keys)).body)


def failure(result: Any, **keys: Any) -> tuple[FailureKind, str]:
    with pytest.raises(BackendError) as raised:
        results.answer(result, prepared(**keys))
    return raised.value.failure.kind, raised.value.failure.message


@pytest.mark.parametrize("value", [None, 0, "text", [1, 2], True, 1.5])
def test_a_value_that_is_no_object_is_wrapped(value: Any) -> None:
    assert body(value) == {"result": value}


def test_an_object_is_the_answer_itself() -> None:
    assert body({"balance": "12.50", "result": None}) == {"balance": "12.50", "result": None}


def test_mcp_content_passes_through_untouched_and_is_marked() -> None:
    result = {
        "resultType": "complete",
        "content": [{"type": "text", "text": "żółw"}],
        "isError": True,
        "_meta": {"a": 1},
    }
    answer = results.answer(result, prepared(returns="content"))
    assert answer.content
    assert orjson.loads(answer.body) == result


def test_a_page_with_more_to_come_says_truncated() -> None:
    page = {"resultType": "page", "columns": ["n"], "rows": [[1], [2]], "more": True}
    assert body(page) == {"columns": ["n"], "rows": [[1], [2]], "row_count": 2, "truncated": True}


def test_a_page_longer_than_the_operations_page_is_cut() -> None:
    page = {"resultType": "page", "columns": ["n"], "rows": [[1], [2], [3]]}
    assert body(page, page_rows=2) == {"columns": ["n"], "rows": [[1], [2]], "row_count": 2, "truncated": True}


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"rows": []}, "`columns`"),
        ({"columns": ["n", 1], "rows": []}, "`columns`"),
        ({"columns": ["n"]}, "`rows`"),
        ({"columns": ["n"], "rows": [[1, 2]]}, "lists of 1 cells"),
        ({"columns": ["n"], "rows": [{"n": 1}]}, "lists of 1 cells"),
    ],
)
def test_a_page_of_another_shape_is_the_workers_bug(page: dict[str, Any], said: str) -> None:
    kind, message = failure({"resultType": "page", **page})
    assert kind is FailureKind.BUG
    assert said in message


def test_a_result_type_that_does_not_exist_is_the_workers_bug() -> None:
    assert failure({"resultType": "stream"})[0] is FailureKind.BUG


ASK = {"method": "elicitation/create", "params": {"message": "Which loan?"}}


@pytest.mark.parametrize(
    "asked",
    [
        {"inputRequests": {"loan": ASK}, "requestState": "page 2"},
        {"inputRequests": {"loan": ASK, "roots": {"method": "roots/list"}}},
        {"inputRequests": {}, "requestState": "try again later"},
    ],
)
def test_a_worker_may_ask_its_user_and_is_then_not_done(asked: dict[str, Any]) -> None:
    answer = results.answer({"resultType": "input_required", **asked, "extra": 1}, prepared())
    assert answer.asks
    assert not answer.content
    assert orjson.loads(answer.body) == asked


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "it asks for nothing"),
        ({"inputRequests": []}, "no object of {method, params}"),
        ({"inputRequests": {"loan": "which?"}}, "no object of {method, params}"),
        ({"inputRequests": {"loan": {"params": {}}}}, "no object of {method, params}"),
        ({"inputRequests": {"loan": {**ASK, "params": []}}}, "no object of {method, params}"),
        ({"inputRequests": {"loan": {**ASK, "id": 1}}}, "no object of {method, params}"),
        ({"inputRequests": {"loan": ASK}, "requestState": 7}, "`requestState` that is no text"),
    ],
)
def test_a_question_of_another_shape_is_the_workers_bug(asked: dict[str, Any], said: str) -> None:
    kind, message = failure({"resultType": "input_required", **asked})
    assert kind is FailureKind.BUG
    assert said in message


def test_a_question_larger_than_a_page_is_refused() -> None:
    asked = {"inputRequests": {"loan": ASK}, "requestState": "x" * 2000}
    assert failure({"resultType": "input_required", **asked}, page_bytes=1024)[0] is FailureKind.TOO_LARGE


@pytest.mark.parametrize("result", ["x" * 2000, {"resultType": "complete", "content": ["x" * 2000]}])
def test_a_value_larger_than_a_page_is_refused_with_its_size(result: Any) -> None:
    kind, message = failure(result, page_bytes=1024)
    assert kind is FailureKind.TOO_LARGE
    assert "1024" in message


def test_a_value_that_fits_the_promised_schema_is_passed_on() -> None:
    schema = {"type": "object", "properties": {"balance": {"type": "string"}}, "required": ["balance"]}
    assert body({"balance": "1.00"}, returns=schema) == {"balance": "1.00"}
    assert body(5, returns={"type": "integer"}) == {"result": 5}


def test_a_value_that_breaks_the_promised_schema_is_the_workers_bug_and_names_the_place() -> None:
    schema = {
        "type": "object",
        "properties": {"loan": {"type": "object", "properties": {"balance": {"type": "string"}}}},
    }
    kind, message = failure({"loan": {"balance": 12}}, returns=schema)
    assert kind is FailureKind.BUG
    assert "loan/balance" in message
    assert "'balance'" in message


def test_a_schema_that_is_none_is_refused_when_the_operation_is_prepared() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        prepared(returns={"type": "nonsense"})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"statement": "SELECT 1"}, "has no statements"),
        ({}, "`method` is missing"),
        ({"method": "reset"}, "belongs to the worker protocol"),
        ({"method": "balance", "arguments": {"_meta": {}}}, "`_meta` belongs"),
    ],
)
def test_an_operation_that_no_worker_can_serve_is_told_why(keys: dict[str, Any], said: str) -> None:
    [fault] = Settings.check(Operation("x", "read", **keys))
    assert said in fault


def test_a_sound_operation_has_no_faults() -> None:
    assert Settings.check(Operation("x", "read", method="balance", arguments={"loan": {}})) == []


def test_what_the_environment_holds_is_shown_nowhere() -> None:
    settings = Settings.model_validate({"command": ["x"], "environment": {"PASSWORD": "hunter2!", "DEBUG": "1"}})
    assert "hunter2!" not in repr(settings)
    assert settings.mask("login with hunter2! failed 1 time") == "login with *** failed 1 time"
