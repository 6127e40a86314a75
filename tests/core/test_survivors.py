"""What a killed pooler has left on this machine: found, ended, waited for; and nothing else is touched."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pooler.runtime import survivors
from pooler.runtime.processes import TAG_VARIABLE, born, signal_tagged, tagged
from pooler.runtime.slotfiles import Leftover, SlotFile, SlotFiles
from pooler.runtime.survivors import ended

pytestmark = pytest.mark.anyio

SLEEPS = "import signal\nprint(flush=True)\nwhile True: signal.pause()"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPS}"


@contextmanager
def program(text: str = SLEEPS, tag: object = None, **more: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is ready; it is reaped afterwards, whoever ended it."""
    environment = {"PATH": os.environ["PATH"], **({TAG_VARIABLE: str(tag)} if tag else {})}
    command = [sys.executable, "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True, **more) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlotFiles:
    monkeypatch.setattr(survivors, "TERM_SECONDS", 0.2)
    return SlotFiles(tmp_path, "cafe0001", "loans")


def take(slots: SlotFiles, number: int = 1) -> SlotFile:
    return slots.take(number, "process", "processes")


async def buried(slots: SlotFiles, seconds: float = 20.0) -> list[Leftover]:
    """All that was left of a pooler which is not there any more, in the order in which it ended."""
    slots.let_go()
    async with asyncio.timeout(seconds):
        return [each async for each in ended(slots.left())]


def status(process: "subprocess.Popen[bytes]") -> int:
    return process.wait(10)


async def test_a_worker_is_asked_to_end_first(slots: SlotFiles) -> None:
    file = take(slots)
    with program(pass_fds=[file.descriptor]) as worker:
        file.led_by(worker.pid)
        reaping = asyncio.get_running_loop().run_in_executor(None, status, worker)

        assert [left.tag.slot for left in await buried(slots)] == [1]
        assert await reaping == -signal.SIGTERM


async def test_a_worker_that_does_not_want_to_end_is_killed(slots: SlotFiles) -> None:
    file = take(slots)
    with program(STUBBORN, pass_fds=[file.descriptor]) as worker:
        file.led_by(worker.pid)

        assert len(await buried(slots)) == 1  # it is a zombie by now, which holds nothing
        assert status(worker) == -signal.SIGKILL


async def test_a_worker_that_closed_the_lock_is_known_by_its_number_and_birth(slots: SlotFiles) -> None:
    file = take(slots)
    with program() as worker:
        file.led_by(worker.pid)

        await buried(slots)
        assert status(worker) == -signal.SIGTERM


async def test_a_process_that_left_the_group_is_known_by_its_tag(slots: SlotFiles) -> None:
    file = take(slots)
    tag = slots.left()[0].tag
    with program(tag=tag) as escaped, program(tag=f"{tag}0") as stranger:
        file.led_by(escaped.pid + 100_000_000)  # the worker itself has ended long ago

        await buried(slots)
        assert status(escaped) == -signal.SIGTERM
        assert stranger.poll() is None


async def test_a_number_that_was_given_to_another_process_is_no_reason_to_signal_it(slots: SlotFiles) -> None:
    file = take(slots)
    with program() as worker, program() as stranger:
        file.led_by(worker.pid)
        path = slots.left()[0].path
        path.write_text(path.read_text().replace(f'"pid":{worker.pid}', f'"pid":{stranger.pid}'))
        assert slots.left()[0].pid == stranger.pid

        assert len(await buried(slots)) == 1
        assert (worker.poll(), stranger.poll()) == (None, None)


async def test_a_lock_whose_holder_cannot_be_found_is_waited_for_and_nobody_is_signalled(slots: SlotFiles) -> None:
    held = take(slots, 1)
    take(slots, 2)
    with program(pass_fds=[held.descriptor]) as holder:
        slots.let_go()
        endings = ended(slots.left())
        async with asyncio.timeout(20):
            assert (await anext(endings)).tag.slot == 2
            assert holder.poll() is None
            holder.kill()
            status(holder)
            assert (await anext(endings)).tag.slot == 1


async def test_each_slot_is_told_of_as_soon_as_it_is_empty(slots: SlotFiles) -> None:
    first, second = take(slots, 1), take(slots, 2)
    with program(STUBBORN, pass_fds=[first.descriptor]) as stubborn, program(pass_fds=[second.descriptor]) as obedient:
        first.led_by(stubborn.pid)
        second.led_by(obedient.pid)

        assert [left.tag.slot for left in await buried(slots)] == [2, 1]
        assert (status(obedient), status(stubborn)) == (-signal.SIGTERM, -signal.SIGKILL)


async def test_nothing_left_is_nothing_to_wait_for(slots: SlotFiles) -> None:
    assert await buried(slots) == []


def test_a_process_is_told_from_every_other_by_its_birth() -> None:
    with program() as one:
        assert born(one.pid) == born(one.pid) != born(os.getpid())
        pid = one.pid
    assert born(pid) is None


def test_a_tag_is_inherited_and_a_process_that_carries_another_is_not_signalled() -> None:
    spawns = "import subprocess, sys\nprint(subprocess.Popen(sys.argv[1:]).pid, flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", spawns, "sleep", "600"]
    tag = f"penstock/cafe0001/loans/{os.getpid()}"
    environment = {"PATH": os.environ["PATH"], TAG_VARIABLE: tag}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())

        deadline = time.monotonic() + 10
        while set(tagged()[tag]) != {parent.pid, child}:  # one that is just being executed carries no tag for a moment
            assert time.monotonic() < deadline
        signal_tagged(child, f"{tag}0", signal.SIGKILL)
        assert child in tagged()[tag]
        signal_tagged(child, tag, signal.SIGKILL)
        while child in tagged()[tag]:
            assert time.monotonic() < deadline
        parent.kill()
