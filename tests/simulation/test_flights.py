"""Identical reads under way: one call of the backend, whoever comes, leaves or runs out of time meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from pooler.core.cache import Terms
from pooler.core.slots import Priority
from pooler.errors import Reason
from tests.simulation import virtual
from tests.simulation.rig import until
from tests.simulation.sharing import PAGE_ROWS, Sharing

NOT_KEPT = Terms()
"""Joined, and forgotten."""


def in_virtual_time(scene: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(scene)
    def test(**fixtures: Any) -> None:
        virtual.run(scene(**fixtures))

    return test


def working(before: float = 1.0, **more: Any) -> Sharing:
    """A backend that takes so long for each read, and whose answers nobody keeps."""
    sharing = Sharing(more.pop("terms", NOT_KEPT), **more)
    sharing.adapter.before = lambda: before
    return sharing


@pytest.mark.promise(25)
@in_virtual_time
async def test_a_thousand_identical_reads_are_one_call_of_the_backend():
    sharing = working()
    calls = [sharing.send() for _ in range(1000)]

    assert [await call.count() for call in calls] == [0] * 1000
    assert sharing.executed == 1
    assert [call.state for call in calls] == ["miss"] + ["joined"] * 999
    assert (sharing.dispatcher.under_way, len(sharing.answers.flights), len(sharing.answers.epochs)) == (0, 0, 0)


@in_virtual_time
async def test_the_order_in_which_arguments_are_written_makes_no_difference():
    sharing = working()
    calls = [sharing.send("rows", count=1, seconds=0), sharing.send("rows", seconds=0, count=1)]

    bodies = [await call.body() for call in calls]

    assert bodies[0] == bodies[1]
    assert sharing.executed == 1


@pytest.mark.promise(25)
@in_virtual_time
async def test_the_others_are_answered_when_the_first_one_leaves():
    sharing = working()
    first, *others = [sharing.send() for _ in range(3)]
    await sharing.begun()
    first.leave()

    assert await first.reason() is Reason.CANCELLED
    assert [await other.count() for other in others] == [0, 0]
    assert sharing.executed == 1


@pytest.mark.promise(25)
@in_virtual_time
async def test_the_last_one_who_leaves_takes_the_work_along():
    sharing = working(before=1000.0)
    calls = [sharing.send() for _ in range(3)]
    await sharing.begun()
    for call in calls:
        call.leave()

    assert [await call.reason() for call in calls] == [Reason.CANCELLED] * 3
    await until(lambda: not sharing.driver.pool.ledger.grants, seconds=5.0)
    assert (len(sharing.answers.flights), len(sharing.answers.epochs)) == (0, 0)


@in_virtual_time
async def test_whoever_comes_after_everybody_has_left_asks_the_backend_himself():
    sharing = working()
    call = sharing.send()
    await sharing.begun()
    call.leave()

    assert await sharing.get() == 0
    assert sharing.executed == 2


@pytest.mark.promise(25, 27)
@in_virtual_time
async def test_an_error_is_told_to_everybody_once_and_kept_for_nobody():
    sharing = working(terms=Terms(30.0))
    calls = [sharing.send("wrong") for _ in range(3)]

    assert [await call.reason() for call in calls] == [Reason.REFUSED] * 3
    assert sharing.executed == 1
    assert await sharing.send("wrong").reason() is Reason.REFUSED
    assert sharing.executed == 2


@pytest.mark.promise(25)
@in_virtual_time
async def test_whoever_runs_out_of_time_at_work_hears_it_alone():
    sharing = working(before=10.0)
    patient, impatient = sharing.send(timeout=60.0), sharing.send(timeout=2.0)
    await impatient.outcome()
    assert (await impatient.reason(), sharing.now - impatient.asked_at) == (Reason.WORK_TIMEOUT, 2.0)

    assert await patient.count() == 0
    assert sharing.executed == 1


@pytest.mark.promise(25)
@in_virtual_time
async def test_a_flight_goes_on_for_whoever_is_more_patient_than_the_first():
    sharing = working(before=10.0)
    impatient, patient = sharing.send(timeout=2.0), sharing.send(timeout=60.0)

    assert await impatient.reason() is Reason.WORK_TIMEOUT
    assert (await patient.count(), sharing.now - patient.asked_at) == (0, 10.0)
    assert sharing.executed == 1


@pytest.mark.promise(25)
@in_virtual_time
async def test_it_waits_for_a_connection_as_long_as_its_most_patient_caller():
    sharing = working(before=10.0, rules={"cap": 1})
    sharing.send("get", "another")
    await sharing.begun()
    impatient, patient = sharing.send(timeout=2.0), sharing.send(timeout=60.0)

    assert (await impatient.reason(), sharing.now - impatient.asked_at) == (Reason.QUEUE_TIMEOUT, 2.0)
    assert await patient.count() == 0
    assert sharing.executed == 2


@pytest.mark.promise(7, 35)
@in_virtual_time
async def test_when_all_have_run_out_of_time_in_the_queue_nothing_is_begun_and_that_is_what_is_counted():
    sharing = working(before=100.0, rules={"cap": 1})
    sharing.send("get", "another")
    await sharing.begun()
    calls = [sharing.send(timeout=seconds) for seconds in (3.0, 1.0, 2.0, 3.0)]

    assert [await call.reason() for call in calls] == [Reason.QUEUE_TIMEOUT] * 4
    assert [call.outcomes[0].timing.queue for call in calls] == [3.0, 1.0, 2.0, 3.0]
    assert sharing.executed == 1
    assert sharing.driver.tally.waits["timed_out"].count == 1
    assert sharing.driver.tally.waits["cancelled"].count == 0


@in_virtual_time
async def test_an_urgent_caller_takes_a_patient_flight_to_the_front():
    sharing = working(rules={"cap": 1})
    sharing.send("get", "at work")
    await sharing.begun()
    batch = sharing.send("get", "both", priority=Priority.BATCH)
    rival = sharing.send("get", "rival", priority=Priority.BATCH)
    urgent = sharing.send("get", "both", priority=Priority.INTERACTIVE)
    before = sharing.send("get", "before all", priority=Priority.BATCH)

    await urgent.count()

    assert not rival.outcomes
    assert not before.outcomes
    assert await batch.count() == 0


@pytest.mark.promise(33)
@in_virtual_time
async def test_an_administrator_who_kills_the_call_ends_it_for_everybody():
    sharing = working(before=1000.0)
    calls = [sharing.send() for _ in range(3)]
    await sharing.begun()
    assert sharing.rig.orders.kill_call(sharing.adapter.asked[0]) == 1

    assert [await call.reason() for call in calls] == [Reason.KILLED] * 3


@pytest.mark.promise(26)
@in_virtual_time
async def test_nothing_is_shared_across_tenants_or_arguments():
    sharing = working(terms=Terms(30.0))
    reads = [
        sharing.send(),
        sharing.send(tenant="other"),
        sharing.send(value="y"),
        sharing.send("get", "x", more=1),
        sharing.send(principal="bob"),  # who is of the same tenant
    ]
    for read in reads:
        await read.count()

    assert [read.state for read in reads] == ["miss", "miss", "miss", "miss", "joined"]


@pytest.mark.promise(26)
@in_virtual_time
async def test_a_principal_has_answers_of_his_own_where_that_is_the_scope():
    sharing = working(terms=Terms(30.0), scope="principal")
    reads = [sharing.send(principal=name) for name in ("ann", "bob", "ann")]
    for read in reads:
        await read.count()

    assert [read.state for read in reads] == ["miss", "miss", "joined"]


@in_virtual_time
async def test_everybody_has_the_same_answers_where_that_is_the_scope():
    sharing = working(terms=Terms(30.0), scope="shared")
    reads = [sharing.send(tenant=name, principal=name) for name in ("ann", "bob")]
    for read in reads:
        await read.count()

    assert [read.state for read in reads] == ["miss", "joined"]


@pytest.mark.promise(26)
@in_virtual_time
async def test_nobody_joins_a_flight_that_may_have_read_before_a_write_that_he_must_see():
    sharing = working(before=0.0)
    sharing.adapter.after = lambda: 10.0  # it has read, and its answer takes its time
    early = sharing.send()
    await sharing.begun()
    sharing.adapter.after = lambda: 0.0
    await sharing.put()
    late = sharing.send()

    assert await late.count() == 1
    assert await early.count() == 0
    assert (early.state, late.state) == ("miss", "miss")


@pytest.mark.promise(17)
@in_virtual_time
async def test_a_lost_connection_is_tried_again_once_for_all_of_them():
    sharing = working(before=0.0)
    await sharing.get("warm")
    for session in list(sharing.system.sessions):
        sharing.system.kill(session)
    calls = [sharing.send() for _ in range(3)]

    assert [await call.count() for call in calls] == [0, 0, 0]
    assert sharing.executed <= 3


@pytest.mark.promise(25)
@in_virtual_time
async def test_callers_by_the_thousand_are_told_in_several_turns_of_the_loop():
    sharing = working()
    calls = [sharing.send() for _ in range(1000)]
    await calls[0].outcome()

    told = sum(bool(call.outcomes) for call in calls)
    assert 0 < told < 1000
    last = calls[-1]
    last.leave()
    assert await last.reason() is Reason.CANCELLED
    assert [await call.count() for call in calls[:-1]] == [0] * 999


# Results that nobody else can go on with


@in_virtual_time
async def test_a_result_of_several_pages_is_the_first_callers_and_all_others_go_on_alone(tmp_path: Path):
    sharing = working(terms=Terms(30.0), folder=tmp_path)
    calls = [sharing.send("rows", principal=name, count=2 * PAGE_ROWS) for name in ("ann", "bob", "cid")]
    bodies = [await call.body() for call in calls]

    assert [body["row_count"] for body in bodies] == [PAGE_ROWS] * 3
    assert len({body["next_cursor"] for body in bodies}) == 3
    for name, body in zip(("ann", "bob", "cid"), bodies, strict=True):
        rest = sharing.send("rows", principal=name, count=2 * PAGE_ROWS, cursor=body["next_cursor"])
        assert (await rest.body())["rows"][0][0] == PAGE_ROWS
    assert sharing.executed == 3


@in_virtual_time
async def test_that_it_has_several_pages_is_remembered_for_its_time(tmp_path: Path):
    sharing = working(terms=Terms(30.0), folder=tmp_path)
    await sharing.send("rows", count=2 * PAGE_ROWS).body()
    pair = [sharing.send("rows", count=2 * PAGE_ROWS) for _ in range(2)]
    for call in pair:
        await call.body()

    assert [call.state for call in pair] == ["alone", "alone"]
    assert sharing.executed == 3


@pytest.mark.promise(25)
@in_virtual_time
async def test_the_pages_are_the_next_callers_when_the_first_one_has_left(tmp_path: Path):
    sharing = working(folder=tmp_path)
    first, second = (sharing.send("rows", principal=name, count=2 * PAGE_ROWS) for name in ("ann", "bob"))
    await sharing.begun()
    first.leave()
    body = await second.body()
    rest = sharing.send("rows", principal="bob", count=2 * PAGE_ROWS, cursor=body["next_cursor"])

    assert (await rest.body())["row_count"] == PAGE_ROWS
    assert sharing.executed == 1


@in_virtual_time
async def test_a_result_of_one_page_is_everybodys(tmp_path: Path):
    sharing = working(terms=Terms(30.0), folder=tmp_path)
    calls = [sharing.send("rows", principal=name, count=PAGE_ROWS) for name in ("ann", "bob")]
    for call in calls:
        assert (await call.body())["row_count"] == PAGE_ROWS

    assert [call.state for call in calls] == ["miss", "joined"]
    assert await sharing.send("rows", count=PAGE_ROWS).body()
    assert sharing.executed == 1


@pytest.mark.promise(31)
@in_virtual_time
async def test_a_backend_that_is_drained_answers_whoever_is_on_board():
    sharing = working()
    calls = [sharing.send() for _ in range(3)]
    await sharing.begun()
    draining = asyncio.ensure_future(sharing.driver.drain(30.0))

    assert [await call.count() for call in calls] == [0, 0, 0]
    await draining
