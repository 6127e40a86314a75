"""Whether anything of a process group still lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pooler.runtime.groups import group_lives, signal_group


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a group of its own and waits for a signal."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_group_lives_as_long_as_a_process_of_it_does(child: "subprocess.Popen[bytes]") -> None:
    assert group_lives(child.pid)


def test_a_group_of_nothing_but_zombies_is_dead(child: "subprocess.Popen[bytes]") -> None:
    signal_group(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    os.killpg(child.pid, 0)  # the group is still there: its only member has not been reaped
    assert not group_lives(child.pid)


def test_a_group_that_is_gone_is_dead_and_may_be_signalled_in_vain(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait()
    assert not group_lives(child.pid)
    signal_group(child.pid, signal.SIGKILL)
