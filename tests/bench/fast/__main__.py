"""`python -m tests.bench.fast [--rounds N] [--seconds S] [--only WORDS]`: the comparison by another plan.

Piped into a file, the table comes as this folder's README has it.
"""

import argparse
import asyncio

import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench.fast import compare
from tests.bench.fast.measuring import Plan


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fast", description=__doc__)
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="how often each is loaded")
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="for how long each time")
    parser.add_argument("--only", default="", metavar="WORDS", help="those cases alone whose names have these words")
    options = parser.parse_args()
    console, plan = Console(), Plan(options.rounds, options.seconds)
    with console.status("") as status, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(compare(plan, options.only, status.update))
    if not console.is_terminal:
        print(*("| " + " | ".join(row) + " |" for row in rows), sep="\n")
        return
    table = Table("what", "figure", "beside")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
