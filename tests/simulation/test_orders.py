"""What an administrator orders, as those see it who wait, those who work, and the backend."""

import asyncio

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
        rig.orders.pause()
        waiting = [rig.submit(1, patience=7200) for _ in range(10)]
        await finished(running)
        await asyncio.sleep(3600)
        assert all(call.answered for call in running)
        assert [call.outcomes for call in waiting] == [[]] * 10
        assert rig.busy() == 0
        rig.orders.resume()
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
        rig.kill(killed_in_the_queue)
        await finished([waiting_for_long])
        rig.kill(killed_at_work)
        await until(lambda: rig.busy() == 0)
        rig.orders.pause()
        paused = rig.submit(patience=9)
        await finished([paused])
        rig.orders.drain()
        drained = rig.submit()
        await finished(rig.calls)
        heard = [killed_at_work, killed_in_the_queue, waiting_for_long, paused, drained]
        reasons = [Reason.KILLED, Reason.KILLED, Reason.QUEUE_TIMEOUT, Reason.PAUSED, Reason.DRAINING]
        assert [call.reason for call in heard] == reasons
        assert len({call.fault.message for call in heard}) == len(heard)
        assert paused.delivered_at == pytest.approx(paused.turn.asked_at + 9)
        assert [call.executed for call in heard[1:]] == [[]] * 4

    virtual.run(scene())


@pytest.mark.promise(2)
def test_a_cap_set_by_order_is_kept_on_its_way_down_and_used_on_its_way_up():
    async def scene() -> None:
        rig = Rig({"cap": 4, "parallel_starts": 6}, start_seconds=1, dying_seconds=3)
        calls = [rig.submit(2) for _ in range(60)]
        await until(lambda: rig.busy() == 4)
        assert rig.orders.set_cap(2) == 4
        arrived = rig.system.logins_total
        await until(lambda: rig.system.counts().total == 2, 10)
        assert rig.system.logins_total == arrived
        assert rig.orders.set_cap(6) == 2
        await until(lambda: rig.busy() == 6, 10)
        await finished(calls)
        assert all(call.answered for call in calls)
        assert rig.system.peak == 6
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(2)
def test_a_smaller_cap_gives_up_what_was_starting_and_closes_what_idles_at_once():
    async def scene() -> None:
        rig = Rig({"cap": 4, "warm": 2, "parallel_starts": 4}, start_seconds=5)
        rig.driver.run()
        await until(lambda: rig.system.counts().open == 2)
        calls = [rig.submit(30) for _ in range(4)]
        await until(lambda: rig.system.counts().starting == 2)
        rig.orders.set_cap(1)
        await until(lambda: rig.system.counts().starting == 0, 1)
        await until(lambda: rig.system.counts().total == 1, 60)
        await finished(calls)
        assert rig.system.logins_total == 4
        assert rig.violations == []

    virtual.run(scene())


def test_a_cap_that_comes_back_brings_the_warm_connections_back():
    async def scene() -> None:
        rig = Rig({"cap": 3, "warm": 3})
        rig.driver.run()
        await until(lambda: rig.system.counts().open == 3)
        rig.orders.set_cap(1)
        await until(lambda: rig.system.counts().total == 1)
        rig.orders.set_cap(5)
        await until(lambda: rig.system.counts().open == 3)

    virtual.run(scene())


@pytest.mark.promise(34)
def test_after_a_retire_everybody_is_served_by_new_connections_and_no_call_fails_of_it():
    async def scene() -> None:
        rig = Rig({"cap": 4, "parallel_starts": 4}, start_seconds=1, dying_seconds=2)
        await finished([rig.submit(3)])
        calls = [rig.submit(3) for _ in range(20)]
        await until(lambda: rig.system.counts().starting == 3)
        rig.retire()
        old = {session.number for session in rig.system.sessions}
        await finished(calls)
        assert all(call.answered for call in calls)
        at_work = [call for call in calls if call.turn.granted_at <= rig.moved_at]
        served_by = {session.number for call in calls if call not in at_work for _, session in call.executed}
        assert len(at_work) == 1
        assert not old & served_by
        assert rig.system.peak == 4
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(33)
def test_a_drained_backend_serves_who_waits_refuses_who_comes_and_closes_everything_until_a_resume():
    async def scene() -> None:
        rig = Rig({"cap": 2, "warm": 1})
        rig.driver.run()
        calls = [rig.submit(2) for _ in range(6)]
        await until(lambda: rig.busy() == 2)
        rig.orders.drain()
        refused = rig.submit()
        await finished([*calls, refused])
        assert all(call.answered for call in calls)
        assert refused.reason is Reason.DRAINING
        await until(lambda: rig.system.counts().total == 0)
        logins = rig.system.logins_total
        await asyncio.sleep(60)
        assert rig.system.logins_total == logins
        rig.orders.resume()
        await finished([rig.submit()])
        assert rig.calls[-1].answered

    virtual.run(scene())


@pytest.mark.promise(31)
def test_a_backend_that_was_drained_once_and_resumed_is_drained_to_the_last_connection_when_it_ends():
    async def scene() -> None:
        rig = Rig({"cap": 2})
        rig.orders.drain()
        rig.orders.resume()
        call = rig.submit(5)
        await until(lambda: rig.busy() == 1)
        await rig.driver.drain(60)
        await finished([call])
        assert call.answered
        assert rig.system.counts().total == 0

    virtual.run(scene())


@pytest.mark.promise(33)
def test_a_killed_call_leaves_its_connection_and_everybody_else_undisturbed():
    async def scene() -> None:
        rig = Rig({"cap": 2})
        victim, beside = rig.submit(50), rig.submit(50)
        await until(lambda: rig.busy() == 2)
        waiting = [rig.submit(1) for _ in range(4)]
        assert rig.kill(victim) == 1
        assert rig.kill(waiting[1]) == 1
        await finished([victim, waiting[1]], 0.1)
        await finished(waiting)
        assert [call.reason for call in (victim, waiting[1])] == [Reason.KILLED] * 2
        await finished([beside])
        assert all(call.answered for call in (beside, waiting[0], *waiting[2:]))
        assert waiting[1].executed == []
        assert rig.system.logins_total == 2
        assert rig.violations == []

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
            rig.kill_connection(victim.turn.slot)
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
