"""Which charts a result has, and what stands in each. From figures to charts; draws nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from pooler.loadtest import words
from pooler.loadtest.limits import PARTS
from pooler.loadtest.report.chart import Axis, Bars, Chart, Lines, Point, Series
from pooler.loadtest.result import Distribution, Moment, PoolSample, Result, StepResult
from pooler.loadtest.summary import busy_backends

SPECTRA_MAX = 6
"""Curves in one chart that can still be told apart."""
REASONS_MAX = 5
LEAST_MS = 0.01
FAR_APART = 6
"""Rates that differ by more would crowd at the left of a linear axis."""
COLOURS = ("blue", "teal", "green", "gold", "orange", "red", "purple", "grey")
TIME = Axis("time since the first call", "s", "exact")
OFFERED = Axis("offered", "calls/s")
STEPS = Axis("step, by what was offered", "calls/s")
RATE = Axis("calls", "per second")
LATENCY = Axis("latency", "ms", "log", LEAST_MS)
PART_ROLES = dict(zip(PARTS, ("orange", "purple", "teal", "blue", "grey"), strict=True))
PART_NAMES = {
    "queue": "queue: waiting for a connection",
    "start": "start: waiting for one to start",
    "reset": "reset: waiting for one to be cleaned",
    "work": "work: the backend's own",
    "elsewhere": "elsewhere: the wire, both programs",
}


def load_charts(result: Result) -> list[Chart]:
    """What was offered and what came back."""
    charts: list[Chart] = [_over_time(result.moments)]
    by_rate = _by_rate(result.steps)
    if len(by_rate) > 1:
        charts.append(_goodput(by_rate))
    charts.append(_outcomes(_loaded(result.steps)))
    return charts


def latency_charts(result: Result) -> list[Chart]:
    """How long good answers took, and what the time went into."""
    charts: list[Chart] = [_latency_over_time(result.moments)]
    by_rate = _by_rate(result.steps)
    if len(by_rate) > 1:
        charts.append(_latency_by_rate(by_rate))
    charts.append(_spectra(result.steps))
    timed = [step for step in _loaded(result.steps) if step.parts]
    if timed:
        charts.append(_parts(timed))
    return charts


def pool_charts(result: Result) -> list[Chart]:
    """What each backend saw, and who waited for it."""
    backends = busy_backends(result)
    charts: list[Chart] = [_connections(result, backend) for backend in backends]
    return [*charts, _queues(result, backends)] if backends else []


def tenant_charts(result: Result) -> list[Chart]:
    """Who got how much; none where nobody was told apart."""
    names = sorted({name for step in result.steps for name in step.tenants})
    if len(names) < 2:
        return []
    steps = _loaded(result.steps)

    def parts(figure: Callable[[StepResult, str], float]) -> list[tuple[str, str, list[float]]]:
        return [
            (name, COLOURS[index % len(COLOURS)], [figure(step, name) for step in steps])
            for index, name in enumerate(names)
        ]

    offered = parts(lambda step, name: step.tenants[name].offered_per_second if name in step.tenants else 0.0)
    good = parts(lambda step, name: step.tenants[name].good_per_second if name in step.tenants else 0.0)
    return [
        Bars("What tenants asked for", STEPS, RATE, _names(steps), offered),
        Bars("What tenants got", STEPS, Axis("good answers", "per second"), _names(steps), good),
    ]


# Load


def _over_time(moments: Sequence[Moment]) -> Chart:
    def series(name: str, role: str, count: Callable[[Moment], int], dashed: bool = False) -> Series:
        points = [(moment.at_s + moment.seconds / 2, count(moment) / moment.seconds) for moment in moments]
        return Series(name, role, points, dashed=dashed)

    shown = [
        series("due", "grey", lambda moment: moment.due, dashed=True),
        series("answered well", "green", lambda moment: moment.good),
        series("failed", "red", lambda moment: moment.failed),
    ]
    if any(moment.vanished for moment in moments):
        shown.append(series("left by their callers", "gold", lambda moment: moment.vanished))
    return Lines("Calls and answers", TIME, RATE, shown)


def _offered(steps: Sequence[StepResult]) -> Axis:
    """Where the rates are far apart, each doubling gets the same room."""
    rates = [step.all.offered_per_second for step in steps]
    return replace(OFFERED, scale="log", least=min(rates) / 2) if max(rates) > FAR_APART * min(rates) else OFFERED


def _goodput(steps: Sequence[StepResult]) -> Chart:
    x, y = _offered(steps), Axis("good answers", "per second")
    rates = [step.all.offered_per_second for step in steps]
    if x.scale == "log":
        y = replace(y, scale="log", least=min(rates) / 10)
    good = [(step.all.offered_per_second, step.all.good_per_second) for step in steps]
    shown = [
        Series("as much as is offered", "grey", [(min(rates), min(rates)), (max(rates), max(rates))], dashed=True),
        Series("good answers", "green", good, dots=True),
    ]
    note = "Where the two part, the capacity is reached. A pool that keeps its level from there on holds out."
    return Lines("Goodput against offered load", x, y, shown, note=note)


def _outcomes(steps: Sequence[StepResult]) -> Chart:
    totals: Counter[str] = Counter()
    for step in steps:
        totals.update(step.all.outcomes)
    kinds = [name for name, _ in totals.most_common() if name not in ("GOOD", "VANISHED")][:REASONS_MAX]
    named = [("answered well", "green", ["GOOD"])]
    colours = ("orange", "red", "purple", "teal", "blue")
    named += [(words.outcome(name), colours[index], [name]) for index, name in enumerate(kinds)]
    if others := sorted(totals.keys() - {"GOOD", "VANISHED", *kinds}):
        named.append(("for other reasons", "grey", others))
    if totals["VANISHED"]:
        named.append(("left by their callers", "gold", ["VANISHED"]))
    parts = [
        (name, role, [sum(step.all.outcomes.get(kind, 0) for kind in kinds_) / step.seconds for step in steps])
        for name, role, kinds_ in named
    ]
    return Bars("What became of the calls", STEPS, RATE, _names(steps), parts)


# Latency


def _latency_over_time(moments: Sequence[Moment]) -> Chart:
    def at(moment: Moment) -> float:
        return moment.at_s + moment.seconds / 2

    shown = [
        Series("p50", "blue", [(at(moment), moment.p50_ms) for moment in moments]),
        Series("p99", "orange", [(at(moment), moment.p99_ms) for moment in moments]),
    ]
    note = "Of good answers, by when their calls were due. A gap: none of those calls was answered well."
    return Lines("Latency over time", TIME, LATENCY, shown, note=note)


def _latency_by_rate(steps: Sequence[StepResult]) -> Chart:
    def points(of: Callable[[Distribution], float]) -> list[Point]:
        return [
            (step.all.offered_per_second, of(step.all.latency) if step.all.latency is not None else None)
            for step in steps
        ]

    shown = [
        Series("p50", "blue", points(lambda latency: latency.p50_ms), dots=True),
        Series("p90", "teal", points(lambda latency: latency.p90_ms), dots=True),
        Series("p99", "orange", points(lambda latency: latency.p99_ms), dots=True),
        Series("p99.9", "red", points(lambda latency: latency.p999_ms), dashed=True, dots=True),
    ]
    return Lines("Latency against offered load", _offered(steps), LATENCY, shown, note="Of good answers alone.")


def _spectra(steps: Sequence[StepResult]) -> Chart:
    known = [step for step in steps if step.all.latency is not None]
    every = max(1, -(-len(known) // SPECTRA_MAX))
    # The last ones: with the load, they are what is asked about.
    chosen = known[::-1][::every][::-1]
    shown = [
        Series(
            f"step {step.number}: {words.step_rate(step.rate, step.to)}",
            COLOURS[index % len(COLOURS)],
            _spectrum(step.all.latency) if step.all.latency is not None else [],
        )
        for index, step in enumerate(chosen)
    ]
    share = Axis("good answers that were as fast or faster", "%", "percentile", 1.0)
    return Lines("Latency by percentile", share, LATENCY, shown)


def _spectrum(latency: Distribution) -> list[Point]:
    """As 1/(1 − share): the axis gives each further nine the same room. The slowest call stands at its own share."""
    return [
        (min(100 / (100 - percentile), float(latency.count)) if percentile < 100 else float(latency.count), value)
        for percentile, value in latency.spectrum
    ]


def _parts(steps: Sequence[StepResult]) -> Chart:
    parts = [
        (
            PART_NAMES[part],
            PART_ROLES[part],
            [step.parts[part].mean_ms if part in step.parts else 0.0 for step in steps],
        )
        for part in reversed(PARTS)
    ]
    note = "Mean of good answers, as the pooler told it; what it does not account for is elsewhere."
    return Bars("Where the time went", STEPS, Axis("mean time", "ms"), _names(steps), parts, note)


# Pools


def _connections(result: Result, backend: str) -> Chart:
    samples = [sample for sample in result.pools if sample.backend == backend]

    def layer(name: str, role: str, count: Callable[[PoolSample], int]) -> Series:
        return Series(name, role, [(max(sample.at_s, 0.0), float(count(sample))) for sample in samples], stairs=True)

    layers = [
        layer("in use", "blue", lambda sample: sample.in_use),
        layer("starting", "purple", lambda sample: sample.starting),
        layer("being reset or closed", "teal", lambda sample: sample.ending),
        layer("idle", "grey", lambda sample: sample.idle),
    ]
    shown = [Series("the cap", "red", [(s.at_s, float(s.cap)) for s in samples], dashed=True, stairs=True)]
    seen: list[Point] = [(each.at_s, float(each.connections)) for each in result.seen if each.backend == backend]
    if seen:
        shown.append(Series("as the database counts them", "gold", seen, stairs=True))
    note = f"{len(samples)} looks at the pooler; what came and went between two was not seen."
    # One more than the cap, so that it is seen whether anything lies above it.
    axis = Axis("connections", "count", reaches=max((sample.cap for sample in samples), default=0) + 1.0)
    return Lines(f"Connections of {backend}", TIME, axis, shown, [each for each in layers if _any(each)], note)


def _any(series: Series) -> bool:
    return any(y for _, y in series.points)


def _queues(result: Result, backends: Sequence[str]) -> Chart:
    shown = [
        Series(
            backend,
            COLOURS[index % len(COLOURS)],
            [(sample.at_s, float(sample.queued)) for sample in result.pools if sample.backend == backend],
            stairs=True,
        )
        for index, backend in enumerate(backends)
    ]
    return Lines("Calls that wait for a connection", TIME, Axis("calls waiting", "count"), shown)


# Steps


def _loaded(steps: Sequence[StepResult]) -> list[StepResult]:
    return [step for step in steps if step.all.calls]


def _by_rate(steps: Sequence[StepResult]) -> list[StepResult]:
    """Steps by what they offered; a ramp offers no one rate."""
    return sorted((step for step in _loaded(steps) if step.rate == step.to), key=lambda s: s.all.offered_per_second)


def _names(steps: Sequence[StepResult]) -> list[str]:
    return [words.step_rate(step.rate, step.to).removesuffix("/s") for step in steps]
