"""Whether the limits were kept: each by its worst step, or its worst sample. Pure: figures in, verdicts out."""

from collections.abc import Iterable, Sequence

from pooler.loadtest.histograms import restored
from pooler.loadtest.limits import Limit, parse
from pooler.loadtest.result import Distribution, Figures, PoolSample, SeenSample, StepResult, Verdict


def judge(
    limits: Iterable[str], steps: Sequence[StepResult], pools: Sequence[PoolSample], seen: Sequence[SeenSample]
) -> list[Verdict]:
    """A verdict for each limit. What could not be measured was not kept."""
    return [_judge(parse(text), steps, pools, seen) for text in limits]


def _judge(
    limit: Limit, steps: Sequence[StepResult], pools: Sequence[PoolSample], seen: Sequence[SeenSample]
) -> Verdict:
    if limit.metric in ("connections", "queued"):
        return _by_sample(limit, pools, seen)
    wanted = [step for step in steps if _is_meant(limit, step)]
    measured = [(_value(limit, step), step) for step in wanted]
    known = [(value, step) for value, step in measured if value is not None]
    if not known or len(known) < len(measured):
        where = next((_named(step) for value, step in measured if value is None), "no such step")
        return Verdict(limit=limit.text, kept=False, value=None, unit=limit.unit, where=where)
    worst, step = (max if limit.wants_little else min)(known, key=lambda each: each[0])
    return Verdict(limit=limit.text, kept=limit.kept_by(worst), value=worst, unit=limit.unit, where=_named(step))


def _is_meant(limit: Limit, step: StepResult) -> bool:
    number = limit.narrowed.get("step")
    return step.judged if number is None else step.number == int(number)


def _named(step: StepResult) -> str:
    return f"step {step.number}"


def _value(limit: Limit, step: StepResult) -> float | None:
    if limit.part:
        return _latency(limit, step.parts.get(limit.part))
    figures = _figures(limit, step)
    if limit.metric == "share":
        return figures.good / step.all.good if figures is not None and step.all.good else None
    if figures is None or (waiting := figures.calls - figures.vanished) == 0:
        return None
    match limit.metric:
        case "latency":
            return _latency(limit, figures.latency)
        case "goodput":
            return figures.goodput
        case "goodput_rate":
            return figures.good_per_second
        case "within":
            within = restored(figures.latency).within(float(limit.narrowed["ms"])) if figures.latency else 0
            return within / waiting
    reason = limit.narrowed.get("reason")
    return (waiting - figures.good if reason is None else figures.outcomes.get(reason, 0)) / waiting


def _figures(limit: Limit, step: StepResult) -> Figures | None:
    if (tenant := limit.narrowed.get("tenant")) is not None:
        return step.tenants.get(tenant)
    if (operation := limit.narrowed.get("operation")) is not None:
        return step.operations.get(operation)
    return step.all


def _latency(limit: Limit, distribution: Distribution | None) -> float | None:
    if distribution is None:
        return None
    if limit.percentile is not None:
        return restored(distribution).at(limit.percentile)
    return distribution.mean_ms if limit.statistic == "mean" else distribution.max_ms


def _by_sample(limit: Limit, pools: Sequence[PoolSample], seen: Sequence[SeenSample]) -> Verdict:
    backend = limit.narrowed.get("backend")
    caps = {sample.backend: sample.cap for sample in pools}
    found = [
        (sample.queued if limit.metric == "queued" else sample.connections, sample.cap, sample.backend)
        for sample in pools
        if backend in (None, sample.backend)
    ]
    if limit.metric == "connections":
        found += [
            (sample.connections, caps[sample.backend], sample.backend)
            for sample in seen
            if sample.backend in caps and backend in (None, sample.backend)
        ]
    if not found:
        return Verdict(limit=limit.text, kept=False, value=None, unit=limit.unit, where="nothing was watched")
    past = [each for each in found if not limit.kept_by(each[0], each[1] if limit.cap else None)]
    count, _, where = (max if limit.wants_little else min)(past or found, key=lambda each: each[0])
    return Verdict(limit=limit.text, kept=not past, value=float(count), unit=limit.unit, where=where)
