"""Calls that share connections, and what becomes of those behind a slow one: seen by callers, and by the backend."""

import pytest

from pooler.errors import Reason
from tests.simulation import virtual
from tests.simulation.load import about, come, quantile, took
from tests.simulation.rig import PAGE_ROWS, Rig, finished, until

LOOKED_AT_SECONDS = 0.16
"""Within this time a slow head is known: five looks, and the one before."""


def ready(streams: int = 8, **rules: object) -> Rig:
    """A pool whose connections are open."""
    rig = Rig({"cap": 2, "warm": rules.get("cap", 2), "parallel_starts": 4, **rules}, streams=streams)
    rig.driver.run()
    return rig


async def opened(rig: Rig) -> Rig:
    await until(lambda: rig.system.counts().open == rig.driver.pool.rules.warm)
    return rig


def test_many_calls_at_once_need_no_more_connections_than_there_are():
    async def scene() -> None:
        rig = await opened(ready())
        calls = [rig.submit(operation="echo", share=True) for _ in range(100)]
        await finished(calls)
        assert all(call.answered for call in calls)
        assert [call.outcomes[0].result.body for call in calls] == [b'{"result":%d}' % call.number for call in calls]
        assert rig.system.peak == 2

    virtual.run(scene())


@pytest.mark.promise(37)
def test_those_behind_a_slow_call_are_answered_by_other_connections_while_it_goes_on():
    async def scene() -> None:
        rig = await opened(ready())
        calls = [rig.submit(20.0, share=True), *(rig.submit(0.001, share=True) for _ in range(12))]
        slow, *others = calls
        await finished(others, LOOKED_AT_SECONDS + 0.1)
        assert all(call.answered for call in others)
        assert not slow.outcomes
        assert rig.busy() == 1
        await finished([slow])
        assert slow.answered
        assert rig.violations == []

    virtual.run(scene())


def test_an_operation_that_was_slow_has_its_connections_for_itself_for_a_moment():
    async def scene() -> None:
        rig = await opened(ready())
        rig.submit(5.0, share=True)
        await until(lambda: rig.driver.pool.sharing.apart("work", rig.now), 1.0)
        assert rig.driver.pool.sharing.apart_now(rig.now) == ["work"]
        await until(lambda: not rig.driver.pool.sharing.apart("work", rig.now), 2.0)

    virtual.run(scene())


@pytest.mark.promise(19)
def test_a_slow_call_whose_caller_leaves_is_stopped_in_the_backend_and_nobody_else_is():
    async def scene() -> None:
        rig = await opened(ready())
        slow, *others = [rig.submit(1000.0, share=True), *(rig.submit(operation="echo", share=True) for _ in range(9))]
        await finished(others, LOOKED_AT_SECONDS + 0.1)
        assert rig.busy() == 1
        rig.cancel(slow)
        await until(lambda: rig.busy() == 0, 0.1)
        assert all(call.answered for call in others)
        assert slow.reason is Reason.CANCELLED
        await finished([rig.submit(operation="echo", share=True)], 1.0)

    virtual.run(scene())


def test_a_caller_that_leaves_a_call_which_proves_to_be_slow_has_it_stopped_then():
    async def scene() -> None:
        rig = await opened(ready())
        slow = rig.submit(1000.0, share=True)
        await until(lambda: rig.busy() == 1, 0.05)
        rig.cancel(slow)
        await finished([slow], 1e-3)
        assert (slow.reason, rig.busy()) == (Reason.CANCELLED, 1)
        await until(lambda: rig.busy() == 0, LOOKED_AT_SECONDS + 0.1)

    virtual.run(scene())


def test_a_call_past_its_bound_hears_so_in_time_whoever_is_before_it():
    async def scene() -> None:
        rig = await opened(ready())
        rig.submit(1000.0, share=True, timeout=3.0)
        behind = rig.submit(1000.0, share=True, timeout=0.05)
        await finished([behind], 0.05 + 1e-6)
        assert behind.reason is Reason.WORK_TIMEOUT
        await until(lambda: rig.busy() == 0, 5.0)
        assert rig.violations == []

    virtual.run(scene())


def test_a_result_of_more_than_a_page_is_had_by_the_same_call_all_the_same():
    async def scene() -> None:
        rig = await opened(ready())
        calls = [rig.submit(0.0, operation="rows", count=count, share=True) for count in (PAGE_ROWS, PAGE_ROWS + 1)]
        whole, cut = await finished(calls)
        assert b"truncated" not in whole.result.body
        assert b"truncated" in cut.result.body
        assert rig.driver.pool.sharing.misfits_total == 1

    virtual.run(scene())


@pytest.mark.promise(16)
def test_a_connection_that_dies_under_its_calls_loses_none_of_them():
    async def scene() -> None:
        rig = await opened(ready())
        calls = [rig.submit(0.01, share=True) for _ in range(14)]
        rig.system.kill(rig.system.sessions[0])
        await finished(calls, 5.0)
        assert all(call.answered for call in calls)
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(33)
def test_a_kill_ends_a_shared_call_for_its_caller_at_once():
    async def scene() -> None:
        rig = await opened(ready())
        calls = [rig.submit(1.0, share=True) for _ in range(3)]
        rig.kill(calls[1])
        await finished([calls[1]], 1e-3)
        assert calls[1].reason is Reason.KILLED
        await finished(calls)
        assert [call.answered for call in calls] == [True, False, True]

    virtual.run(scene())


def test_a_backend_that_stalls_for_a_moment_costs_nobody_his_answer():
    async def scene() -> None:
        rig = await opened(ready(streams=32))
        rig.system.behave(work_seconds=0.002)
        calls = [rig.submit(operation="echo", share=True) for _ in range(64)]
        rig.system.behave(silent=True)
        await until(lambda: rig.driver.pool.sharing.misfits_total > 0, 1.0)
        rig.system.behave(silent=False)
        await finished(calls, 5.0)
        assert all(call.answered for call in calls)
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(22)
def test_a_tenant_that_floods_shared_connections_makes_another_wait_little():
    async def scene() -> None:
        rig = await opened(ready(streams=8, cap=2, queue_max=5000))
        flood = [rig.submit(0.005, share=True, tenant="large", timeout=60.0) for _ in range(2000)]
        small = await come(rig, 20.0, 4.0, about(0.005), share=True, tenant="small")
        await finished([*flood, *small])
        assert quantile(took(small), 0.99) < 0.3

    virtual.run(scene())
