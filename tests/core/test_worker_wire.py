"""The worker protocol's lines: what they mean, and what no worker may write."""

from typing import Any

import orjson
import pytest

from pooler.backends.base import FailureKind
from pooler.backends.process import wire
from pooler.backends.process.classify import refusal
from pooler.backends.process.wire import GarbageError, Note, Reply


def test_a_request_is_one_line_of_json_rpc() -> None:
    line = wire.request(7, "balance", {"loan": "a\nb"})
    assert b"\n" not in line
    assert orjson.loads(line) == {"jsonrpc": "2.0", "id": 7, "method": "balance", "params": {"loan": "a\nb"}}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":3,"result":{"a":1}}', Reply(3, {"a": 1})),
        (b'{"id":3,"result":null}', Reply(3)),
        (b'{"id":3,"result":5,"error":null}\r', Reply(3, 5)),
        (b'{"id":3,"error":{"code":-32000,"message":"no"}}', Reply(3, error={"code": -32000, "message": "no"})),
        (b'{"method":"log","params":{"id":3,"message":"x"}}', Note("log", 3, {"id": 3, "message": "x"})),
        (b'{"method":"progress"}', Note("progress", None, {})),
    ],
)
def test_a_line_is_read_as_what_it_says(line: bytes, expected: Reply | Note) -> None:
    assert wire.parse(line) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"Traceback (most recent call last):", "not JSON"),
        (b'{"id":1,"result":NaN}', "not JSON"),
        (b'{"id":1,"result":"\xff"}', "not JSON"),
        (b'["id",1]', "no JSON-RPC object"),
        (b'{"id":1}', "neither a result nor an error"),
        (b'{"result":1}', "without the number"),
        (b'{"id":"1","result":1}', "without the number"),
        (b'{"id":true,"result":1}', "without the number"),
        (b'{"id":1,"error":"no"}', "error that is no object"),
        (b'{"id":null,"error":{"code":-32700,"message":"Parse error"}}', "could not read a request: Parse error"),
        (b'{"id":1,"method":"sampling/createMessage"}', "asked the pooler"),
        (b'{"method":"log","params":[1]}', "without a name or an object"),
    ],
)
def test_garbage_is_told_apart(line: bytes, said: str) -> None:
    with pytest.raises(GarbageError, match=said):
        wire.parse(line)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_worker_may_name_each_kind_of_failure(kind: FailureKind) -> None:
    failure = refusal({"code": 1, "message": "words", "data": {"kind": kind.value}})
    assert (failure.kind, failure.message) == (kind, "words")


def test_an_error_without_a_kind_is_the_callers() -> None:
    assert refusal({"code": 1, "message": "no such loan"}).kind is FailureKind.USER_ERROR
    assert refusal({"code": 1, "message": "no such loan", "data": "text"}).kind is FailureKind.USER_ERROR


def test_a_worker_that_cancelled_by_itself_says_so_by_its_code() -> None:
    assert refusal({"code": -32800, "message": "stopped"}).kind is FailureKind.CANCELLED


def test_a_kind_that_does_not_exist_is_the_workers_bug() -> None:
    failure = refusal({"code": 1, "message": "words", "data": {"kind": "MAYBE"}})
    assert failure.kind is FailureKind.BUG
    assert "'MAYBE'" in failure.message


def test_an_error_for_the_mcp_client_keeps_its_code_and_data() -> None:
    data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
    failure = refusal({"code": 1, "message": "words", "data": {"mcp": {"code": -32021, "data": data}}})
    assert failure.protocol is not None
    assert (failure.protocol.code, failure.protocol.data) == (-32021, orjson.dumps(data))


def test_an_error_for_the_mcp_client_may_have_no_data() -> None:
    failure = refusal({"code": 1, "message": "words", "data": {"mcp": {"code": -32602}}})
    assert failure.protocol is not None
    assert failure.protocol.data is None


def test_a_secret_is_masked_before_the_message_is_cut() -> None:
    failure = refusal({"code": 1, "message": "x" * 495 + "hunter2"}, lambda text: text.replace("hunter2", "***"))
    assert failure.message == "x" * 495 + "***"


def test_a_workers_message_is_bounded() -> None:
    assert len(refusal({"code": 1, "message": "x" * 10_000}).message) == 500
    assert refusal({"code": 1}).message == "the worker gave no reason"
