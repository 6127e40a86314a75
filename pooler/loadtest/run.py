"""Carries a test out: opens the target, sends what is due, watches meanwhile, waits for the last answer, judges.

One `Run`, one result. It prints nothing; whoever shows progress reads `tally`, `watcher` and `now`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version

from pooler.clock import Clock, monotonic
from pooler.loadtest.calls import arrivals
from pooler.loadtest.generator import Generator, Overflow
from pooler.loadtest.plan import Plan, Step
from pooler.loadtest.result import Result, StepResult
from pooler.loadtest.rounds import Rounds
from pooler.loadtest.tally import Tally
from pooler.loadtest.target import Target
from pooler.loadtest.verdicts import judge
from pooler.loadtest.watching import Watcher

CPU_MUCH = 0.85
"""CPU seconds a second, of the one core that a Python program has."""


class Run:
    """`rounds`: which steps are made; the plan says everything else."""

    def __init__(self, plan: Plan, target: Target, rounds: Rounds, clock: Clock = monotonic) -> None:
        self.plan = plan
        self.rounds = rounds
        self.tally = Tally(rounds.seconds)
        self.watcher = Watcher(lambda: self.now, plan.watch_ms / 1000)
        self._target = target
        self._clock = clock
        self._begun = clock()
        self._steps: list[tuple[float, Step]] = []
        self._invalid: list[str] = []
        self._sending: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        """Seconds since the first moment."""
        return self._clock() - self._begun

    @property
    def current(self) -> tuple[int, Step] | None:
        """The step that is due now, and its number; None before the first."""
        begun = [(number, step) for number, (begins, step) in enumerate(self._steps, 1) if begins <= self.now]
        return begun[-1] if begun else None

    def stop(self) -> None:
        """Sends nothing more, and waits for no answer. The run is invalid."""
        if self._sending is not None and not self._sending.done():
            self._invalid.append(f"it was stopped at {self.now:.1f} s of {self.rounds.seconds:g} s")
            self._sending.cancel()

    async def go(self) -> Result:
        """Makes the run."""
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        cpu = time.process_time()
        self._begun = self._clock()
        generator = Generator(self._target.way, self.tally, self._clock, self._begun, self.plan.in_flight_max)
        async with self._watched():
            self._sending = asyncio.create_task(self._send(generator))
            await asyncio.wait({self._sending})
            if self._sending.cancelled():
                generator.give_up()
            elif (failure := self._sending.exception()) is not None:
                raise failure
        return self._result(started_at, (time.process_time() - cpu) / max(self.now, 1e-9))

    async def _send(self, generator: Generator) -> None:
        done: list[StepResult] = []
        while steps := self.rounds.next(done):
            begins, first = self.now, len(self._steps)
            for step in steps:
                self.tally.step(step, begins)
                self._steps.append((begins, step))
                begins += step.seconds
            try:
                await generator.send(arrivals(self.plan, steps, self._steps[first][0], first))
                # What comes after the last call is a part of its step too.
                await asyncio.sleep(max(0.0, begins - self.now))
                await generator.settle()
            except Overflow as overflow:
                self._invalid.append(str(overflow))
                generator.give_up()
                return
            done = self.tally.steps()

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        watching = []
        if self._target.watch is not None:
            watching.append(asyncio.create_task(self.watcher.watch(self._target.watch)))
        if self.plan.observe is not None:
            watching.append(asyncio.create_task(self.watcher.observe(self.plan.observe)))
        try:
            yield
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    def _result(self, started_at: str, cpu: float) -> Result:
        steps = self.tally.steps()
        self._invalid += lateness_faults(steps, self.plan.lateness_max_ms)
        if not self.tally.sent_total:
            self._invalid.append("no call was due: raise a rate, or let it last longer")
        pools, seen = self.watcher.pools, self.watcher.seen
        return Result(
            penstock=version("penstock"),
            started_at=started_at,
            target=self._target.address,
            wire=self._target.wire,
            plan=self.plan.shown(),
            seconds=round(self.now, 3),
            steps=steps,
            moments=self.tally.moments(),
            pools=pools,
            seen=seen,
            generator_cpu=round(cpu, 3),
            invalid=self._invalid,
            notes=[*self.rounds.said(), *self.watcher.notes, *_cpu_notes(cpu)],
            verdicts=judge(self.plan.expect, self.rounds.judged(steps), pools, seen),
        )


def lateness_faults(steps: Sequence[StepResult], most_ms: float) -> list[str]:
    """Why the generator was too slow for its own plan, step by step."""
    return [
        f"the generator was late in step {step.number}: 1 % of its calls left {step.lateness.p99_ms:.0f} ms or more "
        f"after they were due ({most_ms:g} ms may be); offer less, or run it where more CPU is free"
        for step in steps
        if step.lateness is not None and step.lateness.p99_ms > most_ms
    ]


def _cpu_notes(cpu: float) -> list[str]:
    if cpu < CPU_MUCH:
        return []
    return [f"the generator used {cpu:.0%} of a core: latencies have a part of its own in them"]
