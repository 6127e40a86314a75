"""Ends the worker processes that a killed pooler has left, and says of each slot when nothing of it lives any more.

They have seen the end of their input when the pooler died; what is still there gets SIGTERM, and then SIGKILL. Only
what proves to be ours is signalled: a group whose leader has the number *and* the birth that the slot file tells, and
any process that carries the slot's tag, whatever group it is in. A slot whose file is still locked is alive even if
none of its processes can be found or signalled; then it is waited for, however long that takes.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence

import structlog

from pooler.runtime.groups import group_lives, signal_group
from pooler.runtime.processes import born, signal_tagged, tagged
from pooler.runtime.slotfiles import Leftover

log = structlog.get_logger(__name__)

TERM_SECONDS = 2.0
"""How long a process may take to end when asked to; as `close_seconds` of a worker by default."""
POLL_SECONDS_FIRST = 0.01
POLL_SECONDS_MAX = 1.0
"""Nothing tells when strangers end, so they are looked for, at growing intervals up to this."""
COMPLAIN_SECONDS = 30.0
"""How long a SIGKILL may go unheeded before somebody is told, each time."""


async def ended(left: Sequence[Leftover]) -> AsyncIterator[Leftover]:
    """Ends them all, and yields each as soon as nothing of it is left.

    Nothing is believed on one look: a process that is just being executed carries no tag for a moment.
    """
    now = asyncio.get_running_loop().time
    force_at, complain_at = now() + TERM_SECONDS, now() + TERM_SECONDS + COMPLAIN_SECONDS
    number: signal.Signals | None = signal.SIGTERM
    waiting, seen, pause = list(left), set(left), POLL_SECONDS_FIRST
    while waiting:
        seen_before, seen = seen, await asyncio.to_thread(hunt, waiting, number)
        for each in waiting:
            if each not in seen | seen_before:
                yield each
        waiting = [each for each in waiting if each in seen | seen_before]
        number = signal.SIGKILL if now() >= force_at else None
        if waiting and now() >= complain_at:
            complain_at = now() + COMPLAIN_SECONDS
            log.error("what a killed pooler left does not end", files=[str(each.path) for each in waiting])
        await asyncio.sleep(pause if waiting else 0)
        pause = min(pause * 2, POLL_SECONDS_MAX)


def hunt(left: Sequence[Leftover], number: signal.Signals | None) -> set[Leftover]:
    """Signals, if so told, whatever is left of these slots, and says which of them live. Reads /proc: call it from a
    thread."""
    tags = tagged()
    return {each for each in left if _lives(each, tags.get(str(each.tag), []), number)}


def _lives(left: Leftover, pids: Sequence[int], number: signal.Signals | None) -> bool:
    # A leader that has not been reaped keeps its number, and with it the group's.
    leads = left.pid is not None and left.born is not None and born(left.pid) == left.born and group_lives(left.pid)
    if number is not None and leads:
        assert left.pid is not None
        signal_group(left.pid, number)
    if number is not None:
        for pid in pids:
            signal_tagged(pid, str(left.tag), number)
    return leads or bool(pids) or left.locked()
