"""The manners of the simulated system, in both of its forms, each shown by what the system itself counts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from pooler.backends.base import FailureKind, Verdict
from pooler.backends.simulated.census import Counts
from pooler.backends.simulated.connection import SimulatedConnection
from tests.contract.forms import LONG, Form, LocalForm, RemoteForm
from tests.contract.subject import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["local", "remote"])
async def form(request: pytest.FixtureRequest) -> AsyncIterator[Form]:
    """A system with plain manners and no session; what is left of them at the end is ended."""
    if request.param == "local":
        offered: Form = LocalForm()
    else:
        server = request.getfixturevalue("counting_server")
        await asyncio.to_thread(server.forget_peak)
        offered = RemoteForm(server)
    yield offered
    await offered.behave(silent=False)
    await offered.kill()


def begin(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.ensure_future(work)


async def give_up(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=20)
    assert task.cancelled()


async def test_a_session_is_counted_in_each_state_of_its_life(form: Form) -> None:
    await form.behave(start_seconds=LONG)
    doomed = begin(form.open())
    await form.wait(starting=1)
    await form.behave(start_seconds=0, dying_seconds=0.01)
    connection = await form.open(2)
    assert await form.counts() == Counts(starting=1, open=1)
    request = begin(form.ask(connection, "work", seconds=LONG))
    await form.wait(busy=1)
    assert await form.counts() == Counts(starting=1, busy=1)
    await give_up(request)
    assert await form.adapter.cancel(connection) is Verdict.CLEAN
    assert await form.counts() == Counts(starting=1, open=1)
    await give_up(doomed)
    assert await form.adapter.close(connection, force=False)
    assert await form.counts() == Counts()


async def test_the_peak_is_kept_with_its_moment(form: Form) -> None:
    one = await form.open(1)
    first = await form.peak()
    two = await form.open(2)
    second = await form.peak()
    assert await form.adapter.close(one, force=False)
    assert await form.adapter.close(two, force=False)
    assert (first.count, first.counts) == (1, Counts(starting=1))
    assert (second.count, second.counts) == (2, Counts(starting=1, open=1))
    assert 0 < first.at <= second.at
    assert await form.peak() == second


@pytest.mark.parametrize("manners", [{"start_seconds": LONG}, {"hang": ["open"]}, {"silent": True}])
async def test_a_start_without_an_end_counts_until_it_is_given_up(form: Form, manners: dict[str, Any]) -> None:
    await form.behave(**manners)
    start = begin(form.open())
    await form.wait(starting=1)
    start.cancel()
    await form.behave(silent=False)  # a black hole would hear of nothing
    await asyncio.wait({start}, timeout=20)
    assert start.cancelled()
    assert await form.counts() == Counts()


async def test_a_start_that_is_given_up_holds_on_until_the_system_has_forgotten_it(form: Form) -> None:
    await form.behave(hang=["open"], dying_seconds=LONG)
    start = begin(form.open())
    await form.wait(starting=1)
    start.cancel()
    await form.wait(dying=1)
    assert not start.done()
    await form.kill()
    await asyncio.wait({start}, timeout=20)
    assert start.cancelled()


async def test_a_refused_start_has_the_systems_words_and_leaves_nothing(form: Form) -> None:
    await form.behave(refuse="closed until 6 a.m.")
    failure = await form.failure(form.open())
    assert (failure.kind, failure.message) == (FailureKind.DEAD, "closed until 6 a.m.")
    assert (await form.counts(), (await form.peak()).count) == (Counts(), 1)


async def test_who_finds_no_licence_is_not_counted_and_the_dying_hold_theirs(form: Form) -> None:
    await form.behave(limit=2, dying_seconds=LONG)
    one = await form.open(1)
    await form.open(2)
    close = begin(form.adapter.close(one, force=False))
    await form.wait(dying=1)
    failure = await form.failure(form.open(3))
    assert failure.kind is FailureKind.LIMIT
    assert (await form.counts(), (await form.peak()).count) == (Counts(open=1, dying=1), 2)
    await form.kill()
    assert await close
    await form.open(4)


@pytest.mark.parametrize("force", [False, True])
async def test_a_slow_death_is_counted_and_a_close_waits_for_it(form: Form, force: bool) -> None:
    await form.behave(dying_seconds=LONG)
    close = begin(form.adapter.close(await form.open(), force))
    await form.wait(dying=1)
    assert not close.done()
    await form.kill()
    assert await close


async def test_a_close_that_is_given_up_can_be_tried_again(form: Form) -> None:
    await form.behave(dying_seconds=LONG)
    connection = await form.open()
    first = begin(form.adapter.close(connection, force=False))
    await form.wait(dying=1)
    await give_up(first)
    second = begin(form.adapter.close(connection, force=True))
    assert await form.counts() == Counts(dying=1)
    assert not second.done()
    await form.kill()
    assert await second


async def test_a_refused_death_leaves_the_session_open_although_its_client_has_closed(form: Form) -> None:
    await form.behave(ignore_close_seconds=LONG)
    close = begin(form.adapter.close(await form.open(), force=True))
    await eventually(1, form.left, "clients that have closed")
    assert await form.counts() == Counts(open=1)
    assert not close.done()
    await form.kill()
    assert await close


async def test_a_death_that_is_refused_for_a_while_comes_by_itself(form: Form) -> None:
    await form.behave(ignore_close_seconds=0.02, dying_seconds=0.02)
    assert await form.adapter.close(await form.open(), force=False)
    assert await form.counts() == Counts()


async def test_an_ignored_cancel_leaves_the_system_at_work_even_when_its_client_is_gone(form: Form) -> None:
    await form.behave(ignore_cancel=True)
    connection = await form.open()
    request = begin(form.ask(connection, "work", seconds=LONG))
    await form.wait(busy=1)
    await give_up(request)
    assert await form.adapter.cancel(connection) is Verdict.DISCARD
    assert await form.counts() == Counts(busy=1)
    close = begin(form.adapter.close(connection, force=True))
    await form.wait(dying=1)
    assert not close.done()
    await form.kill()
    assert await close


async def test_a_request_that_is_stopped_before_its_first_step_leaves_the_session_free(form: Form) -> None:
    connection = await form.open()
    for number in range(20):
        given_up = begin(form.ask(connection, "work", seconds=LONG))
        await asyncio.sleep(0)
        await give_up(given_up)
        assert await form.adapter.cancel(connection) is Verdict.CLEAN
        assert await form.counts() == Counts(open=1)
        assert (await form.ask(connection, value=number)).body == b'{"result":%d}' % number


async def test_a_poisoned_session_is_hidden_by_a_lying_health_check_and_counts_on(form: Form) -> None:
    await form.behave(poison_after=2)
    connection = await form.open()
    for _ in range(2):
        await form.ask(connection)
    assert (await form.failure(form.adapter.validate(connection))).kind is FailureKind.SESSION_LOST
    await form.behave(lie=True)
    await form.adapter.validate(connection)
    failure = await form.failure(form.ask(connection))
    assert (failure.kind, failure.started) == (FailureKind.SESSION_LOST, False)
    assert await form.adapter.reset(connection) is Verdict.DISCARD
    assert await form.counts() == Counts(open=1)


async def test_a_session_that_dies_in_mid_request_is_gone_at_once(form: Form) -> None:
    await form.behave(die_after=2)
    connection = await form.open()
    await form.ask(connection)
    failure = await form.failure(form.ask(connection))
    assert (failure.kind, failure.started) == (FailureKind.DEAD, True)
    assert await form.counts() == Counts()
    assert await form.adapter.close(connection, force=True)


async def test_a_half_closed_session_serves_no_more_but_counts_until_it_is_closed(form: Form) -> None:
    await form.behave(half_close_after=1, dying_seconds=LONG, lie=True)
    connection = await form.open()
    await form.ask(connection)
    assert (await form.failure(form.ask(connection))).kind is FailureKind.DEAD
    assert (await form.failure(form.adapter.validate(connection))).kind is FailureKind.DEAD
    assert await form.counts() == Counts(open=1)
    close = begin(form.adapter.close(connection, force=True))
    await form.wait(dying=1)
    assert not close.done()  # the end of the stream, which came long ago, is no death
    await form.kill()
    assert await close


async def test_a_black_hole_answers_nobody_hears_no_close_and_counts_on(form: Form) -> None:
    asked, closed = await form.open(1), await form.open(2)
    await form.behave(silent=True)
    request = begin(form.ask(asked))
    close = begin(form.adapter.close(closed, force=True))
    start = begin(form.open(3))
    await form.wait(starting=1, busy=1)
    await eventually(1, form.left, "clients that have closed")
    assert await form.counts() == Counts(starting=1, open=1, busy=1)
    assert [task.done() for task in (request, close, start)] == [False, False, False]
    await form.behave(silent=False)
    await asyncio.gather(request, close, start)
    assert close.result()
    assert await form.counts() == Counts(open=2)


@pytest.mark.parametrize("step", ["validate", "execute", "cancel", "reset"])
async def test_a_step_that_hangs_leaves_its_session_counted(form: Form, step: str) -> None:
    connection = await form.open()
    steps: dict[str, Any] = {
        "validate": lambda: form.adapter.validate(connection),
        "execute": lambda: form.ask(connection),
        "cancel": lambda: form.adapter.cancel(connection),
        "reset": lambda: form.adapter.reset(connection),
    }
    await form.behave(hang=[step])
    task = begin(steps[step]())
    done, _ = await asyncio.wait({task}, timeout=0.05)
    assert not done
    assert await form.counts() == (Counts(busy=1) if step == "execute" else Counts(open=1))
    await give_up(task)
    assert await form.adapter.close(connection, force=True)
    assert await form.counts() == Counts()


async def test_a_client_that_cannot_find_out_claims_no_death(form: Form) -> None:
    await form.behave(confirm_death=False, dying_seconds=LONG)
    connection = await form.open()
    assert await form.adapter.close(connection, force=True) is False
    await form.wait(dying=1)


async def test_a_system_that_keeps_no_traces_forgets_them_with_the_request(form: Form) -> None:
    connection: SimulatedConnection = await form.open()
    await form.behave(leave_traces=False)
    await form.ask(connection, "leave_trace", value="mine")
    assert (await form.ask(connection, "see_trace", any="thing")).body == b'{"result":null}'
