"""Whoever is measured: programs that run, a role of its own in PostgreSQL, and where it is asked. Judges nothing."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.bench.fast.load import Missing
from tests.servers.postgres import PostgresServer, binaries

ROWS = 100_000
CAP = 4
CONNECTIONS_MAX = 60
NAP_SECONDS = 0.005
POINT = "SELECT id, filler FROM places WHERE id = {id}"
NAP = f"{POINT} AND pg_sleep({NAP_SECONDS}) IS NOT NULL"
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Contender:
    """One that answers: `programs` are its processes by what they are, `role` is its own in PostgreSQL."""

    name: str
    role: str
    programs: Mapping[str, int]
    address: str
    ours: bool = False


@contextmanager
def filled(folder: Path) -> Iterator[PostgresServer]:
    """A server for all of them, with what they read."""
    folder.chmod(0o755)  # servers that are nobody's reach their own folders in it
    data = folder / "data"
    data.mkdir()
    with PostgresServer(data, CONNECTIONS_MAX) as server:
        _fill(server)
        yield server


def _fill(server: PostgresServer) -> None:
    """A table in which each row names its own key, and pgbench's, that anybody may read."""
    server.run_as_owner("CREATE TABLE places (id integer PRIMARY KEY, filler text)")
    server.run_as_owner(
        f"INSERT INTO places SELECT n, 'row ' || n || ' ' || repeat('x', 70) FROM generate_series(1, {ROWS}) AS n"
    )
    server.run([binaries() / "pgbench", "--initialize", "--quiet", server.url])
    server.run_as_owner("VACUUM ANALYZE places")
    server.run_as_owner("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")


def role(server: PostgresServer, name: str) -> str:
    """A new role that may log in; where it connects to."""
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN")
    return server.url_of(name)


@contextmanager
def running(command: list[str], ready: str, log: Path) -> Iterator[int]:
    """A program, from when it answers HTTP at this address to its end; its process id. Raises Missing with its log."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"{command[0]} did not start: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
