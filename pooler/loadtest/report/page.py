"""The report: one HTML file that says what was asked, what came of it, and how far it can be trusted.

It refers to nothing outside of itself, and runs no script: it can be mailed, kept for years, and opened without a net.
"""

from collections.abc import Sequence
from importlib.resources import files

import orjson

from pooler.loadtest import words
from pooler.loadtest.compare import compared
from pooler.loadtest.report import charts, reading, tables
from pooler.loadtest.report.chart import Chart, legend_of
from pooler.loadtest.report.drawing import NARROW, WIDE, drawn
from pooler.loadtest.report.markup import NOTHING, Markup, el, joined
from pooler.loadtest.result import Result

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def written(result: Result, before: Result | None = None) -> str:
    """The page. `before`: a result that it is compared with."""
    title = f"Load test of {result.target}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("title", title),
        el("style", Markup(files("pooler.loadtest.report").joinpath("style.css").read_text("utf-8"))),
    )
    body = el("body", el("main", *_sections(title, result, before)))
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"


def _sections(title: str, result: Result, before: Result | None) -> list[Markup]:
    tenants = tables.shares(result, "tenants") if _several(result, "tenants") else NOTHING
    operations = tables.shares(result, "operations") if _several(result, "operations") else NOTHING
    sections = [
        _head(title, result),
        _section("In short", el("ul", *(el("li", sentence) for sentence in reading.sentences(result)))),
        _section("Limits", tables.verdicts(result)) if result.verdicts else NOTHING,
        _compared(before, result) if before is not None else NOTHING,
        _section("Load and answers", tables.steps(result), _figures("load", charts.load_charts(result))),
        _section("Latency", _figures("latency", charts.latency_charts(result))),
        _section("Connections", _figures("pool", charts.pool_charts(result))) if result.pools else NOTHING,
        _section("Tenants", _figures("tenant", charts.tenant_charts(result)), tenants) if tenants else NOTHING,
        _section("Operations", operations) if operations else NOTHING,
        _section("Outcomes", tables.outcomes(result)),
        _method(result),
    ]
    return [section for section in sections if section]


def _several(result: Result, of: str) -> bool:
    return len({name for step in result.steps for name in getattr(step, of)}) > 1


def _head(title: str, result: Result) -> Markup:
    when = result.started_at.replace("T", " ").replace("+00:00", " UTC")
    about = f"{when}; {result.seconds:.0f} s over {result.wire}; Penstock {result.penstock}"
    return joined(el("h1", title), el("p", about, class_="quiet"), _verdict(result), _faults(result))


def _verdict(result: Result) -> Markup:
    if result.invalid:
        return el("p", "Invalid: these figures are not to be relied on", class_="verdict invalid")
    if not result.verdicts:
        return el("p", "Valid; no limit was stated", class_="verdict kept")
    missed = sum(not verdict.kept for verdict in result.verdicts)
    if missed:
        return el("p", f"{missed} of {len(result.verdicts)} limits missed", class_="verdict missed")
    return el("p", f"All {len(result.verdicts)} limits kept", class_="verdict kept")


def _faults(result: Result) -> Markup:
    said = [*result.invalid, *result.notes]
    return el("ul", *(el("li", f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in said)) if said else NOTHING


def _section(title: str, *content: Markup) -> Markup:
    return el("section", el("h2", title), *content)


def _figures(name: str, shown: Sequence[Chart]) -> Markup:
    return el("div", *(_figure(f"{name}-{index}", chart) for index, chart in enumerate(shown)), class_="charts")


def _figure(name: str, chart: Chart) -> Markup:
    legend = el("ul", *(_entry(*each) for each in legend_of(chart)), class_="legend")
    return el(
        "figure",
        el("figcaption", chart.title),
        legend,
        drawn(chart, WIDE, f"{name}-wide"),
        drawn(chart, NARROW, f"{name}-narrow"),
        el("p", chart.note, class_="quiet") if chart.note else NOTHING,
    )


def _entry(name: str, role: str, area: bool, dashed: bool) -> Markup:
    """A legend's entry: the mark itself, and its name."""
    mark = (
        el("rect", class_=f"bar {role}", x=1, y=1, width=18, height=10)
        if area
        else el("path", class_=f"line {role}{' dashed' if dashed else ''}", d="M0 6L20 6")
    )
    return el("li", el("svg", mark, viewBox="0 0 20 12", aria_hidden="true"), name)


def _compared(before: Result, after: Result) -> Markup:
    head = ["step", "figure", "before", "now", "change"]
    rows: list[list[str | Markup]] = []
    for change in compared(before, after):
        look = {True: "better", False: "worse", None: None}[change.better]
        rows.append([change.step, change.figure, change.before, change.now, el("td", change.words, class_=look)])
    if not rows:
        return _section("Compared", el("p", "The two runs have no step with the same rate."))
    when = before.started_at.replace("T", " ").replace("+00:00", " UTC")
    return _section("Compared", tables.table(f"With the run of {when}, step by step", head, rows, (0, 1)))


def _method(result: Result) -> Markup:
    cores = words.share(result.generator_cpu)
    plan = orjson.dumps(result.plan, option=orjson.OPT_INDENT_2).decode()
    return _section(
        "How it was measured",
        el(
            "p",
            "The moments of all calls were fixed before the first was sent, and no answer moved one. Latency counts "
            "from the moment at which a call was due, so that a generator that falls behind, or a system that makes "
            "callers wait, shows in it. Percentiles are of counts (HdrHistogram, three digits), not of averages.",
        ),
        el("p", f"The generator used {cores} of a core. How late it sent its calls stands in the table of steps."),
        el(
            "p",
            "A call is good when it was answered well within its caller's time. Goodput is the share of good calls "
            "among those whose callers waited; good/s counts the good answers that came while a step lasted.",
        ),
        el("details", el("summary", "The plan"), el("pre", plan)),
    )
