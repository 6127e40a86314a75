"""Orders that cannot be carried out, and those that have to find their victim first. Under virtual time."""

import asyncio
from dataclasses import replace

import pytest

from pooler.backends.base import Caller, Tag
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.local import LocalConnection
from pooler.errors import Fault, Reason
from pooler.runtime.orders import CAP_MAX, TOLD_MAX, at_work, waiting
from pooler.runtime.turns import Outcome, Turn
from tests.simulation import virtual
from tests.simulation.rig import Call, Rig, finished, until


def renamed(call: Call, request_id: str) -> Call:
    """A call whose caller has given it this name."""
    call.turn.caller = replace(call.turn.caller, request_id=request_id)
    return call


@pytest.mark.promise(2)
@pytest.mark.parametrize("cap", [0, -1, 1, CAP_MAX + 1])
def test_a_cap_that_leaves_no_connection_for_calls_or_is_absurd_changes_nothing(cap: int):
    async def scene() -> None:
        rig = Rig({"cap": 3, "reserve": 1})
        with pytest.raises(Fault, match=r"cannot be -?\d+: it goes from 2 to 1000000 \(1 of it is kept") as caught:
            rig.orders.set_cap(cap)
        assert caught.value.reason is Reason.INVALID_ORDER
        assert caught.value.metadata == {"backend": "legacy"}
        assert rig.driver.pool.rules.cap == 3

    virtual.run(scene())


@pytest.mark.promise(2)
def test_the_smallest_cap_leaves_one_connection_beside_the_reserve():
    async def scene() -> None:
        rig = Rig({"cap": 3, "reserve": 1})
        assert rig.orders.set_cap(2) == 3
        calls = [rig.submit(1) for _ in range(3)]
        await finished(calls)
        assert rig.system.peak == 1
        with pytest.raises(Fault, match="it goes from 1 to"):
            Rig({"cap": 3}).orders.set_cap(0)

    virtual.run(scene())


def test_a_connection_that_is_not_there_is_answered_with_those_that_are():
    async def scene() -> None:
        rig = Rig({"cap": 30, "parallel_starts": 30})
        with pytest.raises(Fault, match=r"Backend legacy has no connection 1; it has none\."):
            rig.orders.kill_connection(1)
        rig.submit(100)
        rig.submit(100)
        await until(lambda: rig.busy() == 2)
        with pytest.raises(Fault, match=r"has no connection 7; it has 1, 2\.") as caught:
            rig.orders.kill_connection(7)
        assert caught.value.reason is Reason.CONNECTION_NOT_FOUND
        for _ in range(TOLD_MAX + 3):
            rig.submit(100)
        await until(lambda: rig.busy() == TOLD_MAX + 5)
        with pytest.raises(Fault, match=r"19, 20 and 5 more\."):
            rig.orders.kill_connection(99)

    virtual.run(scene())


def test_a_call_that_is_not_there_any_more_is_not_found():
    async def scene() -> None:
        rig = Rig()
        ended = rig.submit()
        await finished([ended])
        with pytest.raises(Fault, match="no call '0', waiting or at work; it may have ended") as caught:
            rig.kill(ended)
        assert caught.value.reason is Reason.CALL_NOT_FOUND
        with pytest.raises(Fault, match="no call '0' of tenant 'shop'"):
            rig.orders.kill_call("0", "shop")

    virtual.run(scene())


@pytest.mark.promise(33)
def test_a_name_that_two_tenants_use_kills_nobody_until_it_is_said_whose_is_meant():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        ours = renamed(rig.submit(5, tenant="ours"), "7")
        theirs = renamed(rig.submit(5, tenant="theirs"), "7")
        with pytest.raises(Fault, match="has calls '7' of 2 tenants; say whose is meant") as caught:
            rig.orders.kill_call("7")
        assert caught.value.reason is Reason.INVALID_ORDER
        assert rig.orders.kill_call("7", "theirs") == 1
        await finished([theirs])
        assert theirs.reason is Reason.KILLED
        renamed(ours, "0")  # the rig's own name for it
        await finished([ours])
        assert ours.answered

    virtual.run(scene())


def test_calls_that_their_caller_gave_one_name_are_killed_together():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        calls = [renamed(rig.submit(5), "again") for _ in range(3)]
        assert rig.orders.kill_call("again") == 3
        await finished(calls)
        assert [call.reason for call in calls] == [Reason.KILLED] * 3

    virtual.run(scene())


def test_the_pools_own_work_has_no_name_to_be_killed_by():
    async def scene() -> None:
        with pytest.raises(Fault, match="Name the call") as caught:
            Rig().orders.kill_call("")
        assert caught.value.reason is Reason.INVALID_ORDER

    virtual.run(scene())


class Sharing(SimulatedAdapter):
    """Its connections take two calls at once."""

    async def open(self, tag: Tag) -> LocalConnection:
        """Opens one."""
        connection = await super().open(tag)
        assert isinstance(connection, LocalConnection)
        connection.streams = 2
        return connection


@pytest.mark.promise(33)
def test_a_call_for_which_a_connection_is_being_emptied_waits_and_can_be_killed():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        rig.stand_in(Sharing)
        shared = rig.submit(10)
        await until(lambda: rig.busy() == 1)
        outcomes: list[Outcome] = []
        alone = Turn(rig.now, rig.now + 60, whole=True, operation="work", caller=Caller("shop", "me", "alone"))
        alone.deliver = outcomes.append
        rig.driver.submit(alone)
        assert len(rig.driver.pool.queue) == 0
        assert list(at_work(rig.driver.pool)) == [shared.turn]
        assert list(waiting(rig.driver.pool)) == [alone]
        assert rig.orders.kill_call("alone") == 1
        await until(lambda: outcomes, 0.1)
        assert [outcome.result.reason for outcome in outcomes] == [Reason.KILLED]
        assert list(waiting(rig.driver.pool)) == []

    virtual.run(scene())


@pytest.mark.promise(31)
def test_a_backend_that_is_being_shut_down_takes_no_orders_but_kills():
    async def scene() -> None:
        rig = Rig({"cap": 2})
        call = rig.submit(5)
        await until(lambda: rig.busy() == 1)
        await rig.driver.drain(2)
        orders = rig.orders
        slots = len(rig.driver.pool.ledger.slots)
        for order in (orders.resume, orders.pause, orders.drain, orders.retire, lambda: orders.set_cap(9)):
            with pytest.raises(Fault, match="is being shut down and takes no orders but kills") as caught:
                order()
            assert caught.value.reason is Reason.DRAINING
        assert rig.driver.pool.draining
        assert len(rig.driver.pool.ledger.slots) == slots
        await finished([call])

    virtual.run(scene())


@pytest.mark.promise(33)
def test_a_stuck_call_can_be_killed_while_its_backend_is_being_shut_down():
    async def scene() -> None:
        rig = Rig({"cap": 1})
        stuck = rig.submit(1000)
        await until(lambda: rig.busy() == 1)
        begun = rig.now
        draining = asyncio.ensure_future(rig.driver.drain(300))
        await until(lambda: rig.driver.ending)
        rig.kill(stuck)
        await draining
        assert stuck.reason is Reason.KILLED
        assert rig.now - begun < 10
        assert rig.system.counts().total == 0

    virtual.run(scene())


@pytest.mark.promise(33)
def test_each_order_that_was_carried_out_is_noted_with_what_was_before_and_after():
    async def scene() -> None:
        rig = Rig({"cap": 2})
        rig.orders.set_cap(1)
        rig.orders.pause()
        rig.orders.drain()
        rig.orders.resume()
        rig.orders.retire()
        calls = [renamed(rig.submit(5, tenant="shop"), "0") for _ in range(3)]
        await until(lambda: rig.busy() == 1)
        rig.orders.kill_call("0")
        with pytest.raises(Fault):
            rig.orders.set_cap(0)
        await finished(calls)
        assert [(change.order, change.before, change.after) for change in rig.changes] == [
            ("set_cap", "2", "1"), ("pause", "open", "paused"), ("drain", "paused", "paused and drained"),
            ("resume", "paused and drained", "open"), ("retire", "0", "1"),
            ("kill_call", "1 running, 2 waiting", "killed"),
        ]  # fmt: skip
        assert {change.backend for change in rig.changes} == {"legacy"}
        assert rig.changes[-1].facts == {"request": "0", "tenant": "shop", "operation": "work"}

    virtual.run(scene())


def test_a_reload_ends_what_an_order_said_of_the_cap_and_no_pause():
    async def scene() -> None:
        rig = Rig({"cap": 2})
        configured = rig.driver.pool.rules
        rig.orders.set_cap(5)
        rig.orders.pause()
        rig.driver.reconfigure(rig.driver.kit, replace(configured), rig.driver.bounds)
        assert rig.driver.pool.rules.cap == 2
        assert rig.driver.pool.paused

    virtual.run(scene())
