"""Where the pooler and the frontend spend their time, a call: `python -m tests.bench.fast.spy [TOOL] [CALLERS]`.

Samples both with py-spy, which is installed into an environment of its own, while wrk loads the line. Sampling costs
time as well, so the figures are shares of the CPU that a call was seen to take, and no measure of it.
"""

import argparse
import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.fast.cases import HOT_KEYS
from tests.bench.fast.contender import ROWS, filled
from tests.bench.fast.environment import environment
from tests.bench.fast.line import line
from tests.bench.fast.load import output, wrk
from tests.bench.fast.usage import Meter, Observer

PACKAGES = ("py-spy==0.4.3",)
WARM_UP_SECONDS, SECONDS, HERTZ = 2.0, 6.0, 500
SHOWN = 40


async def sampled(pid: int, file: Path) -> tuple[Counter[str], Counter[str]]:
    """Samples of a process, by the function that ran, and by each that was under way."""
    options = f"record --pid {pid} --duration {SECONDS - 1:g} --rate {HERTZ} --format raw --function --output {file}"
    await output([str(environment(*PACKAGES).with_name("py-spy")), *options.split(), "--nonblocking"])
    return _counted(file)


def _counted(file: Path) -> tuple[Counter[str], Counter[str]]:
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for entry in file.read_text().splitlines():
        stack, _, count = entry.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        within.update(dict.fromkeys(frames, int(count)))
    return own, within


async def profile(tool: str, callers: int, console: Console) -> None:
    """Prints a table for each of our programs."""
    with (
        tempfile.TemporaryDirectory() as name,
        filled(Path(name)) as server,
        line(server, Path(name)) as (ours, _),
        Observer(server.admin_url).looking() as observer,
    ):
        keys = ROWS if tool == "point" else HOT_KEYS
        await wrk(ours.address, tool, keys, callers, WARM_UP_SECONDS, 1)
        meter = Meter(ours.programs, ours.role, observer)
        sampling = [sampled(pid, Path(name) / program) for program, pid in ours.programs.items()]
        load, samples = await asyncio.gather(
            wrk(ours.address, tool, keys, callers, SECONDS, 2), asyncio.gather(*sampling)
        )
        used = {program: 1e6 * seconds / load.calls for program, seconds in meter.seconds().items()}
    console.print(f"{load.calls / load.seconds:.0f} calls/s while sampled; µs CPU a call: {used}")
    for program, (own, within) in zip(ours.programs, samples, strict=True):
        console.print(_table(program, used[program], own, within))


def _table(program: str, cpu_us: float, own: Counter[str], within: Counter[str]) -> Table:
    table = Table(f"{program}, {cpu_us:.0f} µs a call", "itself, µs", "with what it calls, µs")
    one = cpu_us / max(own.total(), 1)
    for place, count in own.most_common(SHOWN):
        table.add_row(place, f"{count * one:.1f}", f"{within[place] * one:.1f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fast.spy", description=__doc__)
    parser.add_argument("tool", nargs="?", default="point")
    parser.add_argument("callers", nargs="?", type=int, default=256)
    options = parser.parse_args()
    asyncio.run(profile(options.tool, options.callers, Console()))


if __name__ == "__main__":
    main()
