"""The report's tables: steps, limits, tenants, operations, outcomes. Figures in, markup out."""

from collections import Counter
from collections.abc import Sequence

from pooler.loadtest import words
from pooler.loadtest.report.markup import Markup, el
from pooler.loadtest.result import Figures, Result, StepResult
from pooler.loadtest.summary import otherwise

MEANINGS = {
    "GOOD": "answered well, within its caller's time from when it was due",
    "LATE": "answered well, but past its caller's time from when it was due",
    "VANISHED": "its caller left on purpose; it counts neither as good nor as failed",
    "QUEUE_FULL": "refused at once: as many waited as may (queue_max)",
    "SHED": "refused at its turn: too little time was left for the work, and others waited",
    "QUEUE_TIMEOUT": "its time went into waiting for a connection; no work was started",
    "START_TIMEOUT": "its time went into waiting for a connection to start; no work was started",
    "WORK_TIMEOUT": "the backend's own work took longer than was left, and was cancelled",
    "START_FAILED": "no connection could be started",
    "CONNECTION_LOST": "the connection broke under it",
    "DRAINING": "the backend or the pooler was being shut down",
    "REFUSED": "the backend refused the request",
    "BUSY": "a lock, a conflict or a busy backend",
    "TOO_MANY_CALLS": "the program carried as many calls as it may",
    "NO_ANSWER": "no answer came, nor within two seconds after its caller's time",
    "TIMED_OUT": "no answer came in its caller's time, which MCP has no way to tell the server; he left",
    "WAY_BROKEN": "the connection to what was called broke",
    "PAUSED": "the backend was paused",
    "KILLED": "an administrator ended it",
    "INPUT_REQUIRED": "the operation asks its user something, and a load test has none",
    "TOOL_ERROR": "the tool answered with an error of its own",
}
"""What an outcome means, for those that a load test often meets."""


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str | Markup]], texts: Sequence[int] = (0,)
) -> Markup:
    """A table. `texts`: the columns that are no figures; the last of them may take several lines."""
    last = len(head) - 1

    def cell(name: str, index: int, content: str) -> Markup:
        if isinstance(content, Markup) and content.startswith("<td"):
            return content
        look = None if index not in texts else "text wraps" if name == "td" and index == last else "text"
        scope = "col" if name == "th" else None
        return el(name, content, class_=look, scope=scope)

    heads = el("tr", *(cell("th", index, name) for index, name in enumerate(head)))
    body = [el("tr", *(cell("td", index, content) for index, content in enumerate(row))) for row in rows]
    whole = el("table", el("caption", caption), el("thead", heads), el("tbody", *body))
    return el("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def verdicts(result: Result) -> Markup:
    """Each limit, and by how much it was kept or missed."""
    rows = [[verdict.limit, words.verdict(verdict), _mark(verdict.kept)] for verdict in result.verdicts]
    return table("Limits; what was measured is the worst step or moment", ["limit", "measured", ""], rows, (0, 1))


def steps(result: Result) -> Markup:
    """A row a step."""
    times = ["p50", "p90", "p99", "p99.9", "max"]
    head = ["step", "rate", "seconds", "calls", "good/s", "goodput", *times, "late by (p99)", "otherwise"]
    rows = [_step_row(step) for step in result.steps]
    return table("Steps; latencies are those of good answers, from when each call was due", head, rows, (0, 1, 12))


def shares(result: Result, of: str) -> Markup:
    """Who or what got how much, in each step. `of`: tenants or operations."""
    rows = []
    for step in result.steps:
        parts: dict[str, Figures] = getattr(step, of)
        for name, figures in parts.items():
            rows.append([
                str(step.number),
                name or "(none named)",
                words.share(figures.calls / step.all.calls) if step.all.calls else "–",
                words.share(figures.good / step.all.good) if step.all.good else "–",
                words.rate(figures.good_per_second),
                words.share(figures.goodput),
                *_times(figures)[:3],
                otherwise(figures),
            ])  # fmt: skip
    head = ["step", of.removesuffix("s"), "of calls", "of good", "good/s", "goodput", "p50", "p90", "p99", "otherwise"]
    return table(f"By {of.removesuffix('s')}", head, rows, (0, 1, 9))


def outcomes(result: Result) -> Markup:
    """Every outcome, how often, and what it means."""
    totals: Counter[str] = Counter()
    for step in result.steps:
        totals.update(step.all.outcomes)
    whole = totals.total() or 1
    rows = [
        [name, words.count(count), words.share(count / whole), MEANINGS.get(name, "")]
        for name, count in totals.most_common()
    ]
    return table("What became of all calls", ["outcome", "calls", "share", "meaning"], rows, (0, 3))


def _step_row(step: StepResult) -> list[str]:
    figures = step.all
    waited = figures.calls > figures.vanished
    return [
        str(step.number) if step.judged else f"{step.number}, not judged",
        words.step_rate(step.rate, step.to),
        f"{step.seconds:g}",
        words.count(figures.calls),
        words.rate(figures.good_per_second).removesuffix("/s"),
        words.share(figures.goodput) if waited else "–",
        *_times(figures),
        words.milliseconds(step.lateness.p99_ms) if step.lateness else "–",
        otherwise(figures),
    ]


def _times(figures: Figures) -> list[str]:
    latency = figures.latency
    if latency is None:
        return ["–"] * 5
    all_times = (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms)
    return [words.milliseconds(value) for value in all_times]


def _mark(kept: bool) -> Markup:
    return el("td", "kept" if kept else "missed", class_="kept text" if kept else "missed text")
