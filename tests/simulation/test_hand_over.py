"""The instant of the hand-over, and what follows a call: where slots get lost, if anywhere."""

import asyncio
import random
import time

import pytest

from pooler.errors import Reason
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.rig import Call, Rig, finished, until
from tests.simulation.test_seeds import life

CANCELS = 100_000
TOGETHER = 12
TICK_SECONDS = 0.001
"""Everything takes whole ticks, so that ends, offers and cancels meet in the same instant again and again."""


class Crowd:
    """Callers of whom each one leaves, at an instant of its own."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.chance = random.Random(seed)
        self.left = 0

    async def come_and_leave(self) -> None:
        """So many at once, again and again, until enough have left."""
        async with asyncio.TaskGroup() as group:
            for _ in range(TOGETHER):
                group.create_task(self._one_after_another())

    async def _one_after_another(self) -> None:
        loop, chance = asyncio.get_running_loop(), self.chance
        while self.left < CANCELS:
            self.left += 1
            call = self.rig.submit(
                TICK_SECONDS * chance.randrange(6), operation=chance.choice(["work", "work", "leave_trace", "write"])
            )
            match chance.randrange(4):
                case 0:
                    self.rig.cancel(call)
                case 1:
                    loop.call_soon(self.rig.cancel, call)
                case 2:
                    loop.call_soon(loop.call_soon, self.rig.cancel, call)
                case _:
                    loop.call_later(TICK_SECONDS * chance.randrange(20), self.rig.cancel, call)
            await call.done


@pytest.mark.promise(5, 6)
def test_a_hundred_thousand_cancels_lose_no_slot_and_none_is_swallowed():
    async def scene() -> None:
        rig = Rig({"cap": 4, "parallel_starts": 4})
        await Crowd(rig, seed=1).come_and_leave()
        assert len(rig.calls) >= CANCELS
        assert rig.violations == []
        assert all(len(call.outcomes) == 1 for call in rig.calls)
        cancelled = [call for call in rig.calls if call.cancelled_at is not None]
        assert len(cancelled) > CANCELS / 2
        assert {call.reason for call in cancelled} == {Reason.CANCELLED}
        assert sum(bool(call.executed) for call in cancelled) > 1000
        everybody = [rig.submit(1000) for _ in range(4)]
        await until(lambda: rig.busy() == 4, 1)
        assert rig.system.logins_total == 4
        for call in everybody:
            rig.cancel(call)
        await until(lambda: rig.busy() == 0, 1)

    virtual.run(scene())


@pytest.mark.promise(7)
def test_a_call_whose_deadline_passes_in_the_instant_of_the_hand_over_begins_no_work():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        await finished([rig.submit()])
        for _ in range(100):
            running = rig.submit(5)
            late = [rig.submit(deadline=seconds) for seconds in (4.999999, 5.0, 5.000001)]
            await finished([running, *late])
            assert [bool(call.executed) for call in late] == [False, False, True]
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(16)
def test_among_silent_connections_a_caller_waits_for_one_check_and_not_for_each():
    async def scene() -> None:
        rig = Rig({"cap": 8, "parallel_starts": 8, "validate_after_seconds": 30}, Bounds(validate=5), start_seconds=1)
        await finished([rig.submit(1) for _ in range(8)])
        await asyncio.sleep(60)
        rig.system.behave(hang=frozenset({"validate", "execute"}))
        caller, began = rig.submit(), rig.now
        asyncio.get_running_loop().call_later(4, rig.system.behave)
        asyncio.get_running_loop().call_later(4, lambda: rig.system.behave(hang=frozenset()))
        await finished([caller])
        assert caller.answered
        assert rig.now - began == pytest.approx(5 + 1)

    virtual.run(scene())


@pytest.mark.promise(30)
def test_the_answer_is_delivered_before_anything_is_cleaned_up():
    async def scene() -> None:
        rig = Rig({"cap": 2}, Bounds(validate=50, close=50), dying_seconds=40)
        rig.system.behave(hang=frozenset({"reset"}))
        dirty = rig.submit(2, operation="leave_trace")
        await finished([dirty])
        assert dirty.outcomes[0].timing.reset == 0
        assert rig.now == dirty.executed[0][0]

    virtual.run(scene())


@pytest.mark.promise(30)
def test_giving_a_connection_back_makes_nobody_wait_for_a_reset_a_close_or_a_start():
    async def scene() -> None:
        rig = Rig({"cap": 3, "parallel_starts": 1}, Bounds(validate=50, close=50, start=500), dying_seconds=40)
        await finished([rig.submit() for _ in range(3)])
        rig.system.behave(hang=frozenset({"reset"}), start_seconds=400)
        soiled, broken = rig.submit(1, operation="leave_trace"), rig.submit(1)
        await finished([soiled, broken])
        for _ in range(20):
            began = rig.now
            await finished([rig.submit(0.5)])
            assert rig.now - began == pytest.approx(0.5)

    virtual.run(scene())


@pytest.mark.promise(36)
def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    def history() -> list[tuple[float | None, int]]:
        calls: list[Call] = virtual.run(life(11)).rig.calls
        return [(call.delivered_at, len(call.executed)) for call in calls]

    before = history()
    real, jumps = time.time, random.Random(0)
    monkeypatch.setattr(time, "time", lambda: real() + jumps.uniform(-7200, 7200))
    assert history() == before
