"""What the machine and PostgreSQL say of whoever is measured: CPU, memory, and connections, looked at all the while."""

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

LOOK_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK")

LISTED = "SELECT usename, pid FROM pg_stat_activity WHERE backend_type = 'client backend'"


def cpu_seconds(pid: int) -> float:
    """CPU of a process so far, its threads included; none when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int) -> float:
    """Memory that would come back if the process ended."""
    return float(psutil.Process(pid).memory_full_info().uss) / (1 << 20)


class Observer:
    """Sees PostgreSQL over one connection of its superuser's, which no role's connections can crowd out."""

    def __init__(self, admin_url: str) -> None:
        self.peak: Counter[str] = Counter()
        """The most connections that each role was seen with."""
        self._used: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._connection = psycopg.connect(admin_url, autocommit=True)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    @contextmanager
    def looking(self) -> Iterator["Observer"]:
        """For as long as the block lasts."""
        with self._connection:
            self._thread.start()
            try:
                yield self
            finally:
                self._over.set()
                self._thread.join()

    def cpu_seconds(self, role: str) -> float:
        """CPU of all processes that have served a role so far; of one that has ended, what was seen of it."""
        self._look()
        return sum(self._used[role].values())

    def _look_on(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        listed = [(role, pid) for role, pid in self._connection.execute(LISTED).fetchall() if role is not None]
        for role, count in Counter(role for role, _ in listed).items():
            self.peak[role] = max(self.peak[role], count)
        for role, pid in listed:
            self._used[role][pid] = cpu_seconds(pid) or self._used[role].get(pid, 0.0)


class Meter:
    """CPU of programs and of a role's PostgreSQL processes, since it was made."""

    def __init__(self, programs: Mapping[str, int], role: str, observer: Observer) -> None:
        self._programs, self._role, self._observer = programs, role, observer
        self._before = self._read()

    def seconds(self) -> dict[str, float]:
        """CPU seconds by name."""
        return {name: used - self._before[name] for name, used in self._read().items()}

    def _read(self) -> dict[str, float]:
        used = {name: cpu_seconds(pid) for name, pid in self._programs.items()}
        return {**used, "PostgreSQL": self._observer.cpu_seconds(self._role)}
