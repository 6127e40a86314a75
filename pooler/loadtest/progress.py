"""A run on the terminal while it goes: how far, at which rate, what comes back, what the pools hold."""

import asyncio

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pooler.loadtest import words
from pooler.loadtest.run import Run

REFRESH_SECONDS = 0.25
RECENT_SECONDS = 3.0
BAR_WIDTH = 40


async def shown(run: Run, console: Console) -> None:
    """Shows a run until it is cancelled."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(picture(run), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)


def picture(run: Run) -> RenderableType:
    """A run as it stands now."""
    return Group(_head(run), _figures(run), _pools(run))


def _head(run: Run) -> RenderableType:
    total, now = run.rounds.seconds, run.now
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=total, completed=min(now, total), width=BAR_WIDTH)
    current = run.current
    step = f"step {current[0]}, {words.step_rate(current[1].rate, current[1].end_rate)}" if current else ""
    waiting = "" if now < total else f"; waiting for {words.count(run.tally.under_way)} answers"
    grid.add_row(bar, Text(f"{min(now, total):.0f} of {total:.0f} s  {step}{waiting}"))
    return grid


def _figures(run: Run) -> RenderableType:
    due, good, latency = run.tally.recent(run.now, RECENT_SECONDS)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("offered", "good", "p50", "p99", "under way", "so far"):
        table.add_column(name, justify="left" if name == "so far" else "right", min_width=9)
    times = latency.percentiles(50, 99)
    so_far = ", ".join(f"{words.count(n)} {words.outcome(name)}" for name, n in run.tally.outcomes.most_common(5))
    table.add_row(
        words.rate(due), words.rate(good), *map(words.milliseconds, times), words.count(run.tally.under_way), so_far
    )
    return table


def _pools(run: Run) -> RenderableType:
    lines = []
    for sample in run.watcher.latest().values():
        free = max(0, sample.cap - sample.connections)
        bar = "█" * sample.in_use + "▒" * (sample.starting + sample.ending) + "░" * sample.idle + "·" * free
        lines.append(f"{sample.backend}  {bar[:80]}  {sample.connections} of {sample.cap}, {sample.queued} waiting")
    return Text("\n".join(lines))
