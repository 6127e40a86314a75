"""Sessions under virtual time: what is done in them, and what a call in one hears."""

import asyncio

import pytest

from pooler.core.states import ConnectionState
from pooler.errors import Fault, Reason
from tests.simulation import virtual
from tests.simulation.counter import SHORT, Counter, gives_everything_back, kept, refused
from tests.simulation.rig import finished, until


@pytest.mark.promise(20)
def test_what_is_done_in_a_session_is_seen_there_at_once_and_elsewhere_after_its_commit():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        assert await rig.do("put", session, value=7) == {"rows_affected": 1}
        assert (await rig.do("count", session, value=7))["result"] == 1
        assert await kept(rig, 7) == 0
        assert await rig.do("legacy_commit", session) == {"committed": True}
        assert await kept(rig, 7) == 1
        await gives_everything_back(rig)

    virtual.run(scene())


def test_what_is_rolled_back_has_never_been():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        await rig.do("put", session, value=7)
        assert await rig.do("legacy_rollback", session) == {"rolled_back": True}
        assert await kept(rig, 7) == 0
        await gives_everything_back(rig)

    virtual.run(scene())


@pytest.mark.promise(20)
def test_of_two_calls_at_once_the_second_is_told_that_the_session_is_in_use():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        first = rig.ask("work", session, seconds=3)
        await until(lambda: rig.busy() == 1)
        second, commit = rig.ask("put", session, value=7), rig.ask("legacy_commit", session)
        await finished([second, commit])
        assert (second.reason, commit.reason) == (Reason.SESSION_IN_USE, Reason.SESSION_IN_USE)
        await finished([first])
        assert first.answered
        assert await rig.do("legacy_commit", session) == {"committed": True}
        assert await kept(rig, 7) == 0

    virtual.run(scene())


@pytest.mark.promise(20)
def test_another_callers_handle_is_no_handle():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin(principal="ann")
        faults = []
        for operation in ("put", "legacy_commit", "legacy_rollback"):
            with pytest.raises(Fault) as caught:
                rig.ask(operation, session, principal="bob")
            faults.append(caught.value)
        assert {fault.reason for fault in faults} == {Reason.HANDLE_UNKNOWN}
        assert {fault.message for fault in faults} == {faults[0].message}
        assert await rig.do("legacy_commit", session, principal="ann") == {"committed": True}

    virtual.run(scene())


@pytest.mark.promise(4)
def test_sessions_count_in_the_cap_and_one_too_many_is_refused_with_a_hint_when_to_come_back():
    async def scene() -> None:
        rig = Counter({"cap": 3}, SHORT)
        first, second = await rig.begin(), await rig.begin()
        assert rig.system.counts().total <= 3
        await asyncio.sleep(2)
        fault = await refused(rig, "legacy_begin", "")
        assert fault.reason is Reason.TOO_MANY_SESSIONS
        assert fault.metadata == {"backend": "legacy", "retry_after_ms": "3000"}
        calls = [rig.submit(1.0) for _ in range(4)]
        await until(lambda: rig.busy() == 1)
        assert rig.driver.pool.count(ConnectionState.IN_USE) == 3
        await finished(calls)
        assert len({session.number for call in calls for _, session in call.executed}) == 1
        await asyncio.sleep(float(fault.metadata["retry_after_ms"]) / 1000)
        third = await rig.begin()
        assert {(await refused(rig, "put", session)).reason for session in (first, second)} == {Reason.HANDLE_EXPIRED}
        await rig.do("legacy_rollback", third)
        await gives_everything_back(rig)

    virtual.run(scene())


def test_a_session_waits_in_the_queue_like_a_call_and_says_where_the_time_went():
    async def scene() -> None:
        rig = Counter({"cap": 1}, start_seconds=3)
        first = rig.ask("legacy_begin")
        second = rig.ask("legacy_begin", patience=2.0)
        (outcome, late) = await finished([first, second])
        assert (outcome.timing.start, outcome.timing.queue) == pytest.approx((3, 0))
        assert isinstance(late.result, Fault)
        assert late.result.reason is Reason.START_TIMEOUT
        assert len(rig.desk) == 1

    virtual.run(scene())


def test_a_call_that_is_cancelled_fails_the_transaction_and_only_its_rollback_is_taken_then():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        await rig.do("put", session, value=7)
        call = rig.ask("work", session, seconds=100)
        await until(lambda: rig.busy() == 1)
        rig.leave(call)
        await until(lambda: rig.busy() == 0, 1.0)
        assert call.reason is Reason.CANCELLED
        fault = await refused(rig, "put", session, value=8)
        assert fault.reason is Reason.REFUSED
        assert "has failed (work was cancelled)" in fault.message
        assert "end it with legacy_rollback" in fault.message
        assert (await refused(rig, "legacy_commit", session)).reason is Reason.REFUSED
        assert await rig.do("legacy_rollback", session) == {"rolled_back": True}
        assert (await kept(rig, 7), await kept(rig, 8)) == (0, 0)
        await gives_everything_back(rig)

    virtual.run(scene())


def test_a_call_after_one_whose_caller_has_left_waits_until_that_has_been_stopped():
    async def scene() -> None:
        rig = Counter(transactional=False)
        session = await rig.begin()
        left = rig.ask("work", session, seconds=100)
        await until(lambda: rig.busy() == 1)
        rig.leave(left)
        after = rig.ask("work", session, seconds=1)
        in_use = rig.ask("work", session)
        await finished([after, in_use])
        assert after.answered
        assert in_use.reason is Reason.SESSION_IN_USE
        assert len({each.number for call in (left, after) for _, each in call.executed}) == 1

    virtual.run(scene())


def test_a_slow_call_hears_of_it_at_once_and_the_session_goes_on_to_its_rollback():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        call = rig.ask("work", session, seconds=100, timeout=2.0)
        began = rig.now
        await finished([call])
        assert (call.reason, rig.now - began) == (Reason.WORK_TIMEOUT, pytest.approx(2.0))
        assert "unless its transaction has failed with it" in call.fault.message
        await until(lambda: rig.busy() == 0)
        assert "work took longer than 2 s" in (await refused(rig, "put", session)).message
        await rig.do("legacy_rollback", session)
        await gives_everything_back(rig)

    virtual.run(scene())


def test_a_statement_that_the_backend_refuses_says_what_became_of_the_transaction():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        fault = await refused(rig, "wrong", session)
        assert fault.reason is Reason.REFUSED
        assert "With it the transaction of this session has failed" in fault.message
        assert "end it with legacy_rollback" in fault.message
        await rig.do("legacy_rollback", session)

    virtual.run(scene())


def test_nothing_that_a_session_has_left_is_seen_by_the_next_user_of_its_connection():
    async def scene() -> None:
        rig = Counter({"cap": 1})
        session = await rig.begin()
        await rig.do("leave_trace", session)
        assert (await rig.do("see_trace", session))["result"] is not None
        await rig.do("legacy_commit", session)
        assert (await rig.do("see_trace"))["result"] is None

    virtual.run(scene())
