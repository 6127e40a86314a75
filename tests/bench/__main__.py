"""`python -m tests.bench [NAME …]`: runs the benchmarks, one after the other, and prints their figures."""

import argparse
import asyncio
import logging
import tempfile
from importlib import import_module
from pathlib import Path

import psycopg
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

NAMES = (
    "fast",
    "point_select",
    "queueing",
    "cold_start",
    "hand_over",
    "queued_memory",
    "slow_start",
    "elision",
    "cancels",
    "overload",
    "paging",
    "long_calls",
    "desk",
    "pipelined",
)
SOAKS = ("cancels", "pipelined")
"""Those that have a long form, `soak` beside `run`."""
CONNECTIONS_MAX = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--soak", action="store_true", help=f"the long form of {', '.join(SOAKS)}")
    options = parser.parse_args()
    names = SOAKS if options.soak else options.names or NAMES
    from tests.servers.postgres import PostgresServer  # only here: `--help` needs no server

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console, table = Console(), Table("what", "figure", "beside")
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder), CONNECTIONS_MAX) as server:
        _fill(server.url)
        for name in names:
            module = import_module(f"tests.bench.{name}")
            with (
                console.status(name),
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                for row in runner.run((module.soak if options.soak else module.run)(server.url)):
                    table.add_row(*row)
    console.print(table)


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE points (id integer PRIMARY KEY, filler text)")
        connection.execute("INSERT INTO points SELECT n, repeat('x', 84) FROM generate_series(1, 1000) AS n")


if __name__ == "__main__":
    main()
