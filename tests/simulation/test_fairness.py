"""Who waits how long: callers of one class among themselves, and tenants among each other."""

import asyncio

import pytest

from pooler.core.fairness import HANDICAP_SECONDS, Share
from pooler.core.slots import Priority
from tests.simulation import virtual
from tests.simulation.load import Work, about, come, go_on, quantile, took, waited
from tests.simulation.rig import Call, Rig, finished

CAP = 4
WORK_SECONDS = 0.4
CAPACITY = CAP / WORK_SECONDS
"""Calls a second."""


def in_order(calls: list[Call]) -> bool:
    """Whether each was served no earlier than those who had come before."""
    granted = [call.turn.granted_at for call in sorted(calls, key=lambda call: call.number)]
    return granted == sorted(granted)


@pytest.mark.promise(21)
def test_at_full_load_for_ten_minutes_nobody_waits_twice_as_long_as_half_of_the_others():
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP})
        calls = await go_on(rig, 50, 600, about(WORK_SECONDS))
        assert all(call.answered for call in calls)
        assert in_order(calls)
        waits = waited(calls[50:])
        assert waits[-1] <= 2 * quantile(waits, 0.5)

    virtual.run(scene())


@pytest.mark.promise(21)
def test_a_batch_of_calls_is_not_starved_by_people_and_each_class_keeps_its_order():
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP})
        people, batch = await asyncio.gather(
            go_on(rig, 50, 300, about(WORK_SECONDS), 1),
            go_on(rig, 20, 300, about(WORK_SECONDS), 2, priority=Priority.BATCH),
        )
        assert in_order(people)
        assert in_order(batch)
        head_start = HANDICAP_SECONDS[Priority.BATCH]
        assert waited(batch)[-1] - waited(people)[-1] <= head_start + 1

    virtual.run(scene())


async def company(others: float, rules: dict[str, object], work: Work) -> tuple[Rig, list[Call]]:
    """Four minutes of a modest tenant, beside one who offers so many times the capacity."""
    rig = Rig({"cap": CAP, "warm": CAP, **rules})
    rig.driver.run()
    await asyncio.sleep(5)
    loads = [come(rig, 0.3 * CAPACITY, 240, work, 1, tenant="modest")]
    if others:
        loads.append(come(rig, others * CAPACITY, 240, work, 2, tenant="greedy", deadline=20))
    modest, *_ = await asyncio.gather(*loads)
    await finished(rig.calls)
    return rig, modest


@pytest.mark.promise(22)
@pytest.mark.parametrize("rules", [{}, {"shares": {"greedy": Share(queue_max=50)}}], ids=["one queue", "own queues"])
@pytest.mark.parametrize("work", [about(WORK_SECONDS), lambda chance: WORK_SECONDS], ids=["varied", "in step"])
def test_a_tenant_within_its_share_hardly_notices_one_who_offers_ten_times_the_capacity(rules, work):
    async def scene() -> None:
        _, alone = await company(0, rules, work)
        rig, together = await company(10, rules, work)
        assert all(call.answered for call in [*alone, *together])
        assert quantile(took(together), 0.99) <= 2 * quantile(took(alone), 0.99)
        assert rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(22)
def test_a_tenant_who_is_alone_uses_everything():
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP, "shares": {"a": Share(weight=1), "b": Share(weight=9)}})
        calls = await go_on(rig, 20, 300, lambda chance: WORK_SECONDS, tenant="a")
        assert len(calls) >= 0.98 * 300 * CAPACITY

    virtual.run(scene())


@pytest.mark.promise(22)
@pytest.mark.parametrize("weights", [(1, 1), (3, 1)])
def test_tenants_who_all_ask_for_more_get_what_their_weights_say(weights):
    async def scene() -> None:
        rig = Rig({"cap": CAP, "warm": CAP, "shares": {n: Share(weight=w) for n, w in zip("ab", weights, strict=True)}})
        many, few = await asyncio.gather(
            go_on(rig, 40, 300, about(WORK_SECONDS), 1, tenant="a"),
            go_on(rig, 10, 300, about(2 * WORK_SECONDS), 2, tenant="b"),
        )
        seconds = [sum(call.outcomes[0].timing.backend for call in calls) for calls in (many, few)]
        assert seconds[0] / seconds[1] == pytest.approx(weights[0] / weights[1], rel=0.1)

    virtual.run(scene())
