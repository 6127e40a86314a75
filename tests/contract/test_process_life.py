"""How worker processes start and end: what is left of them, and what is said about it."""

import os
import signal
import socket
from pathlib import Path

import orjson
import pytest

from pooler.backends.base import BackendError, FailureKind
from pooler.backends.process.adapter import build
from pooler.backends.process.settings import Settings
from pooler.runtime.groups import group_lives
from tests.contract.scripted import TAG, Scripted, failure_of, lives
from tests.contract.subject import eventually

pytestmark = pytest.mark.anyio

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


# What they see


async def test_a_worker_sees_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    scripted = Scripted(tmp_path, "log_in()\nanswer(read(), dict(os.environ))", environment={"LOANS": "yes"})
    connection = await scripted.open()
    seen = orjson.loads(await scripted.ask(connection))
    seen.pop("LC_CTYPE", None)  # CPython's own, when LANG names no locale that exists
    assert seen.keys() <= {"PATH", "HOME", "LANG", "TZ", "LOANS", "PENSTOCK_TAG"}
    assert (seen["LOANS"], seen["TZ"]) == ("yes", "Europe/Berlin")
    assert seen["PENSTOCK_TAG"] == str(connection.tag)
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
