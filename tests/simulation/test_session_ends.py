"""How sessions end under virtual time, by whatever cause, and what whoever comes too late hears."""

import asyncio
import random
from collections import Counter as Tally
from typing import Any

import pytest

from pooler.backends.base import Answer
from pooler.core.sessions import Limits
from pooler.errors import Fault, Reason
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.counter import SHORT, Counter, gives_everything_back, kept, refused
from tests.simulation.rig import finished, until


@pytest.mark.promise(20)
@pytest.mark.parametrize("operation", ["put", "count", "legacy_commit", "legacy_rollback"])
def test_a_session_that_idles_is_rolled_back_and_whatever_is_asked_of_it_afterwards_is_refused(operation):
    async def scene() -> None:
        rig = Counter({"cap": 1}, SHORT)
        session = await rig.begin()
        await rig.do("put", session, value=7)
        await asyncio.sleep(4.9)
        assert (await rig.do("count", session, value=7))["result"] == 1
        waiting = rig.ask("count", value=7)
        await asyncio.sleep(4.9)
        assert not waiting.outcomes
        await asyncio.sleep(0.2)
        assert [outcome.result for outcome in waiting.outcomes] == [Answer(b'{"result":0}')]
        fault = await refused(rig, operation, session, value=7)
        assert fault.reason is Reason.HANDLE_EXPIRED
        assert "was not used for too long and has been rolled back" in fault.message
        assert await kept(rig, 7) == 0
        await gives_everything_back(rig)

    virtual.run(scene())


@pytest.mark.promise(20)
def test_a_session_ends_with_its_lifetime_however_busy_it_is():
    async def scene() -> None:
        rig = Counter({"cap": 1}, SHORT)
        session = await rig.begin()
        began = rig.now
        await rig.do("put", session, value=7)
        calls = []
        while rig.now < began + 18:
            calls.append(rig.ask("work", session, seconds=3))
            await finished(calls[-1:])
        last = rig.ask("work", session, seconds=9)
        await finished([last])
        assert rig.now == pytest.approx(began + 20)
        assert last.reason is Reason.HANDLE_EXPIRED
        assert "had lasted as long as a session may" in last.fault.message
        assert all(call.answered for call in calls)
        assert await kept(rig, 7) == 0
        await gives_everything_back(rig)

    virtual.run(scene())


@pytest.mark.promise(20)
@pytest.mark.parametrize("busy", [False, True])
def test_a_session_whose_connection_was_killed_tells_its_next_call_that_it_is_gone(busy):
    async def scene() -> None:
        rig = Counter({"cap": 2})
        session = await rig.begin()
        await rig.do("put", session, value=7)
        call = rig.ask("work", session, seconds=10) if busy else None
        await until(lambda: rig.busy() == int(busy))
        for each in list(rig.system.sessions):
            rig.system.kill(each)
        call = call or rig.ask("put", session, value=8)
        await finished([call])
        assert call.reason is Reason.HANDLE_EXPIRED
        assert "It was rolled back with the end of its connection" in call.fault.message
        assert (await refused(rig, "legacy_commit", session)).reason is Reason.HANDLE_EXPIRED
        assert (await kept(rig, 7), await kept(rig, 8)) == (0, 0)
        await gives_everything_back(rig)

    virtual.run(scene())


def test_a_transaction_that_cannot_be_begun_on_a_dead_connection_is_begun_on_another():
    async def scene() -> None:
        rig = Counter({"cap": 2})
        await finished([rig.submit(), rig.submit()])
        for each in list(rig.system.sessions):
            rig.system.kill(each)
        session = await rig.begin()
        assert await rig.do("put", session, value=7) == {"rows_affected": 1}

    virtual.run(scene())


@pytest.mark.promise(20)
def test_a_commit_runs_to_its_end_whoever_waits_for_it_and_the_next_call_hears_what_became_of_it():
    async def scene() -> None:
        rig = Counter(work_seconds=0)
        session = await rig.begin()
        await rig.do("put", session, value=7)
        rig.system.behave(hang=frozenset({"commit"}))
        commit = rig.ask("legacy_commit", session)
        await asyncio.sleep(1)
        rig.leave(commit)
        await asyncio.sleep(1)
        assert commit.reason is Reason.CANCELLED
        assert (await refused(rig, "put", session)).reason is Reason.SESSION_IN_USE
        await asyncio.sleep(10)  # past the bound on a commit here
        fault = await refused(rig, "put", session)
        assert fault.reason is Reason.HANDLE_EXPIRED
        assert "nobody knows whether it took effect" in fault.message

    virtual.run(scene())


@pytest.mark.promise(20)
@pytest.mark.parametrize("how", ["slow", "dead", "killed"])
def test_a_commit_whose_answer_never_came_ends_with_an_honest_unknown(how):
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        rig.system.behave(hang=frozenset({"commit"}))
        commit = rig.ask("legacy_commit", session)
        await asyncio.sleep(1)
        if how == "dead":
            rig.system.kill(rig.system.sessions[0])
        if how == "killed":
            rig.kill(commit)
        await finished([commit])
        assert commit.reason is Reason.OUTCOME_UNKNOWN
        assert "check before you repeat anything" in commit.fault.message
        rig.system.behave(hang=frozenset())
        await until(lambda: len(rig.desk) == 0)  # until then a call hears that the commit is under way
        fault = await refused(rig, "legacy_commit", session)
        assert fault.reason is Reason.HANDLE_EXPIRED
        assert "nobody knows whether it took effect" in fault.message
        await gives_everything_back(rig)

    virtual.run(scene())


def test_a_rollback_that_gets_no_answer_is_one_nevertheless_and_costs_its_connection():
    async def scene() -> None:
        rig = Counter({"cap": 1}, bounds=Bounds(cancel=2.0))
        session = await rig.begin()
        await rig.do("put", session, value=7)
        rig.system.behave(hang=frozenset({"rollback"}))
        assert await rig.do("legacy_rollback", session, timeout=3.0) == {"rolled_back": True}
        await until(lambda: not rig.system.sessions or rig.driver.pool.generation == 0)
        rig.system.behave(hang=frozenset())
        assert await kept(rig, 7) == 0
        await gives_everything_back(rig)

    virtual.run(scene())


def test_an_administrator_can_end_a_session_by_the_name_of_the_call_that_is_under_way_in_it():
    async def scene() -> None:
        rig = Counter()
        session = await rig.begin()
        call = rig.ask("work", session, seconds=100)
        await until(lambda: rig.busy() == 1)
        assert rig.kill(call) == 1
        await finished([call])
        assert call.reason is Reason.KILLED
        fault = await refused(rig, "put", session)
        assert (fault.reason, "ended by an administrator" in fault.message) == (Reason.HANDLE_EXPIRED, True)
        await gives_everything_back(rig)

    virtual.run(scene())


@pytest.mark.promise(31)
def test_a_drain_gives_transactions_their_grace_and_begins_no_new_one():
    async def scene() -> None:
        rig = Counter({"cap": 3}, Limits(sessions_max=3, idle_seconds=100.0))
        committed, forgotten = await rig.begin(), await rig.begin()
        await rig.do("put", committed, value=7)
        await rig.do("put", forgotten, value=8)
        draining = asyncio.ensure_future(rig.driver.drain(30))
        await asyncio.sleep(5)
        assert (await refused(rig, "legacy_begin", "")).reason is Reason.DRAINING
        await rig.do("put", committed, value=7)
        assert await rig.do("legacy_commit", committed) == {"committed": True}
        busy = rig.ask("work", forgotten, seconds=100, timeout=200.0)
        await draining
        assert busy.outcomes
        assert "is being shut down" in (await refused(rig, "put", forgotten)).message
        assert rig.now <= virtual.STARTED_AT + 40
        assert rig.system.sessions == []
        assert rig.system.ledger.kept == [7, 7]

    virtual.run(scene())


def test_a_session_ends_with_the_conversation_that_it_belongs_to():
    async def scene() -> None:
        rig = Counter()
        mine, other = await rig.begin(conversation="c1"), await rig.begin(conversation="c2")
        call = rig.ask("work", mine, seconds=10)
        await until(lambda: rig.busy() == 1)
        rig.desks.end("c1")
        await finished([call])
        assert call.reason is Reason.HANDLE_EXPIRED
        assert "with the end of the conversation" in (await refused(rig, "put", mine)).message
        assert await rig.do("legacy_commit", other) == {"committed": True}

    virtual.run(scene())


def test_after_a_restart_of_the_pooler_a_handle_says_that_its_session_was_lost_and_rolled_back():
    async def scene() -> None:
        before, after = Counter(), Counter()
        session = await before.begin()
        with pytest.raises(Fault) as caught:
            after.ask("put", session)
        assert caught.value.reason is Reason.HANDLE_LOST
        assert "what it had not committed is rolled back" in caught.value.message

    virtual.run(scene())


@pytest.mark.promise(5)
@pytest.mark.parametrize("operation", ["legacy_begin", "put", "legacy_commit", "legacy_rollback"])
def test_at_whatever_step_of_a_call_its_caller_leaves_the_session_ends_and_its_slot_is_free(operation):
    async def scene() -> None:
        rig = Counter({"cap": 2}, SHORT)
        await finished([rig.submit(), rig.submit()])
        for steps in range(24):
            session = "" if operation == "legacy_begin" else await rig.begin()
            call = rig.ask(operation, session, value=steps)
            for _ in range(steps):
                await asyncio.sleep(0)
            rig.leave(call)
            await finished([call])
            assert len(call.outcomes) == 1
            assert call.answered or call.reason is Reason.CANCELLED
            kept_now = rig.system.ledger.kept.count(steps)
            await asyncio.sleep(6)
            assert (len(rig.desk), len(rig.desks)) == (0, 0)
            assert rig.system.ledger.kept.count(steps) == kept_now == 0
        assert call.answered  # the last one left when it had its answer
        await gives_everything_back(rig)

    virtual.run(scene())


@pytest.mark.promise(5, 20)
@pytest.mark.parametrize("seed", range(6))
def test_whenever_callers_leave_no_slot_is_lost_and_only_what_was_committed_is_kept(seed):
    async def scene() -> None:
        limits = Limits(sessions_max=3, idle_seconds=2.0, lifetime_seconds=8.0)
        rig = Counter({"cap": 4}, limits, seed=seed, start_seconds=0.3, dying_seconds=0.2, spread=0.5)
        chance, heard, committed = random.Random(seed), Tally[str](), Tally[int]()

        async def ends(call: Any) -> Any:
            if chance.random() < 0.25:
                await asyncio.sleep(chance.expovariate(4))
                rig.leave(call)
            (outcome,) = await finished([call])
            heard[outcome.result.reason if isinstance(outcome.result, Fault) else "OK"] += 1
            return outcome.result

        async def caller(value: int) -> None:
            begun = await ends(rig.ask("legacy_begin", patience=chance.choice([0.5, 30.0])))
            if isinstance(begun, Fault):
                return
            session = rig.handle(begun)
            done = 0
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(chance.choice([0, 0.1, 1.0, 2.5]))
                operation = chance.choice(["put", "put", "work", "wrong"])
                try:
                    result = await ends(rig.ask(operation, session, value=value, seconds=chance.expovariate(2)))
                except Fault as fault:
                    heard[fault.reason] += 1
                    return
                done += operation == "put" and isinstance(result, Answer)
            try:
                result = await ends(rig.ask(chance.choice(["legacy_commit", "legacy_rollback"]), session))
            except Fault as fault:
                heard[fault.reason] += 1
                return
            if result == Answer(b'{"committed":true}'):
                committed[value] = done

        async def strikes() -> None:
            for _ in range(20):
                await asyncio.sleep(chance.expovariate(0.2))
                if rig.system.sessions:
                    rig.system.kill(chance.choice(rig.system.sessions))

        struck = asyncio.ensure_future(strikes())
        callers = []
        for number in range(80):
            callers.append(asyncio.ensure_future(caller(number)))
            await asyncio.sleep(chance.expovariate(1))
        await asyncio.gather(struck, *callers)
        await asyncio.sleep(30)
        assert {Reason.HANDLE_EXPIRED, Reason.CANCELLED, "OK"} <= heard.keys()
        found = Tally(rig.system.ledger.kept)
        assert {value: found[value] for value in committed if found[value] != committed[value]} == {}
        assert rig.system.peak <= 4
        await gives_everything_back(rig)

    virtual.run(scene())
