"""What a caller may find on its connection: nothing poisoned, nothing of anybody else's, nothing from before a move."""

import asyncio
import random
from typing import Any

import pytest

from pooler.backends.base import Answer, Verdict
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.core.states import ConnectionState
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.load import about, come, go_on
from tests.simulation.rig import Call, Rig, finished, until

TRACE = Answer(b'{"result":null}')
"""What `see_trace` answers where the last user has left nothing."""


def sessions_of(calls: list[Call]) -> list[int]:
    """The sessions that have worked for these calls, each as often as it has."""
    return [session.number for call in calls for _, session in call.executed]


@pytest.mark.promise(17)
def test_a_session_that_serves_no_more_refuses_one_call_at_most_though_its_health_check_lies():
    async def scene() -> None:
        rig = Rig({"cap": 3, "validate_after_seconds": 0.1, "shared_fate": False}, poison_after=5, lie=True)
        calls = await go_on(rig, 5, 120, about(0.2))
        assert all(call.answered for call in calls)
        assert max(session.requests for session in rig.system.sessions) <= 5
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(17)
@pytest.mark.parametrize("step", ["cancel", "reset"])
def test_a_session_whose_last_user_could_not_be_cleaned_up_after_serves_nobody_again(step):
    async def scene() -> None:
        rig = Rig({"cap": 2}, Bounds(validate=1, cancel=1), hang=frozenset({step}))
        spoilt = rig.submit(100, timeout=1) if step == "cancel" else rig.submit(operation="leave_trace")
        await finished([spoilt])
        after = await go_on(rig, 4, 30, about(0.2))
        assert all(call.answered for call in after)
        assert not set(sessions_of([spoilt])) & set(sessions_of(after))

    virtual.run(scene())


@pytest.mark.promise(17)
def test_a_request_that_is_still_running_in_the_backend_is_never_followed_by_another_on_its_session():
    async def scene() -> None:
        rig = Rig({"cap": 3}, Bounds(cancel=1), ignore_cancel=True)
        abandoned = await come(rig, 2.0, 60, about(20), timeout=1, patience=5)
        await finished(abandoned)
        assert len(sessions_of(abandoned)) == len(set(sessions_of(abandoned)))

    virtual.run(scene())


class CountsResets(SimulatedAdapter):
    """Notes how often something was left on a connection, and how often one was reset."""

    def __init__(self, system: Any) -> None:
        super().__init__(system)
        self.resets = 0

    async def reset(self, connection: SimulatedConnection) -> Verdict:
        self.resets += 1
        return await super().reset(connection)


@pytest.mark.promise(18)
def test_nobody_sees_what_another_tenant_left_and_only_what_was_left_is_reset():
    async def scene() -> None:
        rig = Rig({"cap": 3})
        adapter, chance = rig.stand_in(CountsResets), random.Random(1)
        left, seen = [], []
        for number in range(600):
            tenant = chance.choice("abc")
            if chance.random() < 0.3:
                left.append(rig.submit(operation="leave_trace", tenant=tenant))
            else:
                seen.append(rig.submit(operation="see_trace", tenant=tenant))
            if number % 7 == 0:
                await asyncio.sleep(chance.uniform(0, 0.1))
        await finished(rig.calls)
        assert {call.outcomes[0].result for call in seen} == {TRACE}
        assert adapter.resets == len(left) > 100

    virtual.run(scene())


@pytest.mark.promise(34)
@pytest.mark.parametrize("state", [ConnectionState.IDLE, ConnectionState.IN_USE, ConnectionState.STARTING])
def test_after_the_backend_has_moved_nobody_gets_a_connection_that_was_there_or_on_its_way(state):
    async def scene() -> None:
        rig = Rig({"cap": 3, "parallel_starts": 3}, start_seconds=5, dying_seconds=1)
        before = [rig.submit(2) for _ in range(3)]
        await until(lambda: rig.system.counts().starting == 3)
        if state is not ConnectionState.STARTING:
            await until(lambda: rig.busy() == 3)
        if state is ConnectionState.IDLE:
            await finished(before)
        assert rig.driver.pool.count(state) == 3
        moved_at = rig.now
        rig.replace_adapter()
        after = [rig.submit(0.5) for _ in range(20)]
        await finished([*before, *after])
        assert all(call.answered for call in [*before, *after])
        old = {number + 1 for number, at in enumerate(rig.system.arrivals) if at <= moved_at}
        used = [session.number for call in rig.calls for at, session in call.executed if at > moved_at]
        assert len(old) == 3
        assert not old & set(used)
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(2)
def test_new_credentials_and_a_new_cap_together_under_load_never_exceed_the_cap():
    async def scene() -> None:
        rig = Rig({"cap": 6, "parallel_starts": 6}, start_seconds=1, dying_seconds=3, spread=0.5)
        load = asyncio.ensure_future(go_on(rig, 20, 300, about(0.3)))
        chance = random.Random(1)
        while not load.done():
            await asyncio.sleep(chance.uniform(0, 10))
            rig.replace_adapter()
            rig.resize(cap=chance.randint(1, 6))
        assert all(call.answered for call in await load)
        assert rig.violations == []
        assert rig.system.peak == 6

    virtual.run(scene())
