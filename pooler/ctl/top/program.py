"""`penstock top` as it runs: waits for a key, for news or for another size of the terminal, and shows what has become.

It gives the orders that the model asks for, one at a time, and says how they ended.
"""

import contextlib
import select
import signal
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live

from pooler.ctl.exits import Exit, exit_of, fail
from pooler.ctl.obeying import sentence
from pooler.ctl.reach import Reach
from pooler.ctl.top import keys
from pooler.ctl.top.feed import Feed
from pooler.ctl.top.model import Model, Order
from pooler.ctl.top.screen import Frame, draw
from pooler.service.client import CallError

REDRAW_SECONDS = 1.0
"""Ages go on at least so often."""


def top(where: Reach, interval_seconds: float) -> None:
    """Runs until it is ended by a key; ends the command when there is no terminal, or no pooler at the start."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("top needs a terminal; for a script there is `penstock pools --watch --json`", Exit.USAGE)
    _knock(where)
    console = Console(highlight=False)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Feed(where, interval_seconds) as feed,
        keys.single_keys(sys.stdin.fileno()),
        _woken_by_resizing(feed.wake),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        _run(where, feed, console, live)


def _knock(where: Reach) -> None:
    """What is wrong from the beginning is said where it can be read."""
    try:
        with where.client() as client:
            client.snapshot([], [], 0, where.timeout_seconds)
    except CallError as error:
        fail(error.message, exit_of(error.status))


def _run(where: Reach, feed: Feed, console: Console, live: Live) -> None:
    model, shown = Model(), None
    while not model.over:
        if feed.snapshot is not None and feed.snapshot is not shown:
            shown = feed.snapshot
            model.take(shown)
        quiet = time.monotonic() - feed.came_at if feed.came_at else 0.0
        width, height = console.size
        live.update(draw(model, Frame(width, height, where.address, quiet, feed.fault)), refresh=True)
        ready, _, _ = select.select([sys.stdin, feed.wakes], [], [], REDRAW_SECONDS)
        feed.calm()
        if sys.stdin in ready:
            pressed = keys.read(sys.stdin.fileno())
            if not pressed and not _is_open():
                return
            for key in pressed:
                if (order := model.press(key)) is not None:
                    model.message = _carry_out(where, order)


def _is_open() -> bool:
    """Whether the terminal is still there: one that has gone is readable for ever."""
    return not select.select([sys.stdin], [], [], 0)[0]


def _carry_out(where: Reach, order: Order) -> str:
    try:
        with where.client() as client:
            reply = client.order(order.name, where.timeout_seconds, **order.fields)
    except CallError as error:
        return f"{order.words} failed: {error.message}"
    return sentence(order.name, reply, dict(order.fields))


@contextlib.contextmanager
def _woken_by_resizing(wake: int) -> Iterator[None]:
    """Another size of the terminal ends the wait for keys and news."""
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    waker = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGWINCH, before)
