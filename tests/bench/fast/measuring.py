"""Runs of entries and their medians: every entry of every case once a round, so that whatever else goes on hits all."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.fast.cases import Case, Entry
from tests.bench.fast.load import Heard, NotRight
from tests.bench.fast.usage import Meter, Observer, memory_mib


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    rounds: int = 5
    seconds: float = 4.0
    warm_up: float = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """An entry's figures. CPU in microseconds a call, by program; memory in MiB, of its programs together."""

    calls_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]
    memory_mib: float
    wrong: int
    """Answers that were not right, or did not come; a peer's alone, since none of ours may be."""


async def measure(
    cases: list[Case], plan: Plan, observer: Observer, say: Callable[[str], None]
) -> dict[tuple[str, str], Measured]:
    """The medians of all rounds, by case and label."""
    runs: dict[tuple[str, str], list[Measured]] = {}
    for number in range(plan.rounds):
        for case in cases:
            for entry in case.entries:
                say(f"round {number + 1} of {plan.rounds}: {case.name}: {entry.label}")
                run = await _run(entry, plan, observer, seed=1 + 2 * number)
                runs.setdefault((case.name, entry.label), []).append(run)
    return {key: _middle(several) for key, several in runs.items()}


async def _run(entry: Entry, plan: Plan, observer: Observer, seed: int) -> Measured:
    await entry.ask(plan.warm_up, seed)
    meter = Meter(entry.contender.programs, entry.contender.role, observer)
    heard: Heard = await entry.ask(plan.seconds, seed + 1)
    wrong = heard.wrong + heard.broken
    if not heard.calls or (wrong and entry.contender.ours):
        raise NotRight(f"{entry.label}: {heard}")
    used = {**meter.seconds(), "load": heard.cpu_seconds}
    cpu = {name: 1e6 * seconds / heard.calls for name, seconds in used.items()}
    memory = sum(map(memory_mib, entry.contender.programs.values()))
    return Measured(heard.calls / heard.seconds, heard.p50_ms, heard.p99_ms, cpu, memory, wrong)


def _middle(runs: list[Measured]) -> Measured:
    return Measured(
        median(run.calls_per_second for run in runs),
        median(run.p50_ms for run in runs),
        median(run.p99_ms for run in runs),
        {name: median(run.cpu_us[name] for run in runs) for name in runs[0].cpu_us},
        max(run.memory_mib for run in runs),
        sum(run.wrong for run in runs),
    )
