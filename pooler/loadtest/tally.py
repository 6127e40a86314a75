"""Counts what becomes of every call: by step, operation and tenant, and along the run's time.

Pure but for its histograms: times are parameters, in seconds since the run began. A call belongs to the step and the
moment in which it was due, whatever became of it whenever. Rates of answers alone are of the time in which they came.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pooler.loadtest.calls import Arrival
from pooler.loadtest.histograms import Times
from pooler.loadtest.limits import PARTS
from pooler.loadtest.plan import Step
from pooler.loadtest.result import Figures, Moment, StepResult
from pooler.service.load import GOOD, LoadAnswer

LATE = "LATE"
"""A good answer that came when its caller's time was over."""
VANISHED = "VANISHED"
SLICES = 120
"""Moments of a run, about: more than a chart can show, few enough to keep."""
SLICE_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


def slice_seconds(seconds: float) -> float:
    """How long a moment is, in a run of so many seconds."""
    return next((each for each in SLICE_SECONDS if seconds / each <= SLICES), SLICE_SECONDS[-1])


@dataclass(slots=True)
class _Cell:
    """The calls of one operation and tenant in one step."""

    outcomes: Counter[str] = field(default_factory=Counter)
    shared: Counter[str] = field(default_factory=Counter)
    good_in_step: int = 0
    """Good answers that came while the step lasted, to whichever step's calls."""
    latency: Times = field(default_factory=Times)
    failing: Times = field(default_factory=Times)

    def add(self, other: "_Cell") -> None:
        self.outcomes += other.outcomes
        self.shared += other.shared
        self.good_in_step += other.good_in_step
        self.latency.add(other.latency)
        self.failing.add(other.failing)


@dataclass(slots=True)
class _StepTally:
    step: Step
    begins: float
    cells: dict[tuple[str, str], _Cell] = field(default_factory=lambda: defaultdict(_Cell))
    parts: dict[str, Times] = field(default_factory=lambda: {part: Times() for part in PARTS})
    lateness: Times = field(default_factory=Times)


@dataclass(slots=True)
class _Slice:
    due: int = 0
    good: int = 0
    failed: int = 0
    vanished: int = 0
    latency: Times = field(default_factory=lambda: Times(coarse=True))


class Tally:
    """One run's. `step` before the calls of a step; every `sent` call is `answered` or has `vanished` once."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long the run is to be, as far as that is known."""
        self.slice_seconds = slice_seconds(seconds)
        self.under_way = 0
        self.sent_total = 0
        self.outcomes: Counter[str] = Counter()
        self._steps: list[_StepTally] = []
        self._slices: dict[int, _Slice] = defaultdict(_Slice)

    def step(self, step: Step, begins: float) -> None:
        """The next step."""
        self._steps.append(_StepTally(step, begins))

    def sent(self, call: Arrival, late: float) -> None:
        """A call has left, so late."""
        self.under_way += 1
        self.sent_total += 1
        self._steps[call.step].lateness.record(late)
        self._slice(call.at).due += 1

    def answered(self, call: Arrival, answer: LoadAnswer, at: float) -> None:
        """Its answer has come, or none will."""
        latency = at - call.at
        outcome = LATE if answer.outcome == GOOD and latency > call.timeout else answer.outcome
        cell = self._note(call, outcome)
        if outcome != GOOD:
            cell.failing.record(latency)
            self._slice(at).failed += 1
            return
        cell.latency.record(latency)
        if answer.shared:
            cell.shared[answer.shared] += 1
        self._count_rate(call, at)
        self._slice(at).good += 1
        self._slice(call.at).latency.record(latency)
        if answer.timed:
            self._note_parts(self._steps[call.step].parts, answer, latency)

    def vanished(self, call: Arrival, at: float) -> None:
        """Its caller has left on purpose."""
        self._note(call, VANISHED)
        self._slice(at).vanished += 1

    def recent(self, at: float, seconds: float) -> tuple[float, float, Times]:
        """Of the last whole slices: calls due and good answers a second, and the latencies."""
        last = int(at / self.slice_seconds)
        count = max(1, round(seconds / self.slice_seconds))
        slices = [self._slices[index] for index in range(last - count, last) if index in self._slices]
        latency = Times(coarse=True)
        for each in slices:
            latency.add(each.latency)
        span = count * self.slice_seconds
        return sum(each.due for each in slices) / span, sum(each.good for each in slices) / span, latency

    def steps(self, first: int = 0) -> list[StepResult]:
        """What the steps have come to, from one on."""
        return [_result(index, tally) for index, tally in enumerate(self._steps) if index >= first]

    def moments(self) -> list[Moment]:
        """The run's time, slice by slice."""
        moments, under_way = [], 0
        for index in range(max(self._slices, default=-1) + 1):
            each = self._slices.get(index, _Slice())
            under_way += each.due - each.good - each.failed - each.vanished
            moments.append(_moment(each, index * self.slice_seconds, self.slice_seconds, under_way))
        return moments

    def _note(self, call: Arrival, outcome: str) -> _Cell:
        self.under_way -= 1
        self.outcomes[outcome] += 1
        cell = self._steps[call.step].cells[call.operation, call.tenant]
        cell.outcomes[outcome] += 1
        return cell

    def _count_rate(self, call: Arrival, at: float) -> None:
        """Counts a good answer in the step that lasted when it came; the last ones come when none does any more."""
        for tally in self._steps[call.step :]:
            if tally.begins <= at < tally.begins + tally.step.seconds:
                tally.cells[call.operation, call.tenant].good_in_step += 1
                return

    def _note_parts(self, parts: dict[str, Times], answer: LoadAnswer, latency: float) -> None:
        told = (answer.queue, answer.start, answer.reset, answer.work)
        for part, seconds in zip(PARTS, (*told, latency - sum(told)), strict=True):
            parts[part].record(seconds)

    def _slice(self, at: float) -> _Slice:
        return self._slices[int(at / self.slice_seconds)]


def _result(index: int, tally: _StepTally) -> StepResult:
    step, cells = tally.step, tally.cells
    tenants = sorted({tenant for _, tenant in cells})
    operations = sorted({operation for operation, _ in cells})
    return StepResult(
        number=index + 1,
        rate=step.rate,
        to=step.end_rate,
        begins_s=round(tally.begins, 3),
        seconds=step.seconds,
        judged=step.judged and step.calls > 0,
        all=_figures(cells.values(), step.seconds),
        tenants={
            name: _figures([cell for (_, tenant), cell in cells.items() if tenant == name], step.seconds)
            for name in tenants
        },
        operations={
            name: _figures([cell for (operation, _), cell in cells.items() if operation == name], step.seconds)
            for name in operations
        },
        parts={part: told for part, times in tally.parts.items() if (told := times.distribution()) is not None},
        lateness=tally.lateness.distribution(),
    )


def _figures(cells: Iterable[_Cell], seconds: float) -> Figures:
    whole = _Cell()
    for cell in cells:
        whole.add(cell)
    calls, vanished, good = whole.outcomes.total(), whole.outcomes[VANISHED], whole.outcomes[GOOD]
    return Figures(
        calls=calls,
        vanished=vanished,
        good=good,
        goodput=good / (calls - vanished) if calls > vanished else 0.0,
        good_per_second=whole.good_in_step / seconds,
        offered_per_second=calls / seconds,
        outcomes=dict(sorted(whole.outcomes.items())),
        shared=dict(sorted(whole.shared.items())),
        latency=whole.latency.distribution(),
        failing=whole.failing.distribution(),
    )


def _moment(each: _Slice, at: float, seconds: float, under_way: int) -> Moment:
    p50, p99 = each.latency.percentiles(50, 99)
    return Moment(
        at_s=at,
        seconds=seconds,
        due=each.due,
        good=each.good,
        failed=each.failed,
        vanished=each.vanished,
        under_way=under_way,
        p50_ms=p50,
        p99_ms=p99,
    )
