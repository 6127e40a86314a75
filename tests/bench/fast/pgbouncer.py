"""pgbouncer between pgbench and PostgreSQL, as it is commonly run: transaction pooling, the extended protocol.

It has no MCP and no JSON, so it tells the physical scale: what a pooler in C passes on, between programs in C.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.bench.fast.contender import CAP, Contender, role
from tests.bench.fast.load import Heard, Missing, NotRight, children_cpu_seconds, output
from tests.servers.postgres import PostgresServer, binaries
from tests.servers.server import Server

NAME, ROLE = "pgbouncer", "pgbouncer_user"
CALLERS_MAX = 512
LOGGED, LATENCY = 0.1, 2
"""The share of calls whose latencies are logged, and the field in which they stand, in microseconds."""


class Pgbouncer(Server):
    """It, on a free port, and a file for its settings."""

    def __init__(self, folder: Path, target: int) -> None:
        super().__init__(folder)
        self.url = f"postgresql://{ROLE}@127.0.0.1:{self.port}/legacy"
        self._target = target

    def connections(self) -> int:
        raise NotImplementedError("the server behind it counts them")

    def _set_up(self) -> None:
        (self.folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"legacy = host=127.0.0.1 port={self._target} user={ROLE}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {CAP}\nmax_client_conn = {CALLERS_MAX}\n"
            "log_connections = 0\nlog_disconnections = 0\n"
        )

    def _command(self) -> list[str | Path]:
        return [_tool("pgbouncer"), self.folder / "pgbouncer.ini"]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _populate(self) -> None:
        """Whoever connects is the one role."""


@contextmanager
def pgbouncer(server: PostgresServer, folder: Path) -> Iterator[Contender]:
    """It, running. Raises Missing when it is not installed."""
    role(server, ROLE)
    own = folder / NAME
    own.mkdir()
    with Pgbouncer(own, server.port) as program:
        yield Contender(NAME, ROLE, {"pgbouncer": program.pid}, program.url)


async def pgbench(url: str, callers: int, seconds: float, seed: int) -> Heard:
    """`pgbench -S` for so long; its latencies from the log of one call in ten. Raises Missing, NotRight."""
    options = f"-S -n -M extended -c {callers} -T {seconds:g} --random-seed={seed} --log --sampling-rate={LOGGED}"
    before = children_cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        out, _ = await output([_tool("pgbench"), *options.split(), f"--log-prefix={folder}/calls", url])
        took = _logged(Path(folder))
    calls, failed, rate = (found(out) for found in (_CALLS, _FAILED, _RATE))
    if failed or not took:
        raise NotRight(f"{failed:g} of {calls:g} calls of pgbench failed")
    p50, p99 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
    return Heard(int(calls), calls / rate, p50, p99, children_cpu_seconds() - before)


def _logged(folder: Path) -> list[float]:
    """The latencies in its logs, the least first, in milliseconds."""
    lines = (line.split() for file in folder.iterdir() for line in file.read_text().splitlines())
    return sorted(float(fields[LATENCY]) / 1e3 for fields in lines)


def _figure(before: str) -> Callable[[str], float]:
    """What finds the figure behind these words."""
    pattern = re.compile(re.escape(before) + r"([\d.]+)")

    def found(text: str) -> float:
        match = pattern.search(text)
        if match is None:
            raise NotRight(f"pgbench did not say {before!r}")
        return float(match[1])

    return found


_CALLS = _figure("number of transactions actually processed: ")
_FAILED = _figure("number of failed transactions: ")
_RATE = _figure("tps = ")


def _tool(name: str) -> str:
    """Where a program is: among the server's own first. Raises Missing."""
    own = binaries() / name
    found = str(own) if own.exists() else shutil.which(name, path="/usr/sbin:/usr/bin:/bin")
    if found is None:
        raise Missing(f"{name} is not installed: make bench-deps")
    return found
