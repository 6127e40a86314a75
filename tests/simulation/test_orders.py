"""What an administrator orders, as those see it who wait, those who work, and the backend."""

import asyncio
from functools import partial

import pytest

from pooler.errors import Reason
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.rig import Call, Rig, finished, until


def served_in_order(calls: list[Call]) -> bool:
    granted = [call.turn.granted_at for call in calls]
    return granted == sorted(granted)


@pytest.mark.promise(33)
def test_a_pause_lets_work_end_and_holds_those_who_wait_until_a_resume_serves_them_in_order():
    async def scene() -> None:
        rig = Rig({"cap": 2, "warm": 2})
        running = [rig.submit(5) for _ in range(2)]
        await until(lambda: rig.busy() == 2)
        rig.driver.pool.pause()
        waiting = [rig.submit(1, patience=7200) for _ in range(10)]
        await finished(running)
        await asyncio.sleep(3600)
        assert all(call.answered for call in running)
        assert [call.outcomes for call in waiting] == [[]] * 10
        assert rig.busy() == 0
        rig.order(rig.driver.pool.resume)
        await finished(waiting)
        assert all(call.answered for call in waiting)
        assert served_in_order(waiting)
        assert rig.now - virtual.STARTED_AT == pytest.approx(3600 + 5 + 5, abs=0.1)

    virtual.run(scene())


@pytest.mark.promise(33)
def test_who_is_paused_killed_drained_or_too_late_hears_a_different_thing_each_and_none_before_its_time():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        killed_at_work = rig.submit(100)
        await until(lambda: rig.busy() == 1)
        waiting_for_long, killed_in_the_queue = rig.submit(patience=7), rig.submit()
        rig.order(partial(rig.driver.pool.kill, killed_in_the_queue.turn))
        await finished([waiting_for_long])
        rig.order(partial(rig.driver.pool.kill, killed_at_work.turn))
        await until(lambda: rig.busy() == 0)
        rig.driver.pool.pause()
        paused = rig.submit(patience=9)
        await finished([paused])
        await rig.driver.drain(10)
        drained = rig.submit()
        await finished(rig.calls)
        heard = [killed_at_work, killed_in_the_queue, waiting_for_long, paused, drained]
        reasons = [Reason.KILLED, Reason.KILLED, Reason.QUEUE_TIMEOUT, Reason.PAUSED, Reason.DRAINING]
        assert [call.reason for call in heard] == reasons
        assert len({call.fault.message for call in heard}) == len(heard)
        assert paused.delivered_at == pytest.approx(paused.turn.asked_at + 9)
        assert [call.executed for call in heard[1:]] == [[]] * 4

    virtual.run(scene())


@pytest.mark.promise(4)
def test_what_an_administrator_kills_counts_until_the_backend_has_dropped_it():
    async def scene() -> None:
        rig = Rig({"cap": 3, "parallel_starts": 3}, Bounds(close=100), dying_seconds=20, ignore_cancel=True)
        victims = [rig.submit(60) for _ in range(3)]
        await until(lambda: rig.busy() == 3)
        waiting = [rig.submit(1) for _ in range(6)]
        for victim in victims:
            assert victim.turn.slot is not None
            rig.order(partial(rig.driver.pool.kill_connection, victim.turn.slot))
        await finished([*victims, *waiting])
        assert [call.reason for call in victims] == [Reason.KILLED] * 3
        assert all(call.answered for call in waiting)
        assert rig.system.peak == 3
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(4)
def test_connections_that_are_being_checked_count_like_any_other():
    async def scene() -> None:
        rig = Rig({"cap": 3, "parallel_starts": 3, "validate_after_seconds": 10}, dying_seconds=5)
        await finished([rig.submit(1) for _ in range(3)])
        await asyncio.sleep(20)
        rig.system.behave(hang=frozenset({"validate"}))
        calls = [rig.submit(1) for _ in range(12)]
        await finished(calls)
        assert all(call.answered for call in calls)
        assert rig.system.peak == 3
        assert rig.violations == []

    virtual.run(scene())
