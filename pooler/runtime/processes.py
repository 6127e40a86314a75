"""Processes of this machine that outlived whoever started them: told apart, and signalled without mistaking one.

A process number is given to another process sooner or later, so a number alone proves nothing. Two things do: when a
process began, and the tag in its environment, which whatever it starts inherits. (Jenkins finds the leavings of its
builds by such a cookie.) Both are read from /proc; where there is none, nothing is found, and nothing signalled.
"""

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

TAG_VARIABLE = "PENSTOCK_TAG"
"""In the environment of a worker process, and so of all that it starts: the tag of its slot."""

_PROC = Path("/proc")
_MARK = f"{TAG_VARIABLE}=".encode()


def boot() -> str | None:
    """Which run of this machine this is. None where nobody can tell."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def born(pid: int) -> str | None:
    """When the process with this number began: no other process has both. None where nobody can tell."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # proc(5): field 22, in ticks since the machine was started; the name in field 2 may hold spaces and brackets.
    return f"{boot()}/{stat.rpartition(')')[2].split()[19]}"


def tagged() -> dict[str, list[int]]:
    """Every process that carries a tag, by tag. Those of other users are not seen; zombies carry none."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    own = os.getpid()
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit() and (pid := int(entry.name)) != own and (tag := _tag_of(pid)) is not None:
            found[tag].append(pid)
    return found


def signal_tagged(pid: int, tag: str, number: signal.Signals) -> None:
    """Signals a process if it still carries this tag; one that was given its number meanwhile is never reached."""
    with suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(pid)
        try:
            if _tag_of(pid) == tag:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _tag_of(pid: int) -> str | None:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    for variable in environment.split(b"\0") if _MARK in environment else ():
        if variable.startswith(_MARK):
            return variable[len(_MARK) :].decode(errors="replace")
    return None
