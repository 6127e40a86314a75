"""Results that are larger than a page, as every kind of backend brings them to a window."""

import asyncio
import contextlib

import orjson
import pytest

from pooler.backends.base import Connection, FailureKind, Verdict
from tests.contract.subject import PAGE_ROWS, Subject
from tests.contract.windows import Reader

pytestmark = pytest.mark.anyio

COUNT = 457
"""Many batches, and the last one is not full."""
ENDLESS = 5_000_000
"""Rows that nobody could read within the time of a test, or keep."""
BAD_ROW = 300


async def is_unharmed(subject: Subject, connection: Connection) -> None:
    """Three answers, since what was left of a result would be taken for the first."""
    for word in ("one", "two", "three"):
        assert subject.single(await subject.run(connection, "echo", value=word)) == word


async def read(subject: Subject, connection: Connection, reader: Reader, name: str = "rows", **arguments: int) -> bytes:
    answer = await subject.adapter.execute(connection, subject.work(name, **arguments)._replace(window=reader))
    return answer.body


async def cancelled_between_batches(subject: Subject, connection: Connection, count: int) -> Verdict:
    """Begins a result, lets its reader take one batch and no more, and cancels as the hands do."""
    reader = Reader(patient=True)
    work = asyncio.ensure_future(read(subject, connection, reader, count=count))
    async with asyncio.timeout(10):
        await reader.waits.wait()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    assert work.cancelled()
    return await subject.adapter.cancel(connection)


async def test_rows_that_come_in_batches_are_those_that_come_at_once(subject: Subject) -> None:
    async with subject.opened() as connection:
        whole, slow = Reader(batch_rows=10_000), Reader(batch_rows=7)
        for reader in (whole, slow):
            body = await read(subject, connection, reader, count=COUNT)
            assert orjson.loads(body)["rows"] == reader.rows
        assert (len(slow.rows), slow.more) == (COUNT, False)
        assert (slow.columns, slow.rows) == (whole.columns, whole.rows)
        assert max(slow.batches) < COUNT


async def test_the_first_rows_of_a_window_are_those_of_a_page(subject: Subject) -> None:
    async with subject.opened() as connection:
        page = await subject.run(connection, "rows", count=COUNT)
        reader = Reader()
        await read(subject, connection, reader, count=COUNT)
        assert (page["columns"], page["rows"]) == (reader.columns, reader.rows[:PAGE_ROWS])


@pytest.mark.parametrize("count", [0, 1, 10, 11])
async def test_a_small_result_goes_through_a_window_too(subject: Subject, count: int) -> None:
    async with subject.opened() as connection:
        reader = Reader(batch_rows=10)
        await read(subject, connection, reader, count=count)
        assert (len(reader.rows), reader.more) == (count, False)
        assert reader.columns is not None
        await is_unharmed(subject, connection)


async def test_a_result_that_nobody_wants_to_its_end_is_stopped_and_says_that_there_was_more(subject: Subject) -> None:
    async with subject.opened() as connection:
        reader = Reader(batch_rows=10, rows_max=25)
        await read(subject, connection, reader, count=ENDLESS)
        assert reader.more is True
        assert 25 <= len(reader.rows) < 25 + max(reader.batches)
        if connection.broken is None:
            await is_unharmed(subject, connection)


async def test_a_backend_waits_for_a_reader_that_has_no_room(subject: Subject) -> None:
    async with subject.opened(1) as connection, subject.opened(2) as other:
        reader = Reader(batch_rows=10, rows_max=40, patient=True)
        work = asyncio.ensure_future(read(subject, connection, reader, count=ENDLESS))
        async with asyncio.timeout(10):
            await reader.waits.wait()
        await is_unharmed(subject, other)  # time enough for a backend that does not wait
        assert len(reader.batches) == 1
        reader.go.set()
        await work
        assert len(reader.rows) >= 40


@pytest.mark.promise(37)
async def test_a_request_that_is_cancelled_between_two_batches_does_not_reach_the_next_one(subject: Subject) -> None:
    async with subject.opened() as connection:
        for _ in range(3):
            if await cancelled_between_batches(subject, connection, ENDLESS) is Verdict.DISCARD:
                assert await subject.adapter.close(connection, force=True)
                assert await subject.connections() == 0
                return
            await is_unharmed(subject, connection)


@pytest.mark.promise(37)
async def test_a_connection_is_closed_by_force_in_the_midst_of_a_result(subject: Subject) -> None:
    async with subject.opened() as connection:
        reader = Reader(patient=True)
        work = asyncio.ensure_future(read(subject, connection, reader, count=ENDLESS))
        async with asyncio.timeout(10):
            await reader.waits.wait()
        work.cancel()
        await asyncio.wait({work})
        assert await subject.adapter.close(connection, force=True)
        assert await subject.connections() == 0


async def test_a_backend_that_fails_in_the_midst_of_its_rows_says_so_and_serves_on(subject: Subject) -> None:
    async with subject.opened() as connection:
        reader = Reader(batch_rows=10)
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
            await read(subject, connection, reader, "rows_until", count=COUNT, fail_at=BAD_ROW)
        assert subject.adapter.classify(raised.value).kind is FailureKind.USER_ERROR
        assert reader.more is None
        assert 0 < len(reader.rows) <= BAD_ROW
        await is_unharmed(subject, connection)


async def test_a_row_that_its_reader_refuses_ends_the_result_and_the_connection_serves_on(subject: Subject) -> None:
    async with subject.opened() as connection:
        reader = Reader(batch_rows=10)
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
            await read(subject, connection, reader, "rows_too_long", count=COUNT, long_at=BAD_ROW)
        assert subject.adapter.classify(raised.value).kind is FailureKind.TOO_LARGE
        assert 0 < len(reader.rows) <= BAD_ROW
        await is_unharmed(subject, connection)


async def test_a_connection_that_dies_in_the_midst_of_its_rows_is_found_dead(subject: Subject) -> None:
    if not subject.dies_at_work:
        pytest.skip("this backend has no side of its own that could end")
    async with subject.opened() as connection:
        reader = Reader(patient=True)
        work = asyncio.ensure_future(read(subject, connection, reader, count=ENDLESS))
        async with asyncio.timeout(10):
            await reader.waits.wait()
        await subject.kill(connection)
        reader.go.set()
        await asyncio.wait({work}, timeout=20)
        error = work.exception()
        assert error is not None
        assert subject.adapter.classify(error).kind is FailureKind.DEAD
        assert reader.more is None
