"""A pooler at one moment, as an administrator asks for it, once or again and again. Reads; it changes nothing.

Lists are bounded and say how many there are, so that an answer stays small whatever waits. What is taken twice for the
same moment is equal when nothing has happened in between: that is how a watch knows.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from heapq import nsmallest
from typing import NamedTuple

from pooler.clock import Clock
from pooler.config.faults import nearest
from pooler.errors import Fault, Reason
from pooler.runtime import orders
from pooler.runtime.desks import Desks
from pooler.runtime.driver import Driver
from pooler.runtime.record import Record
from pooler.runtime.reuse.room import Answers
from pooler.runtime.runs import Runs
from pooler.service import admin_views as views
from pooler.service.admin_views import Moment
from protos.penstock.v1 import admin_pb2 as pb

PARTS = frozenset(part for part in pb.SnapshotPart.values() if part)
ENTRIES_USUALLY, ENTRIES_MAX = 100, 1000
"""How many entries a list has, when nothing is said and at most."""
INTERVAL_MS_USUALLY, INTERVAL_MS_MIN, INTERVAL_MS_MAX = 1000, 100, 60_000
QUIET_SECONDS = 5.0
"""After so long without a change a watcher is sent the same again: ages go on, and he sees that the pooler lives."""
WATCHERS_MAX = 100
NAME_TOLD = 200
"""How much of a name that nobody knows is repeated, in characters."""
STILL = Moment(0.0, 0.0)
"""A moment for comparing."""


class Selection(NamedTuple):
    """What somebody wants to see. `backends`: none means all; `limit`: entries of each list."""

    parts: frozenset[int]
    backends: frozenset[str]
    limit: int

    @classmethod
    def of(cls, request: pb.GetSnapshotRequest | pb.WatchSnapshotsRequest) -> "Selection":
        """As a request says it."""
        return cls(frozenset(request.parts) or PARTS, frozenset(request.backends), entries(request.limit))


def entries(limit: int) -> int:
    """How many entries a limit on the wire means."""
    return min(limit or ENTRIES_USUALLY, ENTRIES_MAX)


class Snapshots:
    """`drivers`: the app's own mapping, so that a reload shows. `pooler`: what it calls itself in tags.

    `wall`: Unix time, which is only told.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        pooler: str,
        answers: Answers,
        record: Record,
        stopping: Callable[[], bool],
        wall: Clock,
    ) -> None:
        self._drivers = drivers
        self._answers = answers
        self._record = record
        self._pooler = pooler
        self._stopping = stopping
        self._wall = wall
        self._desks: Desks | None = None
        self._runs: Runs | None = None
        self._watchers = 0

    def join(self, desks: Desks, runs: Runs) -> None:
        """Where sessions and runs are, from when there are any."""
        self._desks, self._runs = desks, runs

    def driver(self, name: str) -> Driver:
        """A backend's. Raises Fault where there is none."""
        if (driver := self._drivers.get(name)) is not None:
            return driver
        told = name[:NAME_TOLD]
        raise Fault(Reason.BACKEND_NOT_FOUND, f"There is no backend {told!r}; {nearest(told, self._drivers)}")

    def take(self, wanted: Selection) -> pb.Snapshot:
        """Everything that was asked for, now. Raises Fault where a backend is not there."""
        for name in sorted(wanted.backends):
            self.driver(name)
        return self._at(wanted, None)

    async def follow(self, wanted: Selection, interval_ms: int) -> AsyncIterator[pb.Snapshot]:
        """One at once, then one each interval in which something has changed. Raises Fault like `take`."""
        if self._watchers >= WATCHERS_MAX:
            sentence = f"{WATCHERS_MAX} watch already, as many as may. End some, or ask again and again."
            raise Fault(Reason.TOO_MANY_CALLS, sentence, {"retry_after_ms": "5000"})
        seconds = min(max(interval_ms or INTERVAL_MS_USUALLY, INTERVAL_MS_MIN), INTERVAL_MS_MAX) / 1000
        self._watchers += 1
        try:
            yield self.take(wanted)
            seen, quiet, quiet_max = self._picture(wanted), 0, max(1, round(QUIET_SECONDS / seconds))
            while True:
                await asyncio.sleep(seconds)
                quiet += 1
                picture = self._picture(wanted)
                if picture != seen or quiet >= quiet_max:
                    yield self._at(wanted, None)
                    seen, quiet = picture, 0
        finally:
            self._watchers -= 1

    def _picture(self, wanted: Selection) -> bytes:
        return self._at(wanted, STILL).SerializeToString(deterministic=True)

    def _at(self, wanted: Selection, moment: Moment | None) -> pb.Snapshot:
        """`moment`: None is now."""
        wall = self._wall()
        drivers = [
            driver for name, driver in sorted(self._drivers.items()) if not wanted.backends or name in wanted.backends
        ]
        snapshot = pb.Snapshot(
            pooler=self._pooler,
            taken_at_ms=0 if moment else views.milliseconds(wall),
            stopping=self._stopping(),
            backends=[_backend(driver, self._pooler, wanted, moment or Moment(driver.now, wall)) for driver in drivers],
        )
        if pb.SNAPSHOT_PART_SESSIONS in wanted.parts and self._desks is not None:
            self._add_sessions(snapshot, wanted, moment)
        if pb.SNAPSHOT_PART_RUNS in wanted.parts and self._runs is not None:
            self._add_runs(snapshot, wanted, moment or Moment(0.0, wall))
        if pb.SNAPSHOT_PART_CACHE in wanted.parts:
            snapshot.cache.CopyFrom(views.cache(self._answers, wanted.backends))
        if pb.SNAPSHOT_PART_CHANGES in wanted.parts:
            found, snapshot.changes_total = self._record.latest(wanted.limit, wanted.backends)
            snapshot.changes.extend(views.change(entry) for entry in found)
        return snapshot

    def _add_sessions(self, snapshot: pb.Snapshot, wanted: Selection, moment: Moment | None) -> None:
        assert self._desks is not None
        held = [hold for hold in self._desks.holds() if not wanted.backends or hold.driver.name in wanted.backends]
        oldest = nsmallest(wanted.limit, held, key=lambda hold: hold.turn.asked_at)
        snapshot.sessions.extend(views.held(hold, moment or Moment(hold.driver.now, 0.0)) for hold in oldest)
        snapshot.sessions_total = len(held)

    def _add_runs(self, snapshot: pb.Snapshot, wanted: Selection, moment: Moment) -> None:
        assert self._runs is not None
        found = list(self._runs)
        first = nsmallest(wanted.limit, found, key=views.run_order)
        snapshot.runs.extend(views.run(each, moment) for each in first)
        snapshot.runs_total = len(found)
        snapshot.runs_under_way = sum(not each.ended for each in found)


def _backend(driver: Driver, pooler: str, wanted: Selection, moment: Moment) -> pb.BackendSnapshot:
    shown = pb.BackendSnapshot(backend=views.backend(driver, moment))
    if pb.SNAPSHOT_PART_CONNECTIONS in wanted.parts:
        slots = driver.pool.ledger.slots
        first = nsmallest(wanted.limit, slots.values(), key=views.slot_order)
        shown.connections.extend(views.connection(driver, slot, pooler, moment) for slot in first)
        shown.connections_total = len(slots)
    if pb.SNAPSHOT_PART_QUEUE in wanted.parts:
        tenants = views.tenants(driver, moment)
        shown.tenants.extend(nsmallest(wanted.limit, tenants, key=lambda each: (-each.waiting, each.tenant)))
        shown.tenants_total = len(tenants)
        everybody = list(orders.waiting(driver.pool))
        longest = nsmallest(wanted.limit, everybody, key=lambda turn: turn.asked_at)
        shown.waiting.extend(views.call(turn, moment) for turn in longest)
        shown.waiting_total = len(everybody)
    return shown
