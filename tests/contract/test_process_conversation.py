"""What worker processes may say, one request at a time and several at once, and what a wrong word leads to."""

import asyncio
import contextlib
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from pooler.backends.base import FailureKind, Verdict
from pooler.backends.process.connection import WorkerConnection
from pooler.runtime.workers import LINE_BYTES_MAX
from tests.contract.scripted import Scripted, failure_of, lives

pytestmark = pytest.mark.anyio

# What they say


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('Enter your password:', flush=True)", "wrote a line that is not JSON: 'Enter your password:'"),
        ("write(id=77, result=1)", "answered request 77, which nobody waits for"),
        ("write(id=0, result=1)", "answered request 0, which nobody waits for"),
        ("write(id=9, method='ask the pooler')", "asked the pooler for 'ask the pooler'"),
        (f"print('x' * {LINE_BYTES_MAX + 1}, flush=True)", f"wrote a line of more than {LINE_BYTES_MAX} bytes"),
    ],
)
async def test_a_worker_that_breaks_the_protocol_is_dead_for_good(tmp_path: Path, body: str, said: str) -> None:
    scripted = Scripted(tmp_path, f"log_in()\nread()\n{body}\nserve()")
    connection = await scripted.open()
    kind, message = await failure_of(scripted, scripted.ask(connection))
    assert kind is FailureKind.DEAD
    assert message.startswith(f"the worker {said}")
    assert (await failure_of(scripted, scripted.ask(connection)))[1] == message
    assert (await failure_of(scripted, scripted.adapter.validate(connection)))[0] is FailureKind.DEAD
    assert await scripted.adapter.close(connection, force=True)


async def test_a_worker_that_has_lost_its_wits_does_not_fill_the_log(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nread()\nprint('nonsense\\n' * 1000, flush=True)\nserve()")
    with capture_logs() as logs:
        connection = await scripted.open()
        await failure_of(scripted, scripted.ask(connection))
        await scripted.adapter.close(connection, force=False)
    assert [entry["event"] for entry in logs].count("worker broke the protocol") == 1


async def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nanswer(read(), 'x' * 5_000_000)\nserve()")
    connection = await scripted.open()
    body = await scripted.ask(connection, page_bytes=8_000_000)
    assert orjson.loads(body) == {"result": "x" * 5_000_000}
    await scripted.adapter.close(connection, force=True)


async def test_a_large_request_arrives_whole(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nrequest = read()\nanswer(request, len(request['params']['value']))")
    connection = await scripted.open()
    assert orjson.loads(await scripted.ask(connection, value="x" * 3_000_000)) == {"result": 3_000_000}
    await scripted.adapter.close(connection, force=True)


async def test_a_flood_on_standard_error_blocks_nobody_and_is_mostly_left_out_of_the_log(tmp_path: Path) -> None:
    body = """
    log_in()
    request = read()
    for _ in range(20_000):
        sys.stderr.write("x" * 500 + "\\n")
    answer(request, "done")
    serve()
    """
    scripted = Scripted(tmp_path, body)
    with capture_logs() as logs:
        connection = await scripted.open()
        assert orjson.loads(await scripted.ask(connection)) == {"result": "done"}
        await scripted.adapter.close(connection, force=False)
    said = [entry for entry in logs if entry["event"] == "worker stderr"]
    left_out = sum(entry["left_out"] for entry in logs if entry["event"] == "worker said more than is logged")
    assert len(said) + left_out == 20_000
    assert 0 < len(said) < 5_000


async def test_standard_error_goes_to_the_log_with_backend_and_slot_and_without_secrets(tmp_path: Path) -> None:
    body = "print('login as ' + os.environ['KEY'], file=sys.stderr, flush=True)\nlog_in()\nserve()"
    scripted = Scripted(tmp_path, body, environment={"KEY": "hunter2-of-loans"})
    with capture_logs() as logs:
        await scripted.adapter.close(await scripted.open(), force=False)
    [entry] = [entry for entry in logs if entry["event"] == "worker stderr"]
    assert (entry["text"], entry["backend"], entry["slot"]) == ("login as ***", "loans", 1)


async def test_a_log_notification_goes_to_the_log_with_the_callers_name(tmp_path: Path) -> None:
    body = """
    log_in()
    request = read()
    write(method="progress", params={"id": request["id"], "progress": 1})
    write(method="log", params={"id": request["id"], "level": "warning", "message": "index missing"})
    answer(request, "done")
    serve()
    """
    scripted = Scripted(tmp_path, body)
    with capture_logs() as logs:
        connection = await scripted.open()
        assert orjson.loads(await scripted.ask(connection)) == {"result": "done"}
        await scripted.adapter.close(connection, force=True)
    [entry] = [entry for entry in logs if entry["event"] == "worker log"]
    assert (entry["text"], entry["log_level"], entry["tenant"], entry["request_id"]) == (
        "index missing",
        "warning",
        "acme",
        "req-1",
    )


# Several requests at once


async def test_answers_of_several_streams_may_come_in_any_order(tmp_path: Path) -> None:
    body = """
    log_in(streams=3)
    requests = [read() for _ in range(3)]
    for request in reversed(requests):
        answer(request, request["params"]["n"])
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    assert connection.streams == 3
    answers = await asyncio.gather(*(scripted.ask(connection, n=n) for n in range(3)))
    assert [orjson.loads(answer)["result"] for answer in answers] == [0, 1, 2]
    assert not connection.dirty
    await scripted.adapter.close(connection, force=True)


async def test_one_cancelled_request_of_several_leaves_the_others_alone(tmp_path: Path) -> None:
    body = """
    log_in(streams=2, methods=["cancel"])
    first, second, cancel = read(), read(), read()
    assert cancel == {"jsonrpc": "2.0", "method": "cancel", "params": {"id": first["id"]}}
    write(id=first["id"], error={"code": -32800, "message": "cancelled"})
    answer(second, "unharmed")
    serve()
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    first = asyncio.ensure_future(scripted.ask(connection))
    second = asyncio.ensure_future(scripted.ask(connection))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert await scripted.adapter.cancel(connection) is Verdict.CLEAN
    assert orjson.loads(await second) == {"result": "unharmed"}
    await scripted.adapter.close(connection, force=True)


# Cancel and reset


async def interrupted(scripted: Scripted) -> WorkerConnection:
    connection = await scripted.open()
    work = asyncio.ensure_future(scripted.ask(connection))
    await asyncio.sleep(0)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    return connection


async def test_a_worker_that_declared_no_cancel_is_not_asked_and_not_waited_for(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nread()\nsignal.pause()")
    connection = await interrupted(scripted)
    assert await scripted.adapter.cancel(connection) is Verdict.DISCARD
    assert await scripted.adapter.close(connection, force=True)


async def test_a_worker_that_ignores_its_cancel_is_given_up(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in(methods=['cancel'])\nread()\nwhile True: time.sleep(1000)")
    connection = await interrupted(scripted)
    assert await scripted.adapter.cancel(connection) is Verdict.DISCARD
    assert await scripted.adapter.close(connection, force=True)
    assert not lives(connection.worker.pid)


async def test_a_worker_that_had_finished_before_the_cancel_came_is_clean(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in(methods=['cancel'])\nrequest = read()\nread()\nanswer(request, 1)\nserve()")
    connection = await interrupted(scripted)
    assert await scripted.adapter.cancel(connection) is Verdict.CLEAN
    assert orjson.loads(await scripted.ask(connection, a=1)) == {"a": 1}
    await scripted.adapter.close(connection, force=True)


@pytest.mark.parametrize(
    ("reset", "declared", "verdict"),
    [
        ("respawn", "", Verdict.DISCARD),
        ("none", "", Verdict.CLEAN),
        ("respawn", "methods=['reset']", Verdict.CLEAN),
        ("respawn", "streams=2", Verdict.CLEAN),
    ],
)
async def test_a_worker_without_reset_is_replaced_unless_nothing_can_be_left_in_it(
    tmp_path: Path, reset: str, declared: str, verdict: Verdict
) -> None:
    scripted = Scripted(tmp_path, f"log_in({declared})\nserve()", reset=reset)
    connection = await scripted.open()
    await scripted.ask(connection)
    assert await scripted.adapter.reset(connection) is verdict
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_that_will_be_replaced_after_each_call_is_told_of_once(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nserve()")
    with capture_logs() as logs:
        for _ in range(2):
            await scripted.adapter.close(await scripted.open(), force=True)
    assert sum("declares no reset" in entry["event"] for entry in logs) == 1
