"""What a worker says while it works, who hears it, and what it is told of its caller and of his user's answers."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from pooler.backends.base import Input
from tests.contract.scripted import Scripted
from tests.contract.windows import Listener, Reader

pytestmark = pytest.mark.anyio


async def heard(folder: Path, method: str, *notes: dict[str, Any], **keys: Any) -> list[tuple[Any, ...]]:
    """What a listener hears of notifications with these parameters, beside the request's id."""
    script = f"""
    log_in()
    request = read()
    for note in json.loads({json.dumps(json.dumps(notes))}):
        write(method={method!r}, params={{"id": request["id"], **note}})
    answer(request, 1)
    """
    scripted = Scripted(folder, script, **keys)
    connection = await scripted.open()
    listener = Listener()
    await scripted.work(connection, news=listener)
    await scripted.adapter.close(connection, force=True)
    return listener.told


async def test_progress_is_passed_on_with_whatever_the_worker_knows(tmp_path: Path) -> None:
    notes: list[dict[str, Any]] = [
        {"progress": 1},
        {"progress": 0.5, "total": 2},
        {"progress": 3, "total": 4, "message": "reading"},
    ]
    assert await heard(tmp_path, "progress", *notes) == [
        ("progress", 1, None, ""),
        ("progress", 0.5, 2, ""),
        ("progress", 3, 4, "reading"),
    ]


async def test_progress_that_is_no_number_is_none_and_harms_nothing(tmp_path: Path) -> None:
    notes: list[dict[str, Any]] = [
        {},
        {"progress": "half"},
        {"progress": True},
        {"progress": 1, "total": "2", "message": 3},
    ]
    assert await heard(tmp_path, "progress", *notes) == [("progress", 1, None, "")]


async def test_a_log_line_goes_to_the_listener_and_to_the_log(tmp_path: Path) -> None:
    with capture_logs() as logs:
        told = await heard(tmp_path, "log", {"level": "warning", "message": "slow tape"})
    assert told == [("log", "warning", "slow tape")]
    line = next(entry for entry in logs if entry["event"] == "worker log")
    assert (line["text"], line["log_level"], line["tenant"]) == ("slow tape", "warning", "acme")


async def test_log_data_is_any_value_and_a_level_that_does_not_exist_is_info(tmp_path: Path) -> None:
    notes: list[dict[str, Any]] = [
        {"level": "critical", "data": {"tape": [7, None]}},
        {"level": "loud", "message": "x"},
        {"level": []},
    ]
    assert await heard(tmp_path, "log", *notes) == [
        ("log", "critical", {"tape": [7, None]}),
        ("log", "info", "x"),
        ("log", "info", ""),
    ]


async def test_no_secret_of_the_environment_is_told_to_a_user(tmp_path: Path) -> None:
    environment = {"KEY": "hunter2-of-the-tape"}
    notes: list[dict[str, Any]] = [{"progress": 1, "message": "logging in with hunter2-of-the-tape"}]
    assert await heard(tmp_path, "progress", *notes, environment=environment) == [
        ("progress", 1, None, "logging in with ***")
    ]
    notes = [{"data": {"hunter2-of-the-tape": ["hunter2-of-the-tape", 7]}}]
    assert await heard(tmp_path, "log", *notes, environment=environment) == [("log", "info", {"***": ["***", 7]})]


async def test_news_of_a_request_that_nobody_listens_to_is_dropped(tmp_path: Path) -> None:
    script = """
    log_in()
    for _ in range(2):
        request = read()
        for number in (request["id"] - 1, 99, None, request["id"]):
            write(method="progress", params={"id": number, "progress": request["id"]})
        answer(request, 1)
    """
    scripted = Scripted(tmp_path, script)
    connection = await scripted.open()
    await scripted.work(connection)
    listener = Listener()
    await scripted.work(connection, news=listener)
    assert listener.told == [("progress", 2, None, "")]
    await scripted.adapter.close(connection, force=True)


async def test_news_of_a_later_page_may_name_either_request(tmp_path: Path) -> None:
    script = """
    log_in()
    request = read()
    answer(request, {"resultType": "page", "columns": ["n"], "rows": [[1]], "more": True})
    following = read()
    for number in (request["id"], following["id"]):
        write(method="progress", params={"id": number, "progress": number})
    answer(following, {"resultType": "page", "rows": [[2]]})
    """
    scripted = Scripted(tmp_path, script)
    connection = await scripted.open()
    listener = Listener()
    await scripted.work(connection, news=listener, window=Reader())
    assert listener.told == [("progress", 1, None, ""), ("progress", 2, None, "")]
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_that_declared_meta_is_told_of_what_the_user_can_be_asked_and_has_answered(
    tmp_path: Path,
) -> None:
    scripted = Scripted(tmp_path, "log_in(meta=True)\nserve()")
    connection = await scripted.open()
    responses = {"loan": {"action": "accept", "content": {"loan": "L-1"}}}
    given = Input(b'{"elicitation":{}}', orjson.dumps(responses), "page 2")
    seen = orjson.loads((await scripted.work(connection, input=given)).body)["_meta"]
    assert seen["clientCapabilities"] == {"elicitation": {}}
    assert (seen["inputResponses"], seen["requestState"]) == (responses, "page 2")
    seen = orjson.loads((await scripted.work(connection, input=Input(b"{}"))).body)["_meta"]
    assert seen["clientCapabilities"] == {}
    assert not seen.keys() & {"inputResponses", "requestState"}
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_asks_its_user_and_gets_the_answer_with_the_repeated_request(tmp_path: Path) -> None:
    script = """
    log_in(meta=True)
    while request := read():
        meta = request["params"]["_meta"]
        if "inputResponses" in meta:
            answer(request, {"said": meta["inputResponses"]["loan"], "state": meta["requestState"]})
        else:
            ask = {"loan": {"method": "elicitation/create", "params": {"message": "Which loan?"}}}
            answer(request, {"resultType": "input_required", "inputRequests": ask, "requestState": "asked"})
    """
    scripted = Scripted(tmp_path, script)
    connection = await scripted.open()
    first = await scripted.work(connection, input=Input(b'{"elicitation":{}}'))
    assert first.asks
    question = orjson.loads(first.body)
    assert question["inputRequests"]["loan"]["params"] == {"message": "Which loan?"}
    given = Input(b'{"elicitation":{}}', b'{"loan":{"action":"decline"}}', question["requestState"])
    second = await scripted.work(connection, input=given)
    assert not second.asks
    assert orjson.loads(second.body) == {"said": {"action": "decline"}, "state": "asked"}
    await scripted.adapter.close(connection, force=True)
