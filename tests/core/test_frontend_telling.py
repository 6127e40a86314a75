"""What a conversation's client reads of a run, and by which names any frontend goes on with it."""

from typing import Any

import orjson
import pytest
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp_types.methods import serialize_server_result

from frontend.conversations.telling import Place, Position, Question, Telling
from frontend.errors import PoolerError
from frontend.events import Accepted, Done, InputRequired, Log, Page, Progress, Queued, Reply, RunEvent, Working
from frontend.rendering import PROMPT, TOOL, Note, result_of

NOTE = Note(TOOL, "find", request_id=7, progress_token="t", log_level="info")
REPLY = Reply(b'{"rows":[[1]]}', content=False, timing_ms={})


def told(*events: RunEvent, note: Note = NOTE, version: str = "2025-11-25") -> list[tuple[str, dict[str, Any]]]:
    """Names and messages, as the client reads them."""
    telling = Telling("r1", note, version)
    messages = [each for event in events for each in telling.tell(event)]
    return [(each.position.name("r1"), orjson.loads(orjson.dumps(each.message))) for each in messages]


def test_a_run_is_told_from_its_place_in_the_queue_to_its_result():
    events = [
        RunEvent(1, Accepted("run.p.x", "r1", b"")),
        RunEvent(2, Queued(3, 5)),
        RunEvent(3, Working()),
        RunEvent(4, Log("info", "worker", b'"half way"')),
        RunEvent(5, Page(REPLY)),
        RunEvent(6, Done(None, {})),
    ]
    names, messages = zip(*told(*events), strict=True)
    assert names == ("r1.2", "r1.3", "r1.4", "r1.5")
    assert [message.get("method") for message in messages] == [
        "notifications/progress",
        "notifications/progress",
        "notifications/message",
        None,
    ]
    assert (messages[3]["id"], messages[3]["result"]["structuredContent"]) == (7, {"rows": [[1]]})


def test_a_request_is_answered_once_whatever_happens_behind_its_result():
    ended = RunEvent(6, Done(PoolerError("KILLED", "An administrator has ended it."), {}))
    ((name, _),) = told(RunEvent(5, Page(REPLY)), ended)
    assert name == "r1.5"


def test_a_result_has_the_form_of_the_clients_own_revision():
    ((_, answer),) = told(RunEvent(5, Page(REPLY)))
    assert "resultType" not in answer["result"]


@pytest.mark.parametrize("version", ["2025-11-25", "2025-03-26"])
def test_a_tools_value_is_told_in_the_poolers_own_bytes_and_as_the_sdk_would(version: str):
    reply = Reply(b'{"rows": [[1.50, null]]}', content=False, timing_ms={"queue_ms": 0.5})
    (message,) = Telling("r1", NOTE, version).tell(RunEvent(5, Page(reply)))
    encoded = orjson.dumps(message.message)
    assert b'"structuredContent":{"rows": [[1.50, null]]}' in encoded
    assert orjson.loads(encoded)["result"] == serialize_server_result(TOOL, version, result_of(reply, NOTE))


def test_progress_that_does_not_grow_is_not_told():
    events = [RunEvent(seq, Progress(value, 10, "")) for seq, value in ((2, 4), (3, 4), (4, 2), (5, 5))]
    assert [message["params"]["progress"] for _, message in told(*events)] == [4, 5]


def test_a_client_that_gave_no_progress_token_hears_of_no_progress():
    assert told(RunEvent(2, Progress(4, 10, "")), note=Note(TOOL, "find", request_id=7)) == []


def test_questions_become_requests_that_name_what_their_answers_are_for():
    asked = b'{"confirm":{"method":"elicitation/create","params":{"message":"Sure?"}},"a.b":{"method":"roots/list"}}'
    first, last = told(RunEvent(4, InputRequired(asked)))
    assert first == (
        "r1.3.1",
        {"jsonrpc": "2.0", "id": "r1.4.confirm", "method": "elicitation/create", "params": {"message": "Sure?"}},
    )
    assert last == ("r1.4", {"jsonrpc": "2.0", "id": "r1.4.a.b", "method": "roots/list"})
    assert [Question.named(str(message["id"])) for _, message in (first, last)] == [("r1", "confirm"), ("r1", "a.b")]


@pytest.mark.parametrize("request_id", ["", "r1", "r1.4", "r1.x.key", ".4.key", "r1.4.", 12, None])
def test_an_answer_to_what_was_never_asked_answers_no_question(request_id: str | int | None):
    assert Question.named(request_id) is None


def test_a_cancelled_request_is_answered_since_nothing_else_ends_its_stream():
    ((_, answer),) = told(RunEvent(3, Done(PoolerError("CANCELLED", "Operation find was cancelled."), {})))
    assert answer == {"jsonrpc": "2.0", "id": 7, "error": {"code": REQUEST_CANCELLED, "message": "Request cancelled"}}


def test_a_tools_failure_is_a_result_and_a_prompts_an_error():
    failed = RunEvent(3, Done(PoolerError("QUEUE_FULL", "The queue is full."), {}))
    ((_, tools),) = told(failed)
    ((_, prompts),) = told(failed, note=Note(PROMPT, "greet", request_id=7))
    assert tools["result"]["isError"] is True
    assert prompts["error"]["code"] == -32010


def test_a_worker_that_answers_with_no_result_at_all_fails_its_request():
    reply = Reply(b'{"content":[{"type":"hologram"}]}', content=True, timing_ms={})
    ((_, answer),) = told(RunEvent(3, Page(reply)))
    assert answer["result"]["_meta"]["penstock/error"]["reason"] == "INTERNAL"


@pytest.mark.parametrize("position", [Position(0), Position(4), Position(3, 1)])
def test_a_name_says_where_to_go_on(position: Position):
    assert Place.named(position.name("r12")) == ("r12", position)


@pytest.mark.parametrize(
    "name", ["", "r1", "r1.", ".1", "r1.x", "r1.1.2.3", "r1.-1", "r 1.1", "r1.٣", "r1." + "9" * 40]
)
def test_what_no_stream_has_ever_said_names_no_place(name: str):
    assert Place.named(name) is None


def test_places_come_in_the_order_in_which_they_are_told():
    assert sorted([Position(4), Position(3, 2), Position(3), Position(3, 1)]) == [
        Position(3),
        Position(3, 1),
        Position(3, 2),
        Position(4),
    ]
