"""The contract of `pooler/backends/base.py`, held against every kind of backend, as the backend itself sees it."""

import asyncio
import contextlib

import pytest

from pooler.backends.base import Answer, Connection, FailureKind, Tag, Verdict
from tests.contract.subject import PAGE_BYTES, PAGE_ROWS, Subject, eventually
from tests.contract.windows import Listener

pytestmark = pytest.mark.anyio

NASTY = [
    'O\'Brien said "no"',
    "'; DROP TABLE orders; --",
    "%s %(value)s :value ? $1 {value} \\",
    '{"jsonrpc": "2.0", "id": 1}\n{"result": null}',
    "line one\r\nline two\ttab",
    "żółw 漢字 🐢 \u2028 é",
    "/* comment */ -- comment # comment",
    "",
]


async def interrupt(subject: Subject, connection: Connection) -> Verdict:
    """Starts slow work, sees it running in the backend, cancels it as the hands do, and gives back the verdict."""
    before = await subject.busy()
    work = asyncio.ensure_future(subject.adapter.execute(connection, subject.work("slow", seconds=25)))
    await eventually(before + 1, subject.busy, "busy connections")
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    assert work.cancelled()
    return await subject.adapter.cancel(connection)


async def failure_of(subject: Subject, connection: Connection, name: str, **arguments: object) -> FailureKind:
    """How the adapter classifies what an operation raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - an adapter may raise anything that its classify knows
        await subject.run(connection, name, **arguments)
    return subject.adapter.classify(raised.value).kind


async def test_an_open_connection_answers(subject: Subject) -> None:
    async with subject.opened() as connection:
        assert subject.single(await subject.run(connection, "echo", value="hello")) == "hello"
        assert await subject.connections() == 1


@pytest.mark.parametrize("value", NASTY)
async def test_an_argument_comes_back_unchanged_whatever_it_holds(subject: Subject, value: str) -> None:
    async with subject.opened() as connection:
        assert subject.single(await subject.run(connection, "echo", value=value)) == value


async def test_a_connection_serves_many_requests_one_after_another(subject: Subject) -> None:
    async with subject.opened() as connection:
        echoes = [subject.single(await subject.run(connection, "echo", value=str(n))) for n in range(20)]
        assert echoes == [str(n) for n in range(20)]


async def test_a_sound_connection_passes_its_validation_and_serves_on(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.adapter.validate(connection)
        assert subject.single(await subject.run(connection, "echo", value="still here")) == "still here"


async def test_a_wrong_request_is_the_callers_error_and_the_connection_serves_on(subject: Subject) -> None:
    async with subject.opened() as connection:
        assert await failure_of(subject, connection, "wrong") is FailureKind.USER_ERROR
        assert subject.single(await subject.run(connection, "echo", value="still here")) == "still here"


async def test_a_write_answers_how_much_it_changed(subject: Subject) -> None:
    async with subject.opened() as connection:
        assert await subject.run(connection, "write") == {"rows_affected": 1}


async def test_a_table_that_fits_its_page_is_whole_and_does_not_say_truncated(subject: Subject) -> None:
    async with subject.opened() as connection:
        table = await subject.run(connection, "rows", count=PAGE_ROWS)
        assert (table["row_count"], len(table["rows"]), "truncated" in table) == (PAGE_ROWS, PAGE_ROWS, False)
        assert all(len(row) == len(table["columns"]) for row in table["rows"])


async def test_a_table_longer_than_its_page_is_cut_and_says_truncated(subject: Subject) -> None:
    async with subject.opened() as connection:
        table = await subject.run(connection, "rows", count=PAGE_ROWS + 1)
        assert (table["row_count"], len(table["rows"]), table["truncated"]) == (PAGE_ROWS, PAGE_ROWS, True)


async def test_a_cut_table_leaves_the_connection_ready_for_the_next_request(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.run(connection, "rows", count=500)
        assert subject.single(await subject.run(connection, "echo", value="next")) == "next"


async def test_a_value_larger_than_a_page_is_refused_and_the_connection_serves_on(subject: Subject) -> None:
    async with subject.opened() as connection:
        assert await failure_of(subject, connection, "echo", value="x" * PAGE_BYTES) is FailureKind.TOO_LARGE
        assert subject.single(await subject.run(connection, "echo", value="small")) == "small"


async def test_news_of_the_work_comes_in_order_and_before_the_answer(subject: Subject) -> None:
    if not subject.tells:
        pytest.skip("this backend does not say how far its work is")
    async with subject.opened() as connection:
        listener = Listener()
        await subject.adapter.execute(connection, subject.work("report", steps=3)._replace(news=listener))
        steps = [("progress", step, 3, f"step {step} of 3") for step in (1, 2, 3)]
        assert listener.told == [*steps, ("log", "info", {"steps": 3})]
        await subject.run(connection, "report", steps=2)
        assert len(listener.told) == 4  # what the next request says is not for the listener of the last


async def test_a_cancelled_request_stops_in_the_backend(subject: Subject) -> None:
    async with subject.opened() as connection:
        verdict = await interrupt(subject, connection)
        if verdict is Verdict.DISCARD:
            assert await subject.adapter.close(connection, force=True)
            assert await subject.connections() == 0
        await eventually(0, subject.busy, "busy connections")


@pytest.mark.promise(19)
async def test_a_connection_that_is_clean_after_a_cancel_serves_the_next_request_unharmed(subject: Subject) -> None:
    async with subject.opened() as connection:
        for n in range(5):
            if await interrupt(subject, connection) is Verdict.DISCARD:
                break
            # A cancel that arrives late would hit one of these.
            echoes = [subject.single(await subject.run(connection, "echo", value=f"{n}.{m}")) for m in range(3)]
            assert echoes == [f"{n}.{m}" for m in range(3)]


async def test_a_cancel_with_nothing_left_to_stop_harms_nothing(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.run(connection, "echo", value="done")
        if await subject.adapter.cancel(connection) is Verdict.CLEAN:
            assert subject.single(await subject.run(connection, "echo", value="next")) == "next"


async def test_what_one_user_leaves_makes_the_connection_dirty(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.run(connection, "leave_trace", value="mine")
        assert connection.dirty
        assert subject.single(await subject.run(connection, "see_trace")) == "mine"


@pytest.mark.promise(18)
async def test_after_a_reset_the_next_user_sees_nothing_of_the_last(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.run(connection, "leave_trace", value="mine")
        if await subject.adapter.reset(connection) is Verdict.CLEAN:
            assert not connection.dirty
            assert subject.single(await subject.run(connection, "see_trace")) is None
            return
        await subject.adapter.close(connection, force=False)
    async with subject.opened() as successor:
        assert subject.single(await subject.run(successor, "see_trace")) is None


async def test_a_connection_that_was_reset_many_times_serves_on(subject: Subject) -> None:
    async with subject.opened() as connection:
        for n in range(5):
            await subject.run(connection, "leave_trace", value=str(n))
            if await subject.adapter.reset(connection) is Verdict.DISCARD:
                return
            assert subject.single(await subject.run(connection, "echo", value=str(n))) == str(n)


async def test_two_connections_do_not_disturb_each_other(subject: Subject) -> None:
    async with subject.opened(1) as one, subject.opened(2) as two:
        assert await subject.connections() == 2
        await subject.run(one, "leave_trace", value="of one")
        assert subject.single(await subject.run(two, "see_trace")) is None
        slow = asyncio.ensure_future(subject.adapter.execute(one, subject.work("slow", seconds=25)))
        await eventually(1, subject.busy, "busy connections")
        assert subject.single(await subject.run(two, "echo", value="meanwhile")) == "meanwhile"
        assert not slow.done()
        slow.cancel()
        await asyncio.wait({slow})
        await subject.adapter.cancel(one)
        assert subject.single(await subject.run(two, "echo", value="unharmed")) == "unharmed"


async def test_a_connection_that_the_backend_ended_is_found_dead(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.kill(connection)
        assert await failure_of(subject, connection, "echo", value="anybody?") is FailureKind.DEAD


async def test_a_connection_that_dies_under_its_request_is_found_dead(subject: Subject) -> None:
    if not subject.dies_at_work:
        pytest.skip("this backend has no side of its own that could end")
    async with subject.opened() as connection:
        work = asyncio.ensure_future(subject.adapter.execute(connection, subject.work("slow", seconds=25)))
        await eventually(1, subject.busy, "busy connections")
        await subject.kill(connection)
        await asyncio.wait({work}, timeout=10)
        error = work.exception()
        assert error is not None
        assert subject.adapter.classify(error).kind is FailureKind.DEAD


async def test_a_dead_connection_fails_its_validation(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.kill(connection)
        with pytest.raises(Exception) as raised:  # noqa: PT011 - an adapter may raise anything that its classify knows
            await subject.adapter.validate(connection)
        assert subject.adapter.classify(raised.value).kind is FailureKind.DEAD


@pytest.mark.promise(1)
@pytest.mark.parametrize("force", [False, True])
async def test_a_close_returns_when_the_backend_has_dropped_the_connection(subject: Subject, force: bool) -> None:
    async with subject.opened(1) as closing, subject.opened(2) as staying:
        assert await subject.adapter.close(closing, force=force)
        assert await subject.connections() == 1
        assert subject.single(await subject.run(staying, "echo", value="still here")) == "still here"


async def test_a_connection_is_closed_by_force_in_the_middle_of_its_work(subject: Subject) -> None:
    async with subject.opened() as connection:
        work = asyncio.ensure_future(subject.adapter.execute(connection, subject.work("slow", seconds=25)))
        await eventually(1, subject.busy, "busy connections")
        work.cancel()
        await asyncio.wait({work})
        assert await subject.adapter.close(connection, force=True)
        assert await subject.connections() == 0
        await eventually(0, subject.busy, "busy connections")


async def test_a_dead_connection_can_be_closed_and_closed_again(subject: Subject) -> None:
    async with subject.opened() as connection:
        await subject.kill(connection)
        assert await subject.adapter.close(connection, force=False)
        assert await subject.adapter.close(connection, force=True)
        assert await subject.connections() == 0


async def test_a_start_that_is_cancelled_at_any_point_leaves_nothing_behind(subject: Subject) -> None:
    # Each round lets the start come a few steps further before it is cancelled.
    for steps in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
        start = asyncio.ensure_future(subject.adapter.open(Tag("contract", "subject", steps)))
        for _ in range(steps):
            await asyncio.sleep(0)
        start.cancel()
        await asyncio.wait({start})
        if not start.cancelled():
            assert await subject.adapter.close(start.result(), force=True)
        assert await subject.connections() == 0, f"cancelled after {steps} steps"


async def test_a_failed_start_says_what_is_wrong_and_shows_no_secret(subject: Subject) -> None:
    adapter = subject.unreachable()
    if adapter is None:
        pytest.skip("this backend cannot be out of reach")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - an adapter may raise anything that its classify knows
        await adapter.open(Tag("contract", "subject", 1))
    failure = adapter.classify(raised.value)
    assert failure.kind in (FailureKind.DEAD, FailureKind.AUTH, FailureKind.LIMIT)
    assert len(failure.message) > len("failed")
    if subject.secret:
        assert subject.secret not in failure.message
    assert await subject.connections() == 0


async def test_a_backend_that_is_full_is_recognised_and_serves_again_when_there_is_room(subject: Subject) -> None:
    limited = subject.limited()
    if limited is None:
        pytest.skip("nothing limits the connections of this backend")
    adapter, limit = limited
    async with contextlib.AsyncExitStack() as stack:
        connections = []
        for slot in range(limit):
            connection = await adapter.open(Tag("contract", "subject", slot))
            stack.push_async_callback(adapter.close, connection, True)
            connections.append(connection)
        with pytest.raises(Exception) as raised:  # noqa: PT011 - an adapter may raise anything that its classify knows
            await adapter.open(Tag("contract", "subject", limit))
        assert adapter.classify(raised.value).kind is FailureKind.LIMIT
        await adapter.close(connections[0], True)
        successor = await adapter.open(Tag("contract", "subject", limit + 1))
        stack.push_async_callback(adapter.close, successor, True)
        assert isinstance(await adapter.execute(successor, subject.work("echo", value="room")), Answer)


async def test_an_unforeseen_exception_is_a_bug_and_shows_nothing_of_its_text(subject: Subject) -> None:
    failure = subject.adapter.classify(RuntimeError("postgresql://ann:hunter2@db/orders"))
    assert failure.kind is FailureKind.BUG
    assert "hunter2" not in failure.message
