"""`penstock up`: pooler and frontend together, until one of them ends or somebody stops them.

It supervises and greets; it carries no call but its own first one.
"""

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from pooler.ctl import frontend, greeting
from pooler.ctl.plan import Plan, demo_plan, plan_for
from pooler.ctl.probe import ProbeError
from pooler.ctl.programs import POOLER_COMMAND
from pooler.ctl.supervisor import Program, ProgramError

READY_SECONDS = 60.0
"""From exec to listening: seconds on an idle machine, much more on a cold and crowded one."""
FRONTEND_GRACE_SECONDS = 10.0
GRACE_MARGIN_SECONDS = 10.0
"""What the pooler gets to close its connections after its own grace for running calls."""


def up(file: Path | None) -> int:
    """Runs until stopped; the exit status. Without a file: ./penstock.yaml when there is one, else the demo."""
    here = Path("penstock.yaml")
    if file is None and here.exists():
        print(f"using {here}, which is here", file=sys.stderr)
        file = here
    if file is not None:
        return asyncio.run(_supervise(plan_for(file)))
    with demo_plan() as plan:
        return asyncio.run(_supervise(plan))


async def _supervise(plan: Plan) -> int:
    stop = asyncio.Event()
    running: list[Program] = []

    def interrupt() -> None:
        """The first time asks everything to end in order; the second time nobody wants to wait for that."""
        if stop.is_set():
            for program in running:
                program.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    async with AsyncExitStack() as programs:
        work = asyncio.create_task(_run(plan, programs, running))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if work.done():
            return _report(work)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
    return 0


async def _run(plan: Plan, programs: AsyncExitStack, running: list[Program]) -> None:
    """Starts both, greets, waits for an end. Raises ProgramError at an end, ProbeError when no call got through."""
    pooler = await Program.start("pooler", [*POOLER_COMMAND, "--config", str(plan.file)], os.environ)
    running.append(pooler)
    programs.push_async_callback(pooler.stop, plan.config.pooler.drain_grace_seconds + GRACE_MARGIN_SECONDS)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, pooler.reload)
    begun = time.monotonic()
    pooler_address = await pooler.ready(plan.config.pooler.listen, READY_SECONDS)
    admin = plan.config.pooler.admin.listen
    admin_address = pooler_address if admin is None else await pooler.ready(admin, READY_SECONDS, "admin")
    variables = plan.variables
    if pooler_address != plan.config.pooler.listen:
        variables = variables | {f"{frontend.PREFIX}POOLER": pooler_address}
    front = await Program.start("frontend", [*frontend.COMMAND, "--preload"], variables)
    running.append(front)
    programs.push_async_callback(front.stop, FRONTEND_GRACE_SECONDS)
    mcp_address = await front.ready(plan.mcp, READY_SECONDS)
    ends = [asyncio.create_task(program.ended()) for program in (pooler, front)]
    greet = asyncio.create_task(greeting.greet(plan, mcp_address, pooler_address, admin_address, begun))
    try:
        done, _ = await asyncio.wait([*ends, greet], return_when=asyncio.FIRST_COMPLETED)
        if greet in done:
            greet.result()
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        raise ProgramError(done.pop().result())
    finally:
        for task in (*ends, greet):
            task.cancel()
        await asyncio.gather(*ends, greet, return_exceptions=True)


def _report(work: asyncio.Task[None]) -> int:
    try:
        work.result()
    except (ProgramError, ProbeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
