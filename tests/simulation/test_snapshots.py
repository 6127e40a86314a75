"""What watchers are sent, under virtual time: a change within an interval, the passing of time never as one."""

import asyncio

import pytest

from pooler.errors import Fault, Reason
from pooler.runtime.record import Actor, Change, Record
from pooler.runtime.reuse.room import Answers
from pooler.service.snapshots import PARTS, QUIET_SECONDS, WATCHERS_MAX, Selection, Snapshots
from protos.penstock.v1 import admin_pb2 as pb
from tests.simulation import virtual
from tests.simulation.rig import Rig, until

EVERYTHING = Selection(PARTS, frozenset(), 100)


class NoFile(Record):
    """A record that is kept in memory: a virtual loop waits for no disk."""

    def _write(self, line: bytes) -> None:
        pass


@pytest.fixture
def record(tmp_path) -> Record:
    return NoFile(tmp_path, lambda: 0.0)


def before(rig: Rig, record: Record) -> Snapshots:
    return Snapshots({"legacy": rig.driver}, "sim", Answers(1 << 20), record, lambda: False, lambda: rig.now)


class Watcher:
    """Somebody who watches, and when he was sent what."""

    def __init__(self, rig: Rig, seen: Snapshots, interval_ms: int = 100) -> None:
        self.came: list[tuple[float, pb.Snapshot]] = []
        self._begun = rig.now
        self.task = asyncio.ensure_future(self._watch(rig, seen, interval_ms))

    async def _watch(self, rig: Rig, seen: Snapshots, interval_ms: int) -> None:
        async for snapshot in seen.follow(EVERYTHING, interval_ms):
            self.came.append((round(rig.now - self._begun, 3), snapshot))

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.came]


def test_where_nothing_changes_a_watcher_hears_every_few_seconds_however_ages_grow(record: Record) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 1})
        rig.submit(1000)
        rig.submit(1000)
        await until(lambda: rig.busy() == 1)
        watcher = Watcher(rig, before(rig, record))
        await asyncio.sleep(3 * QUIET_SECONDS + 1)
        watcher.task.cancel()
        assert watcher.times == pytest.approx([0, QUIET_SECONDS, 2 * QUIET_SECONDS, 3 * QUIET_SECONDS], abs=0.11)
        ages = [snapshot.backends[0].waiting[0].since_ms for _, snapshot in watcher.came]
        assert ages == pytest.approx([ages[0] + 5000 * number for number in range(4)], abs=120)
        await rig.driver.drain(3)

    virtual.run(scene())


def test_a_change_is_told_in_the_interval_in_which_it_happens(record: Record) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 1})
        watcher = Watcher(rig, before(rig, record), interval_ms=500)
        await asyncio.sleep(2.2)
        rig.orders.pause()
        await asyncio.sleep(1)
        rig.submit(1)
        await asyncio.sleep(1)
        watcher.task.cancel()
        paused = next(at for at, snapshot in watcher.came if snapshot.backends[0].backend.paused)
        queued = next(at for at, snapshot in watcher.came if snapshot.backends[0].waiting_total == 1)
        assert (paused, queued) == (2.5, 3.5)
        await rig.driver.drain(3)

    virtual.run(scene())


def test_lists_are_bounded_and_say_how_many_there_are(record: Record) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 3, "parallel_starts": 3, "queue_max": 5000})
        for number in range(2000):
            rig.submit(1000, tenant=f"tenant-{number % 7}")
        await until(lambda: rig.busy() == 3)
        for after in range(30):
            record.note(Actor("anna", "here"), Change("set_cap", "legacy", "1", str(after)))
        shown = before(rig, record).take(Selection(PARTS, frozenset(), 5))
        (legacy,) = shown.backends
        assert (len(legacy.connections), legacy.connections_total) == (3, 3)
        assert (len(legacy.waiting), legacy.waiting_total) == (5, 1997)
        assert (len(legacy.tenants), legacy.tenants_total) == (5, 7)
        assert (len(shown.changes), shown.changes_total) == (5, 30)
        assert sum(each.at_work for each in before(rig, record).take(EVERYTHING).backends[0].tenants) == 3
        waits = [call.since_ms for call in legacy.waiting]
        assert waits == sorted(waits, reverse=True)
        await rig.driver.drain(3)

    virtual.run(scene())


def test_what_tenants_waited_for_in_vain_is_told_beside_what_they_wait_for(record: Record) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 1, "queue_max": 2})
        for _ in range(5):
            rig.submit(1000, tenant="greedy")
        await until(lambda: rig.busy() == 1)
        await asyncio.sleep(0)
        (tenant,) = before(rig, record).take(EVERYTHING).backends[0].tenants
        assert (tenant.tenant, tenant.weight, tenant.waiting, tenant.at_work, tenant.refused) == ("greedy", 1, 1, 1, 3)
        await rig.driver.drain(3)

    virtual.run(scene())


def test_a_part_that_nobody_asked_for_is_not_told(record: Record) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 1})
        rig.submit(1000)
        rig.submit(1000)
        await until(lambda: rig.busy() == 1)
        alone = before(rig, record).take(Selection(frozenset({pb.SNAPSHOT_PART_UNSPECIFIED}), frozenset(), 100))
        (legacy,) = alone.backends
        assert legacy.backend.queued == 1
        assert [len(part) for part in (legacy.connections, legacy.waiting, legacy.tenants)] == [0, 0, 0]
        await rig.driver.drain(3)

    virtual.run(scene())


def test_so_many_may_watch_and_no_more_and_whoever_leaves_makes_room(record: Record) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 1})
        seen = before(rig, record)
        watchers = [Watcher(rig, seen) for _ in range(WATCHERS_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Fault, match="100 watch already") as caught:
            await anext(aiter(seen.follow(EVERYTHING, 0)))
        assert caught.value.reason is Reason.TOO_MANY_CALLS
        for watcher in watchers:
            watcher.task.cancel()
        await asyncio.gather(*(watcher.task for watcher in watchers), return_exceptions=True)
        assert (await anext(aiter(seen.follow(EVERYTHING, 0)))).pooler == "sim"
        await rig.driver.drain(3)

    virtual.run(scene())


def test_a_backend_that_is_not_there_is_not_found(record: Record) -> None:
    async def scene() -> None:
        with pytest.raises(Fault, match="There is no backend 'legasy'; did you mean 'legacy'") as caught:
            before(Rig(), record).take(Selection(PARTS, frozenset({"legasy"}), 1))
        assert caught.value.reason is Reason.BACKEND_NOT_FOUND

    virtual.run(scene())
