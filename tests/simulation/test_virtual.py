"""That virtual time behaves as time does, only faster."""

import asyncio

import pytest

from tests.simulation import virtual


def test_a_day_passes_in_less_than_a_moment():
    async def a_day() -> float:
        began = asyncio.get_running_loop().time()
        for _ in range(24):
            await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - began

    assert virtual.run(a_day()) == pytest.approx(86_400)


def test_timers_run_in_the_order_in_which_they_are_due():
    async def scene() -> list[tuple[int, float]]:
        loop = asyncio.get_running_loop()
        ran: list[tuple[int, float]] = []

        def note(seconds: int) -> None:
            ran.append((seconds, loop.time() - virtual.STARTED_AT))

        for seconds in (30, 10, 20):
            loop.call_later(seconds, note, seconds)
        await asyncio.sleep(40)
        return ran

    assert virtual.run(scene()) == [(10, 10), (20, 20), (30, 30)]


def test_waiting_for_what_can_never_come_is_an_error_and_no_hang():
    async def scene() -> None:
        await asyncio.Event().wait()

    with pytest.raises(virtual.DeadlockError):
        virtual.run(scene())


def test_time_outs_are_exact():
    async def scene() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7.25):
                await asyncio.sleep(1000)
        return asyncio.get_running_loop().time() - virtual.STARTED_AT

    assert virtual.run(scene()) == pytest.approx(7.25)
