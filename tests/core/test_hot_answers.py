"""What a plain call is answered with: what the SDK would write, with the pooler's own bytes in it."""

from typing import Any

import orjson
import pytest
from mcp_types import methods

from frontend.errors import PoolerError, ProtocolError, invalid_arguments
from frontend.events import Reply, Reuse
from frontend.hot.answers import Answers, event, ping
from frontend.hot.heads import Form
from frontend.rendering import TOOL, Note, failure_of, result_of
from frontend.splicing import CACHE_META, TIMING_META

STAMP = {"io.modelcontextprotocol/serverInfo": {"name": "penstock", "version": "1.2.3"}}
ANSWERS = Answers("penstock", "1.2.3")
TIMING = {"queue_ms": 0.5, "start_ms": 0.0, "reset_ms": 0.0, "backend_ms": 1.25}
FORMS = pytest.mark.parametrize("form", list(Form), ids=lambda form: form.name)


def told(message: bytes) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(message)
    return read


def by_sdk(form: Form, result: dict[str, Any]) -> dict[str, Any]:
    """A result as the SDK writes it in the form's revision."""
    made = methods.serialize_server_result(TOOL, form.version, result)
    return made | {"_meta": made["_meta"] | STAMP} if form is Form.MODERN else made


@FORMS
@pytest.mark.parametrize("reuse", [None, Reuse("stale", 1500, 0, ())])
def test_a_value_is_the_result_that_the_sdk_would_write(form: Form, reuse: Reuse | None):
    reply = Reply('{"rows": [[1.50, null, "é\\u2028\\"\\n"]]}'.encode(), content=False, timing_ms=TIMING, reuse=reuse)
    answer = ANSWERS.result(form, b'"x"', reply)
    assert reply.body in answer.message
    assert told(answer.message)["id"] == "x"
    written = by_sdk(form, result_of(reply, Note(TOOL, "look")))
    assert orjson.dumps(told(answer.message)["result"]) == orjson.dumps(told(orjson.dumps(written)))
    assert (CACHE_META in written["_meta"], TIMING_META in written["_meta"]) == (reuse is not None, True)


@FORMS
def test_a_failure_is_the_result_that_the_sdk_would_write(form: Form):
    error = PoolerError("QUEUE_FULL", "The queue is full.", {"retry_after_ms": "1500"})
    answer = ANSWERS.failure(form, b"7", error)
    assert orjson.dumps(told(answer.message)["result"]) == orjson.dumps(
        by_sdk(form, failure_of(error, Note(TOOL, "l")))
    )
    assert answer.status == 200


@FORMS
def test_arguments_that_do_not_fit_are_told_as_on_the_long_way(form: Form):
    misfit = invalid_arguments(["a: is no number"])
    result = told(ANSWERS.told(form, b"7", misfit).message)["result"]
    assert result == by_sdk(form, misfit | {"resultType": "complete"})


@pytest.mark.parametrize(("code", "status"), [(-32602, 400), (-32601, 404), (-32603, 200), (-32007, 200)])
def test_an_error_for_programs_has_the_status_of_its_revision(code: int, status: int):
    error = ProtocolError(code, "No.", {"page": 7})
    for form in Form:
        answer = ANSWERS.error(form, b"7", error)
        assert answer.status == (status if form is Form.MODERN else 200)
        assert told(answer.message)["error"] == {"code": code, "message": "No.", "data": {"page": 7}}


def test_a_workers_protocol_error_is_passed_on_as_one():
    error = PoolerError("PROTOCOL", "No such page", {"mcp_code": "-32007", "mcp_data": ""})
    assert told(ANSWERS.failure(Form.MODERN, b"7", error).message)["error"]["code"] == -32007


def test_a_message_on_a_stream_stands_on_one_line():
    data = event(b'{"a":\r\n [1,\n2]}')
    assert data == b'event: message\r\ndata: {"a":[1,2]}\r\n\r\n'


def test_a_sign_of_life_is_a_comment():
    assert ping(Form.MODERN) == b": ping\r\n\r\n"
    assert ping(Form.STATELESS).startswith(b": ping - 2")
