"""Makes a run from a plan: opens the target, fits the plan to it, shows how it goes, brings back the figures."""

import asyncio
import contextlib
import resource
import signal
from collections.abc import Sequence

import orjson
import uvloop
from rich.console import Console

from pooler.loadtest.fitting import PlanError, fitted
from pooler.loadtest.plan import CallSpec, Plan
from pooler.loadtest.progress import shown
from pooler.loadtest.result import Result, StepResult
from pooler.loadtest.rounds import Planned, Rounds, Search
from pooler.loadtest.run import Run, lateness_faults
from pooler.loadtest.target import Target
from pooler.loadtest.verdicts import judge


def make(plan: Plan, console: Console, *, find_limit: bool = False) -> Result:
    """Raises PlanError when the plan does not fit what is there, LoadError when nothing is there."""
    _take_all_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_make(plan, console, find_limit))


async def _make(plan: Plan, console: Console, find_limit: bool) -> Result:
    target = Target(plan)
    try:
        await target.open()
        plan = fitted(plan, await target.catalogue())
        console.print(_announced(plan, target), markup=False, soft_wrap=True)
        run = Run(plan, target, _search(plan) if find_limit else Planned(plan.steps))
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, run.stop)
        showing = asyncio.create_task(shown(run, console)) if console.is_terminal else None
        try:
            return await run.go()
        finally:
            if showing is not None:
                showing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await showing
    finally:
        await target.close()


def _search(plan: Plan) -> Rounds:
    if not plan.expect:
        raise PlanError("a limit can be found when it is known what is to be kept: --expect 'p99<250ms', for example")
    if not plan.steps[0].calls:
        raise PlanError("a search begins at the first step's rate, which is 0; name one that surely holds")

    def holds(step: StepResult) -> bool:
        late = lateness_faults([step], plan.lateness_max_ms)
        # The pools are watched over the whole run: what a search is about is what callers see.
        return not late and all(verdict.kept for verdict in judge(_of_calls(plan.expect), [step], [], []))

    return Search(plan.steps[0], holds)


def _of_calls(limits: Sequence[str]) -> list[str]:
    return [limit for limit in limits if not limit.lstrip().startswith(("connections", "queued"))]


def _announced(plan: Plan, target: Target) -> str:
    calls = ", ".join(_call(spec) for spec in plan.calls)
    return f"{plan.arrivals} arrivals to {target.address} ({target.wire}): {calls}"


def _call(spec: CallSpec) -> str:
    arguments = " ".join(f"{name}={orjson.dumps(given).decode()}" for name, given in spec.arguments.items())
    return f"{spec.operation} {arguments}".strip()


def _take_all_descriptors() -> None:
    """An open loop has as many connections as calls without an answer; 1,024 descriptors would be its own limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
