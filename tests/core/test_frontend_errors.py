"""What MCP clients hear of a failure."""

import pytest

from frontend import errors
from frontend.errors import PoolerError, ProtocolError, as_protocol_error, as_tool_result
from protos.penstock.v1 import pooler_pb2 as pb

REASONS = [name.removeprefix("REASON_") for name in pb.Reason.keys() if name != "REASON_UNSPECIFIED"]  # noqa: SIM118
NOT_FOR_MODELS = {"PROTOCOL", "OPERATION_NOT_FOUND"}
OF_ORDERS = {
    "BACKEND_NOT_FOUND", "CONNECTION_NOT_FOUND", "CALL_NOT_FOUND", "INVALID_ORDER", "INVALID_CONFIGURATION",
    "CREDENTIAL_REQUIRED", "NOT_PERMITTED",
}  # fmt: skip
"""What an administrator is told, and no call ends in."""


@pytest.mark.parametrize("reason", sorted(set(REASONS) - NOT_FOR_MODELS - OF_ORDERS))
def test_a_tool_that_fails_says_so_to_the_model_in_the_poolers_words(reason: str) -> None:
    result = as_tool_result(PoolerError(reason, "orders: the statement took longer than 5 s."))
    assert result["isError"] is True
    assert result["content"] == [{"type": "text", "text": "orders: the statement took longer than 5 s."}]
    assert result["_meta"] == {"penstock/error": {"reason": reason}}


def test_when_to_try_again_is_said_to_the_model_and_to_programs() -> None:
    result = as_tool_result(PoolerError("QUEUE_FULL", "orders: the queue is full.", {"retry_after_ms": "1500"}))
    assert result["content"][0]["text"] == "orders: the queue is full. Try again in 1.5 s."
    assert result["_meta"]["penstock/error"] == {"reason": "QUEUE_FULL", "retry_after_ms": 1500}


def test_when_to_try_again_is_said_once() -> None:
    result = as_tool_result(PoolerError("QUEUE_FULL", "Full; try again in 2 s.", {"retry_after_ms": "2000"}))
    assert result["content"][0]["text"] == "Full; try again in 2 s."


def test_a_workers_protocol_error_keeps_its_code_and_data() -> None:
    error = PoolerError("PROTOCOL", "No such page", {"mcp_code": "-32007", "mcp_data": '{"page":7}'})
    with pytest.raises(ProtocolError) as caught:
        as_tool_result(error)
    assert (caught.value.code, caught.value.message, caught.value.data) == (-32007, "No such page", {"page": 7})


@pytest.mark.parametrize(
    "metadata", [{}, {"mcp_code": "x"}, {"mcp_code": "9" * 30}, {"mcp_code": "-32007", "mcp_data": "{"}]
)
def test_a_protocol_error_that_cannot_be_read_is_an_internal_one(metadata: dict[str, str]) -> None:
    assert as_protocol_error(PoolerError("PROTOCOL", "?", metadata)).code == -32603


def test_an_operation_that_has_gone_meanwhile_is_an_unknown_tool() -> None:
    with pytest.raises(ProtocolError) as caught:
        as_tool_result(PoolerError("OPERATION_NOT_FOUND", "No operation 'x'."))
    assert caught.value.code == -32602


def test_every_reason_but_a_bug_and_a_cancel_has_a_code_of_its_own() -> None:
    internal = {reason for reason in REASONS if as_protocol_error(PoolerError(reason, "")).code == -32603}
    assert internal - OF_ORDERS == {"INTERNAL", "CANCELLED", "DEADLINE_REQUIRED", "PROTOCOL"}


def test_our_codes_lie_in_the_range_left_to_servers() -> None:
    ours = {errors.UNAVAILABLE, errors.TIMED_OUT, errors.REFUSED, errors.OUTCOME_UNKNOWN}
    assert len(ours) == 4
    assert all(-32019 <= code <= -32000 for code in ours)


def test_an_unknown_name_comes_with_the_nearest_known_one() -> None:
    assert errors.unknown("tool", "find_order", ["find_orders", "x"]).message == (
        "Unknown tool: 'find_order'; did you mean 'find_orders'?"
    )


def test_all_misfits_are_counted_and_named() -> None:
    result = errors.invalid_arguments(['a: 5 is not of type "string"', '"b" is a required property'])
    assert result["content"][0]["text"] == (
        '2 arguments do not fit: a: 5 is not of type "string"; "b" is a required property.'
    )
