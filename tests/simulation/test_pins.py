"""Callers who keep one connection while they use it: theirs alone, in order, and nobody waits for it without need."""

import asyncio
import random
from collections import Counter as Tally
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from pooler.errors import Fault, Reason
from tests.simulation import virtual
from tests.simulation.counter import Counter
from tests.simulation.rig import Call, finished, until


def rig_of(cap: int, idle_seconds: float = 5.0, **more: Any) -> Counter:
    return Counter({"cap": cap, **more.pop("rules", {})}, pin_idle_seconds=idle_seconds, **more)


def numbers(*calls: Call) -> list[int]:
    """The sessions of the system that have worked for these calls."""
    return [session.number for call in calls for _, session in call.executed]


def test_what_a_caller_leaves_is_there_for_his_next_call_and_for_nobody_elses():
    async def scene() -> None:
        rig = rig_of(2)
        await rig.do("leave_trace", value=7)
        assert (await rig.do("see_trace"))["result"] == 7
        # There is room for another one to be started, so hers is not taken from her.
        assert (await rig.do("see_trace", principal="bob"))["result"] is None
        await asyncio.sleep(4.9)
        assert (await rig.do("see_trace"))["result"] == 7
        await asyncio.sleep(5.1)
        assert (await rig.do("see_trace"))["result"] is None
        assert rig.violations == []

    virtual.run(scene())


def test_a_callers_calls_run_on_one_connection_one_at_a_time_and_in_order():
    async def scene() -> None:
        rig = rig_of(3, start_seconds=2)
        calls = [rig.ask("work", seconds=1) for _ in range(5)]
        others = [rig.ask("work", seconds=1, principal="bob") for _ in range(2)]
        outcomes = await finished([*calls, *others])
        assert len(set(numbers(*calls))) == len(set(numbers(*others))) == 1
        assert set(numbers(*calls)) != set(numbers(*others))
        begun = [at for call in calls for at, _ in call.executed]
        assert begun == sorted(begun)
        assert [later - earlier for earlier, later in pairwise(begun)] == pytest.approx([1] * 4)
        first, second = outcomes[0].timing, outcomes[1].timing
        assert (first.start, first.queue) == pytest.approx((2, 0))
        assert (second.start, second.queue) == pytest.approx((0, 3))

    virtual.run(scene())


@pytest.mark.promise(29)
def test_an_idle_pin_is_given_back_as_soon_as_somebody_else_waits_the_one_that_idled_longest_first():
    async def scene() -> None:
        rig = rig_of(2, idle_seconds=60)
        for principal in ("ann", "bob"):
            await rig.do("leave_trace", principal=principal, value=1)
            await asyncio.sleep(1)
        began = rig.now
        await rig.do("work", principal="cy", seconds=0.5)
        assert rig.now - began == pytest.approx(0.5)
        assert (await rig.do("see_trace", principal="bob"))["result"] == 1
        assert (await rig.do("see_trace", principal="ann"))["result"] is None
        assert rig.system.peak == 2

    virtual.run(scene())


@pytest.mark.promise(29)
def test_a_pin_idles_for_nobody_who_cannot_get_a_connection_of_his_own_after_all():
    async def scene() -> None:
        rig = rig_of(2, idle_seconds=600, limit=1, start_seconds=0.2)
        await rig.do("work")
        began = rig.now
        await rig.do("work", principal="bob")
        assert rig.now - began < 2
        assert rig.system.peak == 1

    virtual.run(scene())


def test_a_busy_caller_lets_others_by_after_his_time():
    async def scene() -> None:
        rig = rig_of(1, idle_seconds=5)
        greedy = [rig.ask("work", seconds=1) for _ in range(20)]
        await until(lambda: rig.busy() == 1)
        modest = rig.ask("work", principal="bob", seconds=1)
        began = rig.now
        await finished([modest])
        assert rig.now - began < 8
        await finished(greedy)
        begun = [at for call in greedy for at, _ in call.executed]
        assert begun == sorted(begun)
        assert rig.violations == []

    virtual.run(scene())


def test_a_waiting_session_is_served_before_a_connection_idles_for_its_pin():
    async def scene() -> None:
        rig = rig_of(1, idle_seconds=60)
        await rig.do("leave_trace", value=1)
        began = rig.now
        session = await rig.begin(principal="bob")
        assert rig.now == began
        await rig.do("put", session, principal="bob", value=3)
        assert await rig.do("legacy_commit", session, principal="bob") == {"committed": True}

    virtual.run(scene())


def test_each_call_of_a_pin_has_its_own_patience_and_no_other_one_waits_less_for_it():
    async def scene() -> None:
        rig = rig_of(1, idle_seconds=60)
        hog = rig.ask("work", principal="bob", seconds=8)
        await until(lambda: rig.busy() == 1)
        hasty, patient = rig.ask("work", patience=1.0), rig.ask("work", patience=60.0, seconds=1)
        (late, _) = await finished([hasty, patient])
        assert isinstance(late.result, Fault)
        assert (late.result.reason, late.timing.queue) == (Reason.QUEUE_TIMEOUT, pytest.approx(1.0))
        assert patient.answered
        assert hog.answered

    virtual.run(scene())


def test_whoever_leaves_before_his_connection_came_has_it_started_for_nobody():
    async def scene() -> None:
        rig = rig_of(1, start_seconds=5)
        call = rig.ask("work")
        await asyncio.sleep(1)
        rig.leave(call)
        await finished([call])
        assert call.reason is Reason.CANCELLED
        assert len(rig.driver.pool.queue) == 0
        assert not call.executed

    virtual.run(scene())


def test_a_call_whose_connection_had_died_unnoticed_runs_on_another_one_and_a_begun_write_is_never_repeated():
    async def scene() -> None:
        rig = rig_of(1, idle_seconds=60)
        await rig.do("work")
        rig.system.kill(rig.system.sessions[0])
        await rig.do("work")
        write = rig.ask("write", seconds=10)
        await until(lambda: rig.busy() == 1)
        rig.system.kill(rig.system.sessions[0])
        await finished([write])
        assert (write.reason, len(write.executed)) == (Reason.OUTCOME_UNKNOWN, 1)
        assert rig.violations == []

    virtual.run(scene())


def test_what_waits_behind_a_call_that_was_killed_is_done_all_the_same():
    async def scene() -> None:
        rig = rig_of(1)
        first, second = rig.ask("work", seconds=100), rig.ask("work", seconds=1)
        await until(lambda: rig.busy() == 1)
        assert rig.kill(first) == 1
        await finished([first, second])
        assert (first.reason, second.answered) == (Reason.KILLED, True)

    virtual.run(scene())


@pytest.mark.promise(33)
def test_a_paused_backend_serves_no_pinned_caller_either():
    async def scene() -> None:
        rig = rig_of(1, idle_seconds=60)
        await rig.do("work")
        at_work = rig.ask("work", seconds=2)
        behind = rig.ask("work", seconds=1)
        await until(lambda: rig.busy() == 1)
        rig.orders.pause()
        await finished([at_work])
        await asyncio.sleep(10)
        assert not behind.outcomes
        later = rig.ask("work")
        rig.orders.resume()
        await finished([behind, later])
        assert behind.answered
        assert later.answered

    virtual.run(scene())


@pytest.mark.promise(34)
def test_after_the_backend_has_moved_no_pin_keeps_its_old_connection():
    async def scene() -> None:
        rig = rig_of(2, idle_seconds=60)
        await rig.do("work")
        first, second = rig.ask("work", seconds=2), rig.ask("work", seconds=1)
        await until(lambda: rig.busy() == 1)
        rig.retire()
        await finished([first, second])
        assert numbers(first) != numbers(second)
        assert rig.violations == []

    virtual.run(scene())


def test_a_connection_that_serves_only_so_many_calls_serves_a_pin_still():
    async def scene() -> None:
        rig = rig_of(1, rules={"max_uses": 1})
        calls = [rig.ask("work", seconds=0.1) for _ in range(5)]
        await finished(calls)
        assert all(call.answered for call in calls)

    virtual.run(scene())


@pytest.mark.promise(23)
def test_what_waits_behind_pinned_callers_is_bounded_like_the_queue():
    async def scene() -> None:
        rig = rig_of(1, rules={"queue_max": 3})
        calls = [rig.ask("work", seconds=1) for _ in range(6)]
        await finished(calls)
        assert Tally(call.outcomes[0].result.__class__ for call in calls)[Fault] >= 1
        refused = [call for call in calls if not call.answered]
        assert {call.reason for call in refused} == {Reason.QUEUE_FULL}
        assert all("retry_after_ms" in call.fault.metadata for call in refused)

    virtual.run(scene())


@pytest.mark.promise(31)
def test_a_drain_does_not_wait_for_pins_that_idle():
    async def scene() -> None:
        rig = rig_of(3, idle_seconds=600)
        await rig.do("work")
        busy = rig.ask("work", principal="bob", seconds=2)
        await until(lambda: rig.busy() == 1)
        began = rig.now
        rig.desks.drain()
        await rig.driver.drain(30)
        assert busy.answered
        assert rig.now - began < 3
        assert rig.system.sessions == []

    virtual.run(scene())


@pytest.mark.promise(1, 5)
@pytest.mark.parametrize("seed", range(6))
def test_whoever_comes_and_leaves_a_pinned_backend_no_slot_is_lost_and_order_is_kept(seed):
    async def scene() -> None:
        rig = rig_of(3, idle_seconds=1.0, seed=seed, start_seconds=0.5, dying_seconds=0.3, spread=0.5)
        chance, mine = random.Random(seed), defaultdict[str, list[Call]](list)
        for _ in range(300):
            principal = chance.choice("abcdefgh")
            call = rig.ask(
                chance.choice(["work", "work", "write", "leave_trace", "wrong"]),
                principal=principal,
                seconds=chance.expovariate(5),
                timeout=chance.choice([0.3, 10.0]),
                patience=chance.choice([0.5, 30.0]),
            )
            mine[principal].append(call)
            await asyncio.sleep(chance.expovariate(8))
            if chance.random() < 0.2:
                rig.leave(chance.choice(mine[principal]))
            if chance.random() < 0.02 and rig.system.sessions:
                rig.system.kill(chance.choice(rig.system.sessions))
            if chance.random() < 0.02:
                rig.orders.retire()
        await finished(rig.calls)
        for calls in mine.values():
            begun = [call.executed[0][0] for call in calls if call.executed and not call.turn.retried]
            assert begun == sorted(begun)
        assert rig.system.peak <= 3
        await asyncio.sleep(10)
        everybody = [rig.submit(30.0) for _ in range(3)]
        await until(lambda: rig.busy() == 3)
        await finished(everybody)
        assert rig.violations == []

    virtual.run(scene())
