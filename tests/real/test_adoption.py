"""A pooler that is killed and started again at once, under load: the cap holds, as the backend itself counts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import scalar_row

from pooler.runtime.processes import signal_tagged, tagged
from tests.contract import worker
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import loop
from tests.real.callers import Load, outcome
from tests.real.test_faults import eventually
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.promise(1)

CAP = 3
SECONDS = {"type": "number"}


class Sampler:
    """Counts as often as it can, in a thread of its own, and remembers the most that it saw."""

    def __init__(self, count: Callable[[], int]) -> None:
        self.peak = 0
        self.samples = 0
        self._count = count
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    @contextmanager
    def running(self) -> Iterator["Sampler"]:
        """For as long as the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()

    def _sample(self) -> None:
        while not self._over.is_set():
            self.peak = max(self.peak, self._count())
            self.samples += 1


@contextmanager
def killed_at_work(folder: Path, config: dict[str, Any], busy: Callable[[], int], calls: int = CAP) -> Iterator[None]:
    """A pooler that is killed in the midst of so many calls; what it has left is there when the block begins."""

    async def work(pooler: Pooler) -> None:
        async with wire.stub(pooler.address) as stub:
            called = [asyncio.ensure_future(outcome(stub, "slow", 600)) for _ in range(calls)]
            await asyncio.to_thread(eventually, calls, busy)
            pooler.kill()
            assert Counter(await asyncio.gather(*called)) == {"UNAVAILABLE": calls}

    with Pooler(folder, config) as pooler:
        loop.run(work(pooler))
    yield


async def heal(pooler: Pooler, busy: Callable[[], int], folder: Path) -> None:
    """Load from the first moment on, until it is served; and then the whole cap can be taken at once."""
    async with asyncio.timeout(60):
        async with Load(pooler.address, "slow", 4 * CAP, 0.02).running() as load:
            await load.more(100)
        assert load.heard.keys() == {"OK"}
        async with wire.stub(pooler.address) as stub:
            calls = [asyncio.ensure_future(outcome(stub, "slow", 600)) for _ in range(CAP)]
            await asyncio.to_thread(eventually, CAP, busy)
            assert len(slot_files(folder)) == CAP
            for call in calls:
                call.cancel()


def slot_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "state" / "slots").glob("*/*") if path.is_file())


# Worker processes


def workers(locks: Path, *habits: str, backend: str = "old") -> dict[str, Any]:
    command = [sys.executable, worker.__file__, str(locks), "--declare", "ping,reset", *habits]
    operation = {"backend": backend, "method": "slow", "arguments": {"seconds": SECONDS}, "effect": "read"}
    return {
        "backends": {backend: {"kind": "process", "command": command, "pool": {"cap": CAP, "parallel_starts": CAP}}},
        "operations": {"slow": {**operation, "timeout_seconds": 600}},
    }


@pytest.fixture
def locks(tmp_path: Path) -> Iterator[Path]:
    """Where workers register. What a failed test leaves of them is ended, by its tag."""
    folder = tmp_path / "locks"
    folder.mkdir()
    yield folder
    name = (tmp_path / "state" / "pooler.id").read_text().strip()
    for tag, pids in tagged().items():
        for pid in pids if f"/{name}/" in tag else ():
            signal_tagged(pid, tag, signal.SIGKILL)


HABITS = [("--stubborn",), ("--child", "session"), ("--child", "spawn"), ("--stubborn", "--child", "fork")]


@pytest.mark.parametrize("habits", HABITS, ids=" ".join)
def test_workers_of_a_killed_pooler_are_ended_and_never_outnumber_the_cap_with_the_new_ones(
    tmp_path: Path, locks: Path, habits: tuple[str, ...]
) -> None:
    def busy() -> int:
        return worker.held(locks, "busy-*")

    sampler = Sampler(lambda: worker.held(locks, "open-*"))
    with killed_at_work(tmp_path, workers(locks, *habits), busy), sampler.running():
        assert worker.held(locks, "open-*") == CAP
        with Pooler(tmp_path, workers(locks)) as pooler:
            loop.run(heal(pooler, busy, tmp_path))

    assert sampler.peak == CAP
    assert sampler.samples > 100
    assert worker.held(locks, "open-*") == 0
    assert slot_files(tmp_path) == []


def test_workers_of_a_backend_that_is_not_configured_any_more_are_ended(tmp_path: Path, locks: Path) -> None:
    stubborn = workers(locks, "--stubborn", backend="forgotten")
    with killed_at_work(tmp_path, stubborn, lambda: worker.held(locks, "busy-*")), Pooler(tmp_path, workers(locks)):
        eventually([], lambda: [path for path in slot_files(tmp_path) if path.parent.name == "forgotten"])

    assert worker.held(locks, "open-*") == 0


def test_a_process_that_was_given_the_number_of_a_dead_worker_is_not_signalled(tmp_path: Path, locks: Path) -> None:
    with killed_at_work(tmp_path, workers(locks), lambda: worker.held(locks, "busy-*"), calls=1):
        (file, *_) = [path for path in slot_files(tmp_path) if json.loads(path.read_text())["pid"]]
        record = json.loads(file.read_text())
        os.killpg(record["pid"], signal.SIGKILL)
        stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        try:
            file.write_text(json.dumps({**record, "pid": stranger.pid}))
            with Pooler(tmp_path, workers(locks)) as pooler:
                loop.run(heal(pooler, lambda: worker.held(locks, "busy-*"), tmp_path))
                assert stranger.poll() is None
        finally:
            stranger.kill()
            assert stranger.wait() == -signal.SIGKILL


# Servers


def naps(kind: str, url: str, statement: str, cap: int = CAP, **pool: Any) -> dict[str, Any]:
    operation = {"backend": "db", "statement": statement, "arguments": {"seconds": SECONDS}, "effect": "read"}
    return {
        "backends": {"db": {"kind": kind, "url": url, "pool": {"cap": cap, "parallel_starts": CAP, **pool}}},
        "operations": {"slow": {**operation, "timeout_seconds": 600}},
    }


@pytest.mark.parametrize(
    ("at_work", "looks_every_ms"),
    [(CAP - 1, 0), (CAP, 2500)],
    ids=["a server that notices nothing is asked", "a server that watches its clients is given the time it needs"],
)
def test_statements_of_a_killed_pooler_are_stopped_and_postgresql_never_counts_more_than_the_cap(
    tmp_path: Path, postgres_server: PostgresServer, at_work: int, looks_every_ms: int
) -> None:
    url = f"{postgres_server.url}?options=-c%20client_connection_check_interval%3D{looks_every_ms}"
    config = naps("postgres", url, "SELECT pg_sleep(:seconds)")
    with psycopg.connect(postgres_server.admin_url, autocommit=True, row_factory=scalar_row) as admin:
        counting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'legacy'"
        sampler = Sampler(lambda: int(admin.execute(counting).fetchone() or 0))
        left = killed_at_work(tmp_path, config, postgres_server.sleeping, at_work)
        with left, sampler.running(), Pooler(tmp_path, config) as pooler:
            loop.run(heal(pooler, postgres_server.sleeping, tmp_path))

    assert sampler.peak == CAP
    assert sampler.samples > 100
    assert slot_files(tmp_path) == []
    eventually(0, postgres_server.connections)


@pytest.mark.promise(4)
def test_statements_of_a_killed_pooler_are_stopped_and_mariadb_never_counts_more_than_the_cap(
    tmp_path: Path, mariadb_server: MariadbServer
) -> None:
    config = naps("sqlalchemy", mariadb_server.url, "SELECT sleep(:seconds)", cap=CAP + 1)  # one is the reserve
    with mariadb_server.administrator() as admin, admin.cursor() as cursor:

        def count() -> int:
            cursor.execute("SELECT count(*) FROM information_schema.processlist WHERE user = 'legacy'")
            return int((cursor.fetchone() or [0])[0])

        sampler = Sampler(count)
        left = killed_at_work(tmp_path, config, mariadb_server.sleeping)
        with left, sampler.running(), Pooler(tmp_path, config) as pooler:
            loop.run(heal(pooler, mariadb_server.sleeping, tmp_path))

    assert CAP < sampler.peak <= CAP + 1
    assert sampler.samples > 100
    assert slot_files(tmp_path) == []
    eventually(0, mariadb_server.connections)
