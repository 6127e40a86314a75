"""Process groups: signalling one, and finding out whether anything of it still lives."""

import contextlib
import os
import signal
from pathlib import Path


def signal_group(group: int, number: signal.Signals) -> None:
    """Signals every process of a group; a group that is gone already is none to complain about."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def group_lives(group: int) -> bool:
    """Whether a process of the group can still hold anything open. May read /proc: call it from a thread.

    A zombie holds nothing, and in a container whose first process reaps no orphans it stays for ever; so zombies are
    told apart where the system shows them.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    processes = Path("/proc")
    if not (processes / "self" / "stat").exists():
        return True
    return any(_lives_in(entry, group) for entry in processes.iterdir() if entry.name.isdigit())


def _lives_in(process: Path, group: int) -> bool:
    try:
        stat = (process / "stat").read_text()
    except OSError:
        return False  # gone in the meantime
    # proc(5): `pid (name) state ppid pgrp …`; the name may itself hold spaces and brackets.
    state, _parent, its_group = stat.rpartition(")")[2].split()[:3]
    return int(its_group) == group and state not in "ZX"
