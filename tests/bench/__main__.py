"""`python -m tests.bench [NAME …]`: runs the benchmarks, one after the other, and prints their figures."""

import argparse
import asyncio
import tempfile
from importlib import import_module
from pathlib import Path

import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

NAMES = ("point_select", "queueing", "cold_start", "hand_over", "queued_memory")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME", help=f"of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    from tests.servers.postgres import PostgresServer  # only here: `--help` needs no server

    table = Table("what", "figure", "beside")
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder)) as server:
        _fill(server.url)
        for name in names:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                for row in runner.run(import_module(f"tests.bench.{name}").run(server.url)):
                    table.add_row(*row)
    Console().print(table)


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE points (id integer PRIMARY KEY, filler text)")
        connection.execute("INSERT INTO points SELECT n, repeat('x', 84) FROM generate_series(1, 1000) AS n")


if __name__ == "__main__":
    main()
