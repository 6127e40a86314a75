"""The hands, and adapters that misbehave: what goes wrong costs one connection, never a call or a slot."""

import asyncio
from dataclasses import replace

import pytest

from pooler.backends.base import Answer, Verdict, Work
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.core.states import ConnectionState
from pooler.errors import Reason
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.rig import Rig, finished, until


@pytest.mark.promise(7)
def test_work_whose_deadline_passed_between_the_offer_and_its_first_step_does_not_begin():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        await finished([rig.submit()])
        call = rig.submit(deadline=5)
        asyncio.get_running_loop().now += 5  # type: ignore[attr-defined]
        await finished([call])
        assert call.reason is Reason.QUEUE_TIMEOUT
        assert call.executed == []
        assert (await finished([rig.submit()]))[0].timing.queue == 0

    virtual.run(scene())


@pytest.mark.promise(6)
def test_a_cancel_between_the_offer_and_its_first_step_is_not_swallowed():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        await finished([rig.submit()])
        call = rig.submit()
        rig.cancel(call)
        await finished([call])
        assert (call.reason, call.executed) == (Reason.CANCELLED, [])
        await finished([rig.submit()])

    virtual.run(scene())


def test_a_caller_that_leaves_hears_at_once_although_the_backend_ignores_the_cancel():
    async def scene() -> None:
        rig = Rig({"cap": 1}, ignore_cancel=True)
        call = rig.submit(30)
        await until(lambda: rig.busy() == 1)
        rig.cancel(call)
        await finished([call], 0.001)
        assert call.reason is Reason.CANCELLED
        after = rig.submit()
        await finished([after])
        assert rig.violations == []
        assert rig.system.peak == 1

    virtual.run(scene())


@pytest.mark.promise(5)
def test_a_time_out_and_a_cancel_in_the_same_instant_lose_nothing():
    class Converts(SimulatedAdapter):
        async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
            try:
                return await super().execute(connection, work)
            except asyncio.CancelledError:
                raise TimeoutError("the library's own") from None

    async def scene(adapter_class: type[SimulatedAdapter]) -> None:
        rig = Rig({"cap": 1})
        rig.stand_in(adapter_class)
        loop = asyncio.get_running_loop()
        for early in (-1e-10, 0.0, 1e-10):
            call = rig.submit(100, timeout=2)
            await until(lambda: rig.busy() == 1)
            loop.call_at(call.turn.granted_at + 2 + early, rig.cancel, call)
            await finished([call])
            assert call.reason in (Reason.CANCELLED, Reason.WORK_TIMEOUT)
            await finished([rig.submit()])

    virtual.run(scene(SimulatedAdapter))
    virtual.run(scene(Converts))


def test_a_cancellation_that_an_adapter_raises_by_itself_fails_the_call_and_frees_the_slot():
    class Cancelled(SimulatedAdapter):
        async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
            raise asyncio.CancelledError

    async def scene() -> None:
        rig = Rig({"cap": 1})
        rig.stand_in(Cancelled)
        for _ in range(3):
            call = rig.submit()
            await finished([call])
            assert call.reason is Reason.INTERNAL

    virtual.run(scene())


@pytest.mark.parametrize("step", ["validate", "cancel", "reset", "close"])
@pytest.mark.parametrize("error", [asyncio.CancelledError, RuntimeError])
def test_whatever_an_adapter_raises_in_a_step_costs_one_connection_and_no_slot(
    step: str, error: type[BaseException]
) -> None:
    class Fails(SimulatedAdapter):
        failing = True

        async def maybe(self, name: str) -> None:
            if self.failing and name == step:
                self.failing = False
                raise error

        async def validate(self, connection: SimulatedConnection) -> None:
            await self.maybe("validate")
            await super().validate(connection)

        async def cancel(self, connection: SimulatedConnection) -> Verdict:
            await self.maybe("cancel")
            return await super().cancel(connection)

        async def reset(self, connection: SimulatedConnection) -> Verdict:
            await self.maybe("reset")
            return await super().reset(connection)

        async def close(self, connection: SimulatedConnection, force: bool) -> bool:
            await self.maybe("close")
            return await super().close(connection, force)

    async def scene() -> None:
        rig = Rig({"cap": 1, "validate_after_seconds": 5})
        adapter = rig.stand_in(Fails)
        slow = rig.submit(100, timeout=1)
        await finished([slow])
        await finished([rig.submit(operation="leave_trace")])
        await asyncio.sleep(10)
        await finished([rig.submit()])
        await rig.driver.drain(10)
        assert adapter.failing is False
        assert (rig.driver.pool.held, rig.system.counts().total) == (0, 0)

    virtual.run(scene())


@pytest.mark.promise(2, 4)
@pytest.mark.parametrize("reloaded", [False, True])
def test_cancels_over_side_channels_never_exceed_the_reserve_not_even_in_a_reload(reloaded: bool):
    class Sideways(SimulatedAdapter):
        traits = replace(SimulatedAdapter.traits, cancel="side_channel")
        now = peak = 0

        async def cancel(self, connection: SimulatedConnection) -> Verdict:
            self.now += 1
            self.peak = max(self.peak, self.now)
            await asyncio.sleep(0.5)
            self.now -= 1
            return await super().cancel(connection)

    async def scene() -> None:
        rig = Rig({"cap": 5, "reserve": 1, "parallel_starts": 5})
        adapter = rig.stand_in(Sideways)
        calls = [rig.submit(100) for _ in range(4)]
        await until(lambda: rig.busy() == 4)
        for call in calls[:2]:
            rig.cancel(call)
        await finished(calls[:2])
        assert adapter.now == 1
        if reloaded:
            rig.resize(queue_max=7)
        for call in calls[2:]:
            rig.cancel(call)
        await finished(calls)
        await until(lambda: rig.driver.pool.count(ConnectionState.IDLE) == 4)
        assert adapter.peak == 1
        assert rig.now - virtual.STARTED_AT == pytest.approx(4 * 0.5, abs=0.1)

    virtual.run(scene())


def test_a_slot_whose_connections_death_nobody_can_confirm_is_kept_for_a_while():
    async def scene() -> None:
        rig = Rig({"cap": 1, "lifetime_seconds": 10}, Bounds(reap=30), confirm_death=False, dying_seconds=20)
        rig.driver.run()
        await until(lambda: rig.driver.pool.count(ConnectionState.CLOSING) == 1)
        closing_at = rig.now
        await finished([rig.submit()])
        assert rig.now - closing_at == pytest.approx(30, abs=0.1)
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(1)
@pytest.mark.parametrize("patience", [1.0, 5.0])
def test_a_start_that_is_both_given_up_and_too_slow_keeps_its_slot_until_the_backend_has_forgotten_it(patience: float):
    async def scene() -> None:
        rig = Rig({"cap": 1}, Bounds(start=patience), start_seconds=100, dying_seconds=20)
        call = rig.submit()
        await until(lambda: rig.system.counts().starting == 1)
        asyncio.get_running_loop().call_later(3, rig.replace_adapter)
        await until(lambda: rig.system.logins_total == 2)
        assert rig.violations == []
        assert rig.now - virtual.STARTED_AT >= min(3, patience) + 20
        rig.cancel(call)

    virtual.run(scene())


def test_a_start_that_is_given_up_while_it_cleans_up_after_a_failure_keeps_its_slot_until_that_is_over():
    async def scene() -> None:
        rig = Rig({"cap": 1}, Bounds(start=5), refuse="down for the night", start_seconds=1, dying_seconds=20)
        call = rig.submit()
        asyncio.get_running_loop().call_later(3, rig.replace_adapter)
        await until(lambda: rig.system.logins_total == 2)
        assert rig.violations == []
        assert rig.now - virtual.STARTED_AT >= 21
        rig.cancel(call)

    virtual.run(scene())


@pytest.mark.promise(31)
def test_draining_ends_soon_after_its_grace_although_work_and_cancel_are_stuck():
    async def scene() -> None:
        rig = Rig({"cap": 2}, Bounds(cancel=3, close=4), hang=frozenset({"cancel"}))
        calls = [rig.submit(10_000, timeout=20_000) for _ in range(5)]
        await until(lambda: rig.busy() == 2)
        began = rig.now
        await rig.driver.drain(10)
        assert rig.now - began <= 10 + 3 + 4
        await finished(calls)
        assert {call.reason for call in calls} == {Reason.CANCELLED, Reason.DRAINING}
        assert rig.system.counts().total == 0

    virtual.run(scene())


def test_draining_ends_although_a_start_is_stuck():
    async def scene() -> None:
        rig = Rig({"cap": 2}, hang=frozenset({"open"}))
        call = rig.submit()
        await asyncio.sleep(1)
        await rig.driver.drain(5)
        await finished([call])
        assert call.reason is Reason.DRAINING
        assert rig.system.counts().total == 0

    virtual.run(scene())


def test_draining_does_not_wait_beyond_its_grace_for_the_clean_up_of_a_start():
    async def scene() -> None:
        rig = Rig({"cap": 2}, start_seconds=100, dying_seconds=50)
        call = rig.submit()
        await until(lambda: rig.system.counts().starting == 1)
        began = rig.now
        await rig.driver.drain(9)
        assert rig.now - began == pytest.approx(9)
        assert call.reason is Reason.DRAINING
        await rig.system.quiet()
        assert rig.system.counts().total == 0

    virtual.run(scene())
