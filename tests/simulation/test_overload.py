"""More calls than the backend can do: what of its capacity still reaches somebody in time, and what comes after."""

import asyncio

import pytest

from tests.simulation import virtual
from tests.simulation.load import about, come, quantile, took
from tests.simulation.rig import Call, Rig, finished

CAP = 4
WORK_SECONDS = 0.25
CAPACITY = CAP / WORK_SECONDS
"""Calls a second."""
PATIENCE_SECONDS = 1.5
LASTS_SECONDS = 60.0
RECOVERY_SECONDS = 3.0


def good(calls: list[Call]) -> int:
    """How many were answered, which is always before their deadline: after it there is nobody to answer."""
    return sum(call.answered for call in calls)


@pytest.mark.promise(24)
@pytest.mark.parametrize("queue_max", [20, 1000])
@pytest.mark.parametrize("offered", [1.5, 3.0, 10.0])
def test_under_overload_nine_tenths_of_the_capacity_still_answer_in_time(offered, queue_max):
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP, "queue_max": queue_max})
        calls = await come(rig, offered * CAPACITY, LASTS_SECONDS, about(WORK_SECONDS), deadline=PATIENCE_SECONDS)
        await finished(calls)
        assert good(calls) >= 0.9 * CAPACITY * LASTS_SECONDS
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(24)
def test_three_seconds_after_an_overload_every_call_is_served_as_if_there_had_been_none():
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP})
        await come(rig, 10 * CAPACITY, 20, about(WORK_SECONDS), deadline=PATIENCE_SECONDS)
        await come(rig, 0.5 * CAPACITY, RECOVERY_SECONDS, about(WORK_SECONDS), deadline=PATIENCE_SECONDS)
        after = await come(rig, 0.5 * CAPACITY, 60, about(WORK_SECONDS), deadline=PATIENCE_SECONDS)
        await finished(after)
        assert good(after) == len(after)
        assert quantile(took(after), 0.99) <= 3 * WORK_SECONDS

    virtual.run(scene())


@pytest.mark.promise(24)
def test_a_backend_that_becomes_ten_times_slower_for_a_while_is_believed_again_when_it_is_quick():
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP})
        calls = asyncio.ensure_future(come(rig, CAPACITY, 90, about(WORK_SECONDS), deadline=PATIENCE_SECONDS))
        await asyncio.sleep(30)
        rig.system.behave(work_seconds=10 * WORK_SECONDS)
        await asyncio.sleep(30)
        rig.system.behave(work_seconds=0.0)
        quick_again = rig.now
        await finished(await calls)
        after = [call for call in rig.calls if call.turn.asked_at >= quick_again + RECOVERY_SECONDS]
        assert good(after) >= 0.9 * len(after)

    virtual.run(scene())


@pytest.mark.promise(23)
def test_the_queue_never_holds_more_than_it_may_and_the_refused_hear_when_to_come_again():
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP, "queue_max": 10})
        calls = [rig.submit(WORK_SECONDS) for _ in range(CAP + 10 + 25)]
        await finished(calls)
        refused = [call for call in calls if not call.answered]
        assert len(rig.driver.pool.queue) == 0
        assert {call.delivered_at for call in refused} == {virtual.STARTED_AT}
        assert all(int(call.fault.metadata["retry_after_ms"]) > 0 for call in refused)

    virtual.run(scene())
