"""Clients that take long to start, fail to start, or cannot be started for hours."""

import asyncio
import random
from collections import Counter
from itertools import pairwise
from math import ceil

import pytest

from pooler.core.starts import PAUSE_MAX_SECONDS
from pooler.core.states import ConnectionState
from pooler.errors import Fault, Reason
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.rig import Call, Rig, finished, until

WAITERS = 1000


@pytest.mark.promise(9)
@pytest.mark.parametrize(
    ("start", "cap", "parallel", "service"),
    [(30.0, 8, 2, 1.0), (30.0, 8, 2, 0.02), (40.0, 5, 5, 2.0), (2.0, 10, 3, 0.5), (300.0, 2, 1, 0.1)],
)
def test_each_of_a_thousand_waiters_is_served_about_as_early_as_the_starts_allow(start, cap, parallel, service):
    async def scene() -> None:
        rig = Rig({"cap": cap, "parallel_starts": parallel}, Bounds(start=1000), start_seconds=start)
        calls = [rig.submit(service, patience=10_000) for _ in range(WAITERS)]
        await finished(calls, 20_000)
        assert all(call.answered for call in calls)
        for place, call in enumerate(calls, start=1):
            bound = start * ceil(cap / parallel) + ceil(place / cap) * service
            assert call.delivered_at is not None
            assert call.delivered_at - virtual.STARTED_AT <= bound + 1e-6, f"waiter {place}"
        assert rig.system.starting_peak <= parallel
        assert rig.system.peak <= cap
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(9)
@pytest.mark.parametrize(
    ("start", "cap", "parallel", "service"), [(30.0, 8, 2, 600.0), (30.0, 2, 1, 31.0), (1.0, 20, 4, 5.0)]
)
def test_calls_of_which_nobody_knows_yet_how_long_they_take_hold_no_start_up(start, cap, parallel, service):
    async def scene() -> None:
        rig = Rig({"cap": cap, "parallel_starts": parallel}, Bounds(start=1000), start_seconds=start)
        calls = [rig.submit(service, timeout=2 * service, patience=10_000) for _ in range(cap)]
        await finished(calls)
        assert all(call.answered for call in calls)
        for place, call in enumerate(calls, start=1):
            served = virtual.STARTED_AT + start * ceil(place / parallel) + service
            assert call.delivered_at == pytest.approx(served), f"waiter {place}"

    virtual.run(scene())


@pytest.mark.promise(10)
def test_a_waiter_takes_a_connection_that_is_given_back_before_its_start_has_ended():
    async def scene() -> None:
        rig = Rig({"cap": 2}, Bounds(start=1000), start_seconds=10)
        await finished([rig.submit()])
        rig.system.behave(start_seconds=500)
        running = rig.submit(20)
        await until(lambda: rig.busy() == 1)
        waiter = rig.submit()
        assert rig.driver.pool.count(ConnectionState.STARTING) == 1
        await finished([waiter])
        assert waiter.delivered_at == running.delivered_at

    virtual.run(scene())


@pytest.mark.promise(12)
def test_starts_that_take_longer_than_anybodys_patience_serve_those_who_come_later():
    async def scene() -> None:
        rig = Rig({"cap": 2}, Bounds(start=1000), start_seconds=100)
        served: list[Call] = []
        while not served:
            rig.submit(0.1, patience=3)
            await asyncio.sleep(1)
            served = [call for call in rig.calls if call.outcomes and call.answered]
        assert rig.now - virtual.STARTED_AT <= 103
        assert rig.system.logins_total <= 2
        assert all(call.reason is Reason.START_TIMEOUT for call in rig.calls[:90])

    virtual.run(scene())


@pytest.mark.promise(13)
def test_waiters_hear_the_backends_own_words_as_soon_as_the_start_has_failed():
    async def scene() -> None:
        words = "ORA-28000: the account is locked"
        rig = Rig({"cap": 4, "parallel_starts": 1}, start_seconds=7, refuse=words)
        calls = [rig.submit() for _ in range(100)]
        await finished(calls, 7.001)
        for call in calls:
            result = call.outcomes[0].result
            assert isinstance(result, Fault)
            assert result.reason is Reason.START_FAILED
            assert words in result.message

    virtual.run(scene())


@pytest.mark.promise(13)
def test_ten_thousand_failed_starts_leak_neither_a_slot_nor_a_session():
    async def scene() -> None:
        rig = Rig({"cap": 2, "parallel_starts": 2}, refuse="no")
        while rig.driver.pool.starts.failed_total < 10_000:
            await finished([rig.submit()])
            await asyncio.sleep(max(0.0, rig.driver.pool.starts.retry_at - rig.now))
        assert (rig.driver.pool.held, rig.system.counts().total, rig.system.peak) == (0, 0, 1)
        rig.system.behave(refuse=None)
        await until(lambda: rig.submit() is not None and rig.driver.pool.serving)

    virtual.run(scene())


@pytest.mark.promise(14)
def test_a_backend_that_is_down_for_an_hour_under_load_is_tried_about_twice_a_minute_by_one_start_at_a_time():
    async def scene() -> None:
        rig = Rig({"cap": 16, "parallel_starts": 8, "warm": 4}, refuse="down", start_seconds=0.5)
        rig.driver.run()
        chance = random.Random(1)
        over = rig.now + 3600
        while rig.now < over:
            rig.submit(patience=5)
            await asyncio.sleep(chance.expovariate(5))
        tries = rig.system.arrivals
        later = [after - before for before, after in pairwise(tries) if before > virtual.STARTED_AT + 120]
        assert min(later) >= PAUSE_MAX_SECONDS / 2
        assert len(tries) <= 3600 / (PAUSE_MAX_SECONDS / 2) + 20

    virtual.run(scene())


@pytest.mark.promise(14)
def test_a_backend_that_has_come_back_is_met_by_one_start_then_two_then_four():
    async def scene() -> None:
        rig = Rig({"cap": 16, "parallel_starts": 8, "warm": 16}, refuse="down", start_seconds=5)
        rig.driver.run()
        await asyncio.sleep(600)
        rig.system.behave(refuse=None)
        met = len(rig.system.arrivals)
        await until(lambda: rig.driver.pool.count(ConnectionState.IDLE) == 16)
        waves = Counter(round(arrival) for arrival in rig.system.arrivals[met:])
        assert list(waves.values())[:3] == [1, 2, 4]

    virtual.run(scene())


@pytest.mark.promise(15)
@pytest.mark.parametrize("outage_seconds", [1.0, 3600.0, 86_400.0])
def test_it_recovers_by_itself_from_an_outage_of_any_length_without_any_caller(outage_seconds):
    async def scene() -> None:
        rig = Rig({"cap": 3, "lifetime_seconds": 60.0}, start_seconds=2)
        rig.driver.run()
        await until(lambda: rig.driver.pool.serving)
        rig.system.behave(refuse="down")
        for session in list(rig.system.sessions):
            rig.system.kill(session)
        await finished([rig.submit()])
        await asyncio.sleep(outage_seconds)
        assert not rig.driver.pool.serving
        rig.system.behave(refuse=None)
        await until(lambda: rig.driver.pool.serving, PAUSE_MAX_SECONDS + 2 + 2)
        assert [type(outcome.result) for outcome in await finished([rig.submit()])] != [Fault]

    virtual.run(scene())
