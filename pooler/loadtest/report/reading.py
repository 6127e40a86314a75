"""What a capacity planner would say of a result: a few sentences, each from figures that the report shows. Pure."""

from collections import Counter
from collections.abc import Sequence

from pooler.loadtest import words
from pooler.loadtest.limits import PARTS
from pooler.loadtest.result import Result, StepResult
from pooler.loadtest.summary import busy_backends, failures

WELL = 0.99
"""A rate is carried when at least so many of its calls were answered well, and in time."""
SHARE_SEEN = 0.2
"""A start is worth a word when it takes this much of the mean latency."""


def sentences(result: Result) -> list[str]:
    """In the order in which one would ask."""
    made = [step for step in result.steps if step.all.calls]
    judged = [step for step in made if step.judged] or made
    steps = sorted(judged, key=lambda step: step.all.offered_per_second)
    if not steps:
        return ["No call was made."]
    said = [_most(steps), *_carried(steps), *_starts(steps), *_caps(result), *_shared(steps), *_tenants(steps)]
    return [sentence for sentence in said if sentence]


def _most(steps: Sequence[StepResult]) -> str:
    best = max(steps, key=lambda step: step.all.good_per_second)
    offered = words.rate(best.all.offered_per_second)
    return (
        f"At most {words.rate(best.all.good_per_second)} good answers came back, "
        f"in step {best.number}, which offered {offered}."
    )


def _carried(steps: Sequence[StepResult]) -> list[str]:
    """Up to where the load was carried, and what happened past that."""
    good = [step for step in steps if step.all.goodput >= WELL]
    poor = [step for step in steps if step.all.goodput < WELL and step.all.calls > step.all.vanished]
    first_poor = min(poor, key=lambda step: step.all.offered_per_second) if poor else None
    if first_poor is not None:
        good = [step for step in good if step.all.offered_per_second < first_poor.all.offered_per_second]
    said = []
    if good and (latency := good[-1].all.latency) is not None:
        offered, p99 = words.rate(good[-1].all.offered_per_second), words.milliseconds(latency.p99_ms)
        said.append(f"Up to {offered}, {words.share(WELL)} or more were answered well; p99 was {p99} there.")
    if first_poor is not None:
        said.append(_broken(first_poor))
    worst = max(steps, key=lambda step: step.all.offered_per_second)
    best = max(step.all.good_per_second for step in steps)
    if first_poor is not None and worst is not first_poor and best:
        held = worst.all.good_per_second / best
        said.append(
            f"At {words.rate(worst.all.offered_per_second)}, the most that was offered, "
            f"good answers came at {words.share(held)} of the best rate."
        )
    return said


def _broken(step: StepResult) -> str:
    offered, goodput = words.rate(step.all.offered_per_second), words.share(step.all.goodput)
    sentence = f"At {offered} only {goodput} were answered well ({failures(step.all)})"
    if step.all.latency is None or not step.parts:
        return f"{sentence}."
    part = max(PARTS, key=lambda name: step.parts[name].mean_ms if name in step.parts else 0.0)
    share = step.parts[part].mean_ms / max(step.all.latency.mean_ms, 1e-9)
    return f"{sentence}; {words.share(min(share, 1.0))} of the good answers' time was {_PART_WORDS[part]}."


_PART_WORDS = {
    "queue": "waiting for a connection",
    "start": "waiting for a connection to start",
    "reset": "waiting for a connection to be reset",
    "work": "the backend's own work",
    "elsewhere": "neither the queue's nor the backend's: the wire and the programs",
}


def _starts(steps: Sequence[StepResult]) -> list[str]:
    slow = [
        step
        for step in steps
        if step.all.latency and "start" in step.parts
        and step.parts["start"].mean_ms > SHARE_SEEN * step.all.latency.mean_ms
    ]  # fmt: skip
    if not slow:
        return []
    first = min(slow, key=lambda step: step.number)
    waited = words.milliseconds(first.parts["start"].mean_ms)
    sentence = f"In step {first.number} calls waited {waited} in the mean for connections to start"
    return [f"{sentence}: `warm` connections, or a step before it that is not judged, would take that out."]


def _caps(result: Result) -> list[str]:
    said = []
    for backend in busy_backends(result):
        samples = [sample for sample in result.pools if sample.backend == backend]
        seen = [each.connections for each in result.seen if each.backend == backend]
        most, cap = max([*(sample.connections for sample in samples), *seen]), max(sample.cap for sample in samples)
        whose = "the pooler's and the database's own counts" if seen else "the pooler's count"
        busy = sum(sample.in_use >= sample.cap for sample in samples) / len(samples)
        bound = f"which is more than its cap of {cap}" if most > cap else f"its cap is {cap}"
        said.append(
            f"Of {backend} at most {most} connections were seen, by {whose}; {bound}. "
            f"All were in use in {words.share(busy)} of the looks."
        )
    return said


def _shared(steps: Sequence[StepResult]) -> list[str]:
    totals: Counter[str] = Counter()
    for step in steps:
        totals.update(step.all.shared)
    if not totals:
        return []
    parts = ", ".join(f"{words.share(count / totals.total())} {name}" for name, count in totals.most_common())
    return [f"Of the good answers that may be shared: {parts}. Only a miss has cost the backend work of its own."]


def _tenants(steps: Sequence[StepResult]) -> list[str]:
    crowded = max(steps, key=lambda step: step.all.offered_per_second)
    if len(crowded.tenants) < 2 or not crowded.all.good:
        return []
    parts = [
        f"{name} made {words.share(figures.calls / crowded.all.calls)} of the calls and got "
        f"{words.share(figures.good / crowded.all.good)} of the good answers"
        for name, figures in crowded.tenants.items()
    ]
    return [f"In step {crowded.number} {'; '.join(parts)}."]
