"""What is special to worker processes: how they die, what they may say, and what is left of them."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from pooler.backends.base import BackendError, FailureKind, Verdict
from pooler.backends.process.adapter import build
from pooler.backends.process.connection import WorkerConnection
from pooler.backends.process.settings import Settings
from pooler.runtime.groups import group_lives
from pooler.runtime.workers import LINE_BYTES_MAX
from tests.contract.scripted import TAG, Scripted
from tests.contract.subject import eventually

pytestmark = pytest.mark.anyio


async def failure_of(scripted: Scripted, work: Any) -> tuple[FailureKind, str]:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
        await work
    failure = scripted.adapter.classify(raised.value)
    return failure.kind, failure.message


def lives(pid: int) -> bool:
    """Whether there is such a process at all, a zombie included."""
    return Path(f"/proc/{pid}").exists()


# How they die


async def test_a_killed_worker_is_dead_and_the_message_names_the_signal(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nserve()")
    connection = await scripted.open()
    os.kill(connection.worker.pid, signal.SIGKILL)
    assert await failure_of(scripted, scripted.ask(connection)) == (
        FailureKind.DEAD,
        "the worker was killed by SIGKILL",
    )


async def test_a_request_to_a_worker_that_is_known_to_be_dead_was_never_started(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nread()\nsys.exit(3)")
    connection = await scripted.open()
    started = []
    for _ in range(2):
        with pytest.raises(BackendError) as raised:
            await scripted.ask(connection)
        started.append(raised.value.failure.started)
    assert started == [True, False]


async def test_a_worker_that_exits_is_dead_and_the_message_has_its_status_and_last_words(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nread()\nprint('table LOANS is gone', file=sys.stderr)\nsys.exit(3)")
    connection = await scripted.open()
    assert await failure_of(scripted, scripted.ask(connection)) == (
        FailureKind.DEAD,
        "the worker ended with exit status 3; its last words: table LOANS is gone",
    )


async def test_a_worker_that_dies_by_itself_is_reaped_though_nobody_closes_it(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nserve()")
    connection = await scripted.open()
    pid = connection.worker.pid
    os.kill(pid, signal.SIGKILL)

    async def left() -> int:
        return int(lives(pid))

    await eventually(0, left, "processes")
    assert connection.broken == "was killed by SIGKILL"


async def test_a_worker_that_closes_its_output_is_dead_though_it_lives_on(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nread()\nos.close(1)\nsignal.pause()")
    connection = await scripted.open()
    assert await failure_of(scripted, scripted.ask(connection)) == (
        FailureKind.DEAD,
        "the worker closed its output",
    )
    assert await scripted.adapter.close(connection, force=False)
    assert not lives(connection.worker.pid)


GRANDCHILD = """
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
log_in()
request = read()
answer(request, child.pid)
"""


async def test_what_a_worker_has_started_dies_with_it(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, GRANDCHILD + "signal.pause()")
    connection = await scripted.open()
    grandchild = orjson.loads(await scripted.ask(connection))["result"]
    assert lives(grandchild)
    os.kill(connection.worker.pid, signal.SIGKILL)
    assert await scripted.adapter.close(connection, force=False)
    assert not group_lives(connection.worker.pid)
    assert not lives(connection.worker.pid)


async def test_a_worker_that_ends_politely_leaves_no_grandchild_either(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, GRANDCHILD + "serve()")
    connection = await scripted.open()
    await scripted.ask(connection)
    assert await scripted.adapter.close(connection, force=False)
    assert not group_lives(connection.worker.pid)


async def test_an_idle_worker_is_asked_to_close_and_gets_no_signal(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    body = f"""
    log_in()
    serve()
    open({str(witness)!r}, "w").write("closed")
    """
    scripted = Scripted(tmp_path, body, close_seconds=10)
    assert await scripted.adapter.close(await scripted.open(), force=False)
    assert witness.read_text() == "closed"


async def test_a_worker_without_a_close_method_ends_with_its_input(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    body = f"""
    log_in()
    request = read()
    write(id=request["id"], error={{"code": -32601, "message": "no such method"}})
    assert read() is None
    open({str(witness)!r}, "w").write("end of input")
    """
    scripted = Scripted(tmp_path, body, close_seconds=10)
    assert await scripted.adapter.close(await scripted.open(), force=False)
    assert witness.read_text() == "end of input"


async def test_a_worker_that_listens_to_nothing_else_is_ended_by_sigterm(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    body = f"""
    log_in()
    def on_term(*_):
        open({str(witness)!r}, "w").write("sigterm")
        os._exit(0)
    signal.signal(signal.SIGTERM, on_term)
    while True:
        signal.pause()
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    assert await scripted.adapter.close(connection, force=False)
    assert witness.read_text() == "sigterm"
    assert not lives(connection.worker.pid)


async def test_a_worker_that_ignores_every_request_to_end_is_killed(tmp_path: Path) -> None:
    body = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log_in()
    while True:
        time.sleep(1000)
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    assert await scripted.adapter.close(connection, force=False)
    assert not lives(connection.worker.pid)


# How they fail to start


@pytest.mark.parametrize(
    ("command", "prepare", "said"),
    [
        ("no-such-worker", None, "'no-such-worker' was not found: give its full path"),
        ("{folder}/plain", ("plain", "#!/bin/sh\n", 0o644), "may not be executed: chmod +x it"),
        ("{folder}/shebang", ("shebang", "#!/no/such/shell\n", 0o755), "names an interpreter in its first line"),
        ("{folder}/text", ("text", "hello\n", 0o755), "is no program"),
    ],
)
async def test_a_command_that_cannot_be_started_says_what_to_do(
    tmp_path: Path, command: str, prepare: tuple[str, str, int] | None, said: str
) -> None:
    if prepare:
        name, text, mode = prepare
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    adapter = build(Settings(command=(command.format(folder=tmp_path), "--password=hunter2")))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
        await adapter.open(TAG)
    failure = adapter.classify(raised.value)
    assert failure.kind is FailureKind.DEAD
    assert said in failure.message
    assert "hunter2" not in failure.message


async def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    adapter = build(Settings(command=("true",), directory=str(tmp_path / "nowhere")))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
        await adapter.open(TAG)
    assert "correct `directory`" in adapter.classify(raised.value).message


async def test_a_worker_of_another_protocol_is_not_used_and_not_left_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    scripted = Scripted(tmp_path, f"open({str(pid)!r}, 'w').write(str(os.getpid()))\nlog_in(protocol=2)\nserve()")
    kind, message = await failure_of(scripted, scripted.open())
    assert kind is FailureKind.BUG
    assert "protocol" in message
    assert not lives(int(pid.read_text()))


async def test_a_worker_that_refuses_the_login_is_told_by_its_own_words_and_not_left_behind(tmp_path: Path) -> None:
    body = f"""
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    write(id=read()["id"], error={{"code": -1, "message": "password expired", "data": {{"kind": "AUTH"}}}})
    signal.pause()
    """
    scripted = Scripted(tmp_path, body)
    assert await failure_of(scripted, scripted.open()) == (FailureKind.AUTH, "password expired")
    assert not lives(int((tmp_path / "pid").read_text()))


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


# What they see


async def test_a_worker_sees_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    scripted = Scripted(tmp_path, "log_in()\nanswer(read(), dict(os.environ))", environment={"LOANS": "yes"})
    connection = await scripted.open()
    seen = orjson.loads(await scripted.ask(connection))
    seen.pop("LC_CTYPE", None)  # CPython's own, when LANG names no locale that exists
    assert seen.keys() <= {"PATH", "HOME", "LANG", "TZ", "LOANS"}
    assert (seen["LOANS"], seen["TZ"]) == ("yes", "Europe/Berlin")
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_inherits_no_descriptor_but_its_pipes(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nanswer(read(), sorted(map(int, os.listdir('/proc/self/fd'))))")
    with socket.socket() as ours:
        ours.set_inheritable(True)
        connection = await scripted.open()
        seen = orjson.loads(await scripted.ask(connection))["result"]
    assert seen[:3] == [0, 1, 2]
    assert len(seen) == 4  # listing the folder opens one
    assert ours.fileno() not in seen[3:]
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_leads_a_session_of_its_own(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, "log_in()\nanswer(read(), [os.getpid(), os.getpgrp(), os.getsid(0)])")
    connection = await scripted.open()
    assert orjson.loads(await scripted.ask(connection))["result"] == [connection.worker.pid] * 3
    await scripted.adapter.close(connection, force=True)


async def test_who_calls_is_told_only_to_a_worker_that_declared_meta(tmp_path: Path) -> None:
    for declared, expected in (
        ("meta=True", {"tenant": "acme", "principal": "ann", "requestId": "req-1"}),
        ("", None),
    ):
        scripted = Scripted(tmp_path, f"log_in({declared})\nrequest = read()\nanswer(request, request['params'])")
        connection = await scripted.open()
        seen = orjson.loads(await scripted.ask(connection, loan="L-1"))
        meta = seen.pop("_meta", None)
        assert seen == {"loan": "L-1"}
        traceparent = meta and meta.pop("traceparent")
        assert (meta, bool(traceparent)) == (expected, expected is not None)
        await scripted.adapter.close(connection, force=True)


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


async def test_a_worker_that_still_holds_the_rest_of_a_cancelled_page_is_not_clean(tmp_path: Path) -> None:
    body = """
    log_in(methods=["cancel"])
    request = read()
    read()
    answer(request, {"resultType": "page", "columns": ["n"], "rows": [[1]], "more": True})
    serve()
    """
    scripted = Scripted(tmp_path, body)
    connection = await interrupted(scripted)
    assert await scripted.adapter.cancel(connection) is Verdict.DISCARD
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_is_told_to_stop_a_page_that_is_not_read_to_its_end(tmp_path: Path) -> None:
    body = """
    log_in()
    request = read()
    answer(request, {"resultType": "page", "columns": ["n"], "rows": [[1]], "more": True})
    stop = read()
    assert (stop["method"], stop["params"]) == ("stop", {"id": request["id"]})
    answer(stop, {})
    serve()
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    table = orjson.loads(await scripted.ask(connection))
    assert table == {"columns": ["n"], "rows": [[1]], "row_count": 1, "truncated": True}
    assert orjson.loads(await scripted.ask(connection, a=1)) == {"a": 1}
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_that_does_not_stop_a_page_answers_it_and_serves_nobody_else(tmp_path: Path) -> None:
    body = """
    log_in()
    request = read()
    answer(request, {"resultType": "page", "columns": ["n"], "rows": [[1]], "more": True})
    write(id=read()["id"], error={"code": -32601, "message": "no such method"})
    serve()
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    assert orjson.loads(await scripted.ask(connection))["rows"] == [[1]]
    assert connection.broken == "did not stop a page when asked to: no such method"
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
