"""What a run's client reads: pure functions of the event and of the note that its starter left."""

from typing import Any

import orjson
import pytest

from frontend.errors import PoolerError, ProtocolError
from frontend.events import (
    Accepted,
    Done,
    Happening,
    InputRequired,
    Log,
    Page,
    Progress,
    Queued,
    Reply,
    RunEvent,
    Starting,
    Working,
)
from frontend.rendering import (
    PROMPT,
    RESOURCE,
    TOOL,
    Note,
    answer_of,
    failure_of,
    notifications_of,
    result_of,
    step_of,
)
from frontend.splicing import TIMING_META

TIMING = {"queue_ms": 1.0, "start_ms": 0.0, "reset_ms": 0.0, "backend_ms": 2.0}
HEARS_ALL = Note(TOOL, "look", request_id=7, progress_token="p", log_level="debug")


def reply(body: Any, content: bool = False, asks: bool = False) -> Reply:
    return Reply(orjson.dumps(body), content, TIMING, asks)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (Queued(1, 9), "queued, next in line"),
        (Queued(4, 9), "queued, 3 ahead"),
        (Queued(2_001, 3_000), "queued, 2,000 ahead"),
        (Starting(0), "starting a client"),
        (Starting(12_300), "starting a client, about 12 s"),
        (Working(), "at work"),
        (Progress(4_000, 10_000, "4,000 of 10,000 rows"), "4,000 of 10,000 rows"),
        (Progress(4_000, 10_000, ""), "4,000 of 10,000"),
        (Progress(4_000, None, ""), "4,000 so far"),
        (Progress(0.25, 1, ""), "0.25 of 1"),
    ],
)
def test_progress_is_told_in_words(what: Happening, message: str):
    step = step_of(RunEvent(3, what))
    assert step is not None
    assert step.message == message


def test_progress_increases_from_waiting_to_work_in_whatever_unit_the_worker_counts():
    for unit in (1.0, 100.0, 1e9):
        happenings: list[Happening] = [
            Queued(9, 9),
            Queued(2, 9),
            Starting(1000),
            Working(),
            Progress(0, unit, ""),
            Progress(unit / 100, unit, ""),
            Progress(unit, unit, ""),
        ]
        steps = [step_of(RunEvent(seq, what)) for seq, what in enumerate(happenings, 2)]
        values = [step.progress for step in steps if step is not None]
        assert len(values) == len(happenings)
        assert values == sorted(set(values))
        assert values[-2:] == [unit / 100, unit]


@pytest.mark.parametrize("what", [Accepted("r", "n", b""), InputRequired(b"{}"), Page(reply({})), Done(None, TIMING)])
def test_what_is_no_progress_is_not_told_as_such(what: Happening):
    assert step_of(RunEvent(1, what)) is None
    assert notifications_of(RunEvent(1, what), HEARS_ALL) == []


def test_a_progress_notification_has_the_clients_token():
    [notification] = notifications_of(RunEvent(5, Progress(50, 100, "half")), HEARS_ALL)
    assert notification == {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": "p", "progress": 50, "total": 100, "message": "half"},
    }


def test_a_client_that_gave_no_token_hears_of_no_progress():
    assert notifications_of(RunEvent(5, Progress(50, 100, "half")), Note(TOOL, "look")) == []


def test_a_log_line_is_told_at_its_level_and_above():
    told = {
        level: bool(notifications_of(RunEvent(5, Log(level, "", b'"x"')), Note(TOOL, "look", log_level="warning")))
        for level in ("debug", "info", "notice", "warning", "error", "emergency", "shouting")
    }
    assert told == {
        "debug": False,
        "info": False,
        "notice": False,
        "warning": True,
        "error": True,
        "emergency": True,
        "shouting": False,
    }


def test_a_log_line_says_its_logger_and_its_data():
    [notification] = notifications_of(RunEvent(5, Log("info", "loans", b'{"a":1}')), HEARS_ALL)
    assert notification["method"] == "notifications/message"
    assert notification["params"] == {"level": "info", "logger": "loans", "data": {"a": 1}}


def test_a_client_that_set_no_level_hears_no_log_lines():
    assert notifications_of(RunEvent(5, Log("emergency", "", b'"x"')), Note(TOOL, "look", progress_token="p")) == []


def test_a_tools_value_is_structured_and_repeated_as_text():
    result = result_of(reply({"rows": [[1]]}), HEARS_ALL)
    assert result["structuredContent"] == {"rows": [[1]]}
    assert result["content"] == [{"type": "text", "text": '{"rows":[[1]]}'}]
    assert result["_meta"] == {TIMING_META: TIMING}
    assert result["resultType"] == "complete"


def test_a_workers_own_content_is_passed_through():
    own = {"content": [{"type": "text", "text": "hi"}], "_meta": {"its": "own"}}
    result = result_of(reply(own, content=True), HEARS_ALL)
    assert result["content"] == own["content"]
    assert result["_meta"] == {"its": "own", TIMING_META: TIMING}


def test_a_worker_that_answers_with_what_is_no_mcp_fails_as_a_tool_does():
    result = result_of(reply({"content": "no list"}, content=True), HEARS_ALL)
    assert result["isError"] is True
    assert "no MCP CallToolResult" in result["content"][0]["text"]


def test_a_resource_has_its_address_and_its_type():
    result = result_of(reply({"a": 1}), Note(RESOURCE, "loans://1", mime_type="application/x-loan"))
    assert result["contents"] == [{"uri": "loans://1", "mimeType": "application/x-loan", "text": '{"a":1}'}]


def test_a_prompt_is_what_the_user_says():
    result = result_of(reply({"a": 1}), Note(PROMPT, "review", description="Looks at it."))
    assert result["messages"] == [{"role": "user", "content": {"type": "text", "text": '{"a":1}'}}]
    assert result["description"] == "Looks at it."


@pytest.mark.parametrize("method", [TOOL, RESOURCE, PROMPT])
def test_a_reply_that_asks_is_a_round_of_any_request(method: str):
    form = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
    asked = {"inputRequests": {"name": {"method": "elicitation/create", "params": form}}, "requestState": "s"}
    assert result_of(reply(asked, asks=True), Note(method, "x")) == {**asked, "resultType": "input_required"}


def test_a_tools_failure_is_a_result_and_anything_elses_an_error():
    slow = PoolerError("WORK_TIMEOUT", "The work took longer than 5 s.")
    assert failure_of(slow, HEARS_ALL)["content"][0]["text"] == "The work took longer than 5 s."
    with pytest.raises(ProtocolError) as caught:
        failure_of(slow, Note(RESOURCE, "loans://1"))
    assert caught.value.code == -32011


def test_the_answer_comes_with_the_page_or_with_a_failed_end():
    slow = PoolerError("WORK_TIMEOUT", "Slow.")
    page = answer_of(RunEvent(8, Page(reply({}))), HEARS_ALL)
    assert page is not None
    assert (page["id"], page["result"]["structuredContent"]) == (7, {})
    assert answer_of(RunEvent(9, Done(None, TIMING)), HEARS_ALL) is None
    failed = answer_of(RunEvent(9, Done(slow, TIMING)), HEARS_ALL)
    assert failed is not None
    assert failed["result"]["isError"] is True
    error = answer_of(RunEvent(9, Done(slow, TIMING)), Note(RESOURCE, "loans://1", request_id="a"))
    assert error is not None
    assert (error["id"], error["error"]["code"], error["error"]["message"]) == ("a", -32011, "Slow.")


def test_a_note_reads_as_it_was_packed():
    note = Note(RESOURCE, "loans://1", 0, "token", "info", "text/plain", "d", "digest")
    assert Note.unpack(note.pack()) == note
    assert Note.unpack(Note(TOOL, "look").pack()) == Note(TOOL, "look")


@pytest.mark.parametrize("packed", [b"", b"not JSON", b"[1]", b'{"from":"a newer program"}'])
def test_a_note_of_another_program_reads_as_a_tool_calls(packed: bytes):
    assert Note.unpack(packed) == Note(TOOL, "")


def test_a_note_that_the_pooler_would_not_keep_is_refused_as_the_clients_fault():
    with pytest.raises(ProtocolError) as caught:
        Note(TOOL, "look", request_id="x" * 20_000).pack()
    assert caught.value.code == -32602
    assert "16384" in caught.value.message
