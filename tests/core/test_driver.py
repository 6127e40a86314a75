"""The hands: calls go through them, whatever becomes of the connection. Under virtual time."""

import asyncio
from dataclasses import replace

import pytest

from pooler.backends.base import Answer
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.errors import Fault, Reason
from pooler.runtime.starter import Bounds
from pooler.runtime.turns import Outcome
from tests.simulation import virtual
from tests.simulation.rig import Rig, finished, until


def total(outcome: Outcome) -> float:
    timing = outcome.timing
    return timing.queue + timing.start + timing.reset + timing.backend


def test_a_call_is_answered_and_says_where_its_time_went():
    async def scene() -> None:
        rig = Rig({"cap": 1}, start_seconds=3)
        call = rig.submit(0.5)
        (outcome,) = await finished([call])
        assert outcome.result == Answer(b'{"result":"done"}')
        timing = outcome.timing
        assert (timing.queue, timing.start, timing.reset, timing.backend) == pytest.approx((0, 3, 0, 0.5))

    virtual.run(scene())


def test_the_parts_of_a_calls_time_add_up_whatever_it_waited_for():
    async def scene() -> None:
        rig = Rig({"cap": 2}, start_seconds=2, spread=0.3)
        calls = []
        for number in range(40):
            calls.append(rig.submit(0.1 + number % 7 / 10, operation="leave_trace" if number % 3 else "work"))
            await asyncio.sleep(0.05)
        await finished(calls)
        for call in calls:
            assert call.delivered_at is not None
            assert total(call.outcomes[0]) == pytest.approx(call.delivered_at - call.turn.asked_at)

    virtual.run(scene())


def test_an_outcome_is_never_delivered_before_submit_has_returned():
    async def scene() -> None:
        rig = Rig({"queue_max": 1})
        await rig.driver.drain(1)
        call = rig.submit()
        assert call.outcomes == []
        await finished([call])
        assert call.reason is Reason.DRAINING

    virtual.run(scene())


def test_work_past_its_bound_is_stopped_in_the_backend_and_the_caller_hears_of_it_at_once():
    async def scene() -> None:
        rig = Rig({"cap": 1}, dying_seconds=3)
        call = rig.submit(100, timeout=2)
        await finished([call])
        assert call.reason is Reason.WORK_TIMEOUT
        assert rig.now == virtual.STARTED_AT + 2
        await until(lambda: rig.busy() == 0, 1)
        await finished([rig.submit()])

    virtual.run(scene())


def test_a_write_past_its_bound_is_told_that_it_may_have_happened():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        read, write = rig.submit(100, timeout=2), rig.submit(100, timeout=2, operation="write")
        outcomes = [outcome.result for outcome in await finished([read, write])]
        assert all(isinstance(result, Fault) for result in outcomes)
        assert ["may have taken effect" in result.message for result in outcomes if isinstance(result, Fault)] == [
            False,
            True,
        ]

    virtual.run(scene())


def test_a_read_whose_connection_died_is_sent_once_more_and_its_caller_never_knows():
    async def scene() -> None:
        rig = Rig({"cap": 2})
        await finished([rig.submit()])
        call = rig.submit(2)
        await until(lambda: rig.busy() == 1)
        rig.system.kill(rig.system.sessions[0])
        await finished([call])
        assert call.answered
        assert len(call.executed) == 2

    virtual.run(scene())


def test_a_read_that_dies_twice_is_a_failure():
    async def scene() -> None:
        rig = Rig({"cap": 2}, die_after=1)
        call = rig.submit()
        await finished([call])
        assert (call.reason, len(call.executed)) == (Reason.CONNECTION_LOST, 2)

    virtual.run(scene())


def test_a_write_whose_connection_died_is_sent_once_and_its_outcome_is_unknown():
    async def scene() -> None:
        rig = Rig({"cap": 2}, die_after=1)
        call = rig.submit(operation="write")
        await finished([call])
        assert (call.reason, len(call.executed)) == (Reason.OUTCOME_UNKNOWN, 1)

    virtual.run(scene())


def test_where_each_connection_has_a_fate_of_its_own_nothing_is_sent_twice():
    class Own(SimulatedAdapter):
        traits = replace(SimulatedAdapter.traits, fate="own")

    async def scene() -> None:
        rig = Rig({"cap": 2, "shared_fate": False}, die_after=1)
        rig.stand_in(Own)
        call = rig.submit()
        await finished([call])
        assert (call.reason, rig.system.requests_total) == (Reason.CONNECTION_LOST, 1)

    virtual.run(scene())


def test_an_operation_that_was_removed_while_the_call_waited_is_refused_and_the_connection_lives():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        running, waiting = rig.submit(5), rig.submit(operation="see_trace")
        await until(lambda: rig.busy() == 1)
        kit = replace(rig.driver.kit, prepared={"work": rig.driver.kit.prepared["work"]})
        rig.driver.reconfigure(kit, rig.driver.pool.rules, Bounds())
        await finished([running, waiting])
        assert waiting.reason is Reason.REFUSED
        await finished([rig.submit()])
        assert rig.system.logins_total == 1

    virtual.run(scene())


@pytest.mark.promise(40)
def test_it_says_when_it_begins_and_ceases_to_serve():
    async def scene() -> None:
        rig = Rig({"cap": 1, "validate_after_seconds": 1}, refuse="down for the night")
        said: list[bool] = []
        rig.driver.on_serving = said.append
        rig.driver.run()
        await asyncio.sleep(100)
        assert said == []
        rig.system.behave(refuse=None)
        await until(lambda: said == [True], 32)
        rig.system.behave(refuse="down again")
        for session in list(rig.system.sessions):
            rig.system.kill(session)
        await asyncio.sleep(2)
        await finished([rig.submit()])
        assert said == [True, False]

    virtual.run(scene())


@pytest.mark.promise(31)
def test_draining_serves_those_who_wait_and_leaves_nothing_behind():
    async def scene() -> None:
        rig = Rig({"cap": 2, "warm": 2}, dying_seconds=1)
        rig.driver.run()
        calls = [rig.submit(1) for _ in range(10)]
        await rig.driver.drain(60)
        assert all(call.answered for call in calls)
        assert rig.system.counts().total == 0
        late = rig.submit()
        await finished([late])
        assert late.reason is Reason.DRAINING

    virtual.run(scene())
