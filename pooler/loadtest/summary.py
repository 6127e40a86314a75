"""A run's end on the terminal: the steps as a table, what is wrong with it, and a line for each limit."""

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pooler.loadtest import words
from pooler.loadtest.compare import compared
from pooler.loadtest.result import Figures, Result, StepResult

COLUMNS = ("step", "offered", "good", "goodput", "p50", "p90", "p99", "max", "queue", "work", "otherwise")


def show(result: Result, console: Console) -> None:
    """Prints all of it."""
    console.print(steps_table(result.steps))
    for line in (*pool_lines(result), *result.notes):
        console.print(escape(line))
    for verdict in result.verdicts:
        mark = "[green]kept  [/green]" if verdict.kept else "[bold red]missed[/bold red]"
        console.print(f"{mark} {escape(verdict.limit)}: {escape(words.verdict(verdict))}")
    for fault in result.invalid:
        console.print(f"[bold red]invalid[/bold red] {escape(fault)}")


def steps_table(steps: Sequence[StepResult]) -> RenderableType:
    """A row a step."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "otherwise" else "right", no_wrap=name != "otherwise")
    for step in steps:
        table.add_row(*row_of(step))
    legend = "queue and work: their mean in good answers; latencies are those of good answers, from when each was due"
    return Group(table, Text(legend, style="dim"))


def row_of(step: StepResult) -> list[str]:
    """A step in the order of COLUMNS."""
    figures, latency = step.all, step.all.latency
    times = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms] if latency else [None] * 4
    parts = [step.parts[part].mean_ms if part in step.parts else None for part in ("queue", "work")]
    return [
        str(step.number),
        words.rate(figures.offered_per_second),
        words.rate(figures.good_per_second),
        words.share(figures.goodput) if figures.calls > figures.vanished else "–",
        *map(words.milliseconds, times),
        *map(words.milliseconds, parts),
        otherwise(figures),
    ]


def otherwise(figures: Figures) -> str:
    """What became of the calls that were not answered well, those included whose callers left."""
    return _counted({name: n for name, n in figures.outcomes.items() if name != "GOOD"})


def failures(figures: Figures) -> str:
    """What became of the calls that failed."""
    return _counted({name: n for name, n in figures.outcomes.items() if name not in ("GOOD", "VANISHED")})


def _counted(outcomes: Mapping[str, int]) -> str:
    most_first = sorted(outcomes.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{words.count(n)} {words.outcome(name)}" for name, n in most_first)


def changes_table(before: Result, after: Result) -> RenderableType:
    """What has changed between two runs, where they had the same rates."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("step", "figure", "before", "now", "change"):
        table.add_column(name, justify="left" if name in ("step", "figure") else "right")
    for change in compared(before, after):
        style = {True: "green", False: "red", None: ""}[change.better]
        table.add_row(change.step, change.figure, change.before, change.now, Text(change.words, style=style))
    return table


def pool_lines(result: Result) -> list[str]:
    """For each backend that had anything to do: the most connections that were seen, beside its cap."""
    lines = []
    for backend in busy_backends(result):
        samples = [sample for sample in result.pools if sample.backend == backend]
        most, cap = max(sample.connections for sample in samples), max(sample.cap for sample in samples)
        seen = [sample.connections for sample in result.seen if sample.backend == backend]
        itself = f", by the database's own count {max(seen)}" if seen else ""
        queued = max(sample.queued for sample in samples)
        lines.append(
            f"{backend}: at most {most} of {cap} connections by the pooler's count{itself}; "
            f"at most {words.count(queued)} waiting ({len(samples)} looks)"
        )
    return lines


def busy_backends(result: Result) -> list[str]:
    """The backends that were seen at work or waited for, in order; all where none was."""
    names = sorted({sample.backend for sample in result.pools})
    busy = {sample.backend for sample in result.pools if sample.in_use or sample.queued}
    return [name for name in names if name in busy] or names
