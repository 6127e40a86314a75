"""Runs that outlive their pooler, under virtual time: what a later process finds in the store, and what it says."""

import asyncio
import random

import pytest

from pooler.clock import Clock
from pooler.errors import Fault, Reason
from pooler.runtime.runs import RunBounds
from pooler.runtime.runs.happenings import Done, unpack
from pooler.runtime.runs.log import FORGOTTEN, LogBounds
from pooler.runtime.runs.state import RunStatus
from pooler.runtime.store.memory import MemoryStore
from tests.simulation import virtual
from tests.simulation.rig import until
from tests.simulation.runs import Ear, Scene


class SlowStore(MemoryStore):
    """Takes its time with every event, as a disk does."""

    def __init__(self, wall: Clock, seconds: float) -> None:
        super().__init__(wall)
        self._seconds = seconds

    async def append(self, key: str, seq: int, event: bytes) -> None:
        await asyncio.sleep(self._seconds)
        await super().append(key, seq, event)


def store(seconds: float = 0.0) -> SlowStore:
    return SlowStore(asyncio.get_running_loop().time, seconds)


def test_a_run_that_has_ended_can_be_read_by_a_later_process_event_by_event() -> None:
    async def scene() -> None:
        kept = store()
        before = Scene(store=kept)
        ear = Ear(await before.start("report", seconds=10, steps=20, GRACE=None, NOTE=b"\x00mine"))
        await ear.end()
        await before.runs.close()
        after = Scene(store=kept)
        found = await after.runs.find(ear.run.id)
        again = Ear(found)
        await again.end()
        assert [event for _, event in again.heard] == [event for _, event in ear.heard]
        was, now = ear.run.state(), found.state()
        assert (now.status, now.note, now.page, now.handle) == (RunStatus.COMPLETED, b"\x00mine", was.page, was.handle)
        assert (now.created_at, now.updated_at) == (was.created_at, was.updated_at)

    virtual.run(scene())


@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_was_under_way_ends_for_a_later_process_with_the_word_that_it_is_lost(seed: int) -> None:
    async def scene() -> None:
        chance = random.Random(seed)
        kept = store(chance.choice([0, 0.01, 0.2]))
        before = Scene({"cap": 1}, store=kept, start_seconds=2)
        ears = [Ear(await before.start("report", seconds=20, steps=50, GRACE=60.0)) for _ in range(3)]
        await asyncio.sleep(chance.uniform(0, 60))
        for ear in ears:
            await ear.leave()
        after = Scene(store=kept)
        for ear in ears:
            found = await after.runs.find(ear.run.id)
            later = Ear(found)
            later.heard = list(ear.heard)
            await later.leave()
            later.listen()
            if ear.done is None:
                await later.end()
            assert later.numbers == list(range(1, len(later.numbers) + 1))
            assert [later.heard[at][1] for at in range(len(ear.heard))] == [event for _, event in ear.heard]
            (done,) = [what for what in later.events if isinstance(what, Done)]
            if found.state().status is RunStatus.FAILED:
                assert done.fault.reason is Reason.HANDLE_LOST
                assert "lost with its pooler" in done.fault.message
            else:
                assert done.fault is None

    virtual.run(scene())


@pytest.mark.parametrize("grace", [5.0, None])
def test_what_may_outlive_its_caller_is_in_the_store_before_anybody_is_told_of_it(grace: float | None) -> None:
    async def scene() -> None:
        kept = store(0.03)
        rig = Scene(store=kept)
        run = await rig.start("report", seconds=10, steps=100, GRACE=grace)
        follower = run.follow()
        async for event in follower:
            assert event.seq in [seq for seq, _ in await kept.read(run.id, 0)]

    virtual.run(scene())


def test_a_run_that_ends_with_its_caller_is_never_stored() -> None:
    async def scene() -> None:
        kept = store()
        rig = Scene(store=kept)
        ear = Ear(await rig.start("work", seconds=1))
        assert await kept.all("run") == []
        await ear.end()
        assert await kept.read(ear.run.id, 0) == []

    virtual.run(scene())


def test_what_the_log_lets_go_the_store_lets_go_too_and_no_number_is_given_twice() -> None:
    async def scene() -> None:
        kept = store()
        rig = Scene(bounds=RunBounds(log=LogBounds(events_max=20)), store=kept)
        run = await rig.start("report", seconds=100, steps=1000, GRACE=None)
        await until(lambda: run.log.done is not None and not run.log.waiting)
        stored = await kept.read(run.id, 0)
        assert [seq for seq, _ in stored] == list(range(1, run.log.last_seq + 1))
        alive = [(seq, unpack(data)) for seq, data in stored if data != FORGOTTEN]
        assert alive == [(event.seq, event.what) for event in run.log.events]
        assert len(alive) == 20

    virtual.run(scene())


def test_a_run_of_a_pooler_that_keeps_nothing_is_lost_with_it_and_one_that_is_over_is_over() -> None:
    async def scene() -> None:
        before = Scene()
        run = await before.start("work", seconds=100, GRACE=None)
        after = Scene()
        assert after.runs.id_of(run.identity.handle, "default", "anonymous") == run.id
        with pytest.raises(Fault) as lost:
            await after.runs.find(run.id)
        assert lost.value.reason is Reason.HANDLE_LOST
        await before.runs.end(run.id)
        with pytest.raises(Fault) as over:
            await before.runs.find(run.id)
        assert over.value.reason is Reason.HANDLE_EXPIRED

    virtual.run(scene())


def test_a_run_that_was_ended_leaves_nothing_in_the_store() -> None:
    async def scene() -> None:
        kept = store(0.1)
        rig = Scene(store=kept)
        run = await rig.start("report", seconds=100, steps=100, GRACE=None)
        await asyncio.sleep(10)
        await rig.runs.end(run.id)
        await until(lambda: rig.busy() == 0)
        await rig.runs.close()
        assert await kept.all("run") == []
        assert repr(kept) == "MemoryStore(0 things, 0 bytes)"

    virtual.run(scene())
