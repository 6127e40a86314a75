"""Results that a worker brings page by page: who asks for the next one, who gives back the rest, what may go wrong."""

import asyncio
import contextlib
from pathlib import Path

import orjson
import pytest

from pooler.backends.base import FailureKind, Verdict
from pooler.backends.process.connection import WorkerConnection
from tests.contract.scripted import Scripted, failure_of
from tests.contract.windows import Reader

pytestmark = pytest.mark.anyio

PAGED = """
def page(request, *numbers, more=True, **columns):
    answer(request, {"resultType": "page", "rows": [[number] for number in numbers], "more": more, **columns})

def first(request, *numbers, more=True):
    page(request, *numbers, more=more, columns=["n"])

def expect(method, number):
    request = read()
    assert (request["method"], request["params"]) == (method, {"id": number}), request
    return request

log_in(methods=["cancel"])
request = read()
"""


def paged(folder: Path, body: str) -> Scripted:
    """A worker whose first request was read; the lines say what it does then."""
    return Scripted(folder, PAGED + body)


async def is_unharmed(scripted: Scripted, connection: WorkerConnection) -> None:
    assert orjson.loads(await scripted.ask(connection, a=1)) == {"a": 1}
    await scripted.adapter.close(connection, force=True)


async def cancelled(scripted: Scripted, connection: WorkerConnection, reader: Reader) -> Verdict:
    """Leaves the work when the reader has got its first batch."""
    work = asyncio.ensure_future(scripted.work(connection, window=reader))
    async with asyncio.timeout(10):
        await reader.waits.wait()
    reader.go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    return await scripted.adapter.cancel(connection)


async def test_a_worker_is_told_to_stop_a_page_that_is_not_read_to_its_end(tmp_path: Path) -> None:
    body = """
    log_in()
    request = read()
    answer(request, {"resultType": "page", "columns": ["n"], "rows": [[1]], "more": True})
    stop = read()
    assert (stop["method"], stop["params"]) == ("stop", {"id": request["id"]})
    answer(stop, {})
    serve()
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    table = orjson.loads(await scripted.ask(connection))
    assert table == {"columns": ["n"], "rows": [[1]], "row_count": 1, "truncated": True}
    assert orjson.loads(await scripted.ask(connection, a=1)) == {"a": 1}
    await scripted.adapter.close(connection, force=True)


async def test_a_worker_that_does_not_stop_a_page_answers_it_and_serves_nobody_else(tmp_path: Path) -> None:
    body = """
    log_in()
    request = read()
    answer(request, {"resultType": "page", "columns": ["n"], "rows": [[1]], "more": True})
    write(id=read()["id"], error={"code": -32601, "message": "no such method"})
    serve()
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    assert orjson.loads(await scripted.ask(connection))["rows"] == [[1]]
    assert connection.broken == "did not stop a page when asked to: no such method"
    await scripted.adapter.close(connection, force=True)


async def test_each_page_is_asked_for_until_the_last_one(tmp_path: Path) -> None:
    body = """
first(request, 1, 2)
page(expect("next", request["id"]), 3, columns=["n"])
page(expect("next", request["id"]))
page(expect("next", request["id"]), 4, more=False)
serve()
"""
    scripted = paged(tmp_path, body)
    connection = await scripted.open()
    reader = Reader()
    await scripted.work(connection, window=reader)
    assert (reader.columns, reader.rows, reader.more) == (["n"], [[1], [2], [3], [4]], False)
    await is_unharmed(scripted, connection)


async def test_a_page_longer_than_a_batch_is_taken_in_pieces_and_may_be_left_in_the_middle(tmp_path: Path) -> None:
    scripted = paged(tmp_path, "first(request, *range(100), more=False)\nserve()")
    connection = await scripted.open()
    reader = Reader(batch_rows=10, rows_max=25)
    await scripted.work(connection, window=reader)
    assert (reader.batches, reader.more) == ([10, 10, 10], True)
    await is_unharmed(scripted, connection)


async def test_a_result_that_nobody_wants_to_its_end_is_given_back_once(tmp_path: Path) -> None:
    body = """
first(request, 1, 2)
page(expect("next", request["id"]), 3, 4)
answer(expect("stop", request["id"]), {})
serve()
"""
    scripted = paged(tmp_path, body)
    connection = await scripted.open()
    reader = Reader(batch_rows=2, rows_max=3)
    await scripted.work(connection, window=reader)
    assert (reader.rows, reader.more, connection.cursors) == ([[1], [2], [3], [4]], True, set())
    await is_unharmed(scripted, connection)


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("answer(more, {'rows': []})", FailureKind.BUG, "with what is no page"),
        ("page(more, 3, columns=['m'])", FailureKind.BUG, "other columns than on the first page: ['m']"),
        ("page(more, [3, 4])", None, ""),
        ("answer(more, {'resultType': 'page', 'rows': [[1, 2]], 'more': True})", FailureKind.BUG, "lists of 1 cells"),
        ("write(id=more['id'], error={'message': 'the tape broke'})", FailureKind.USER_ERROR, "the tape broke"),
    ],
)
async def test_what_comes_instead_of_the_next_page_ends_the_result_and_nothing_of_it_is_left(
    tmp_path: Path, line: str, kind: FailureKind | None, said: str
) -> None:
    """The worker takes a `stop` of what it still holds; after an error it holds nothing, and is not asked."""
    scripted = paged(tmp_path, f"first(request, 1)\nmore = expect('next', request['id'])\n{line}\nserve()")
    connection = await scripted.open()
    reader = Reader(rows_max=None if kind else 2)
    if kind is None:
        await scripted.work(connection, window=reader)
        assert reader.rows == [[1], [[3, 4]]]  # a cell may be a list
    else:
        found, message = await failure_of(scripted, scripted.work(connection, window=reader))
        assert (found, reader.more) == (kind, None)
        assert said in message
    assert connection.cursors == set()
    await is_unharmed(scripted, connection)


async def test_a_row_that_fits_no_page_has_the_rest_given_back(tmp_path: Path) -> None:
    body = """
first(request, "x" * 10_000)
answer(expect("stop", request["id"]), {})
serve()
"""
    scripted = paged(tmp_path, body)
    connection = await scripted.open()
    kind, _ = await failure_of(scripted, scripted.work(connection, window=Reader()))
    assert kind is FailureKind.TOO_LARGE
    await is_unharmed(scripted, connection)


async def test_a_result_that_is_left_between_two_pages_is_given_back_by_the_cancel(tmp_path: Path) -> None:
    body = "first(request, 1)\nanswer(expect('stop', request['id']), {})\nserve()"
    scripted = paged(tmp_path, body)
    connection = await scripted.open()
    reader = Reader(patient=True)
    work = asyncio.ensure_future(scripted.work(connection, window=reader))
    async with asyncio.timeout(10):
        await reader.waits.wait()
    work.cancel()
    await asyncio.wait({work})
    assert await scripted.adapter.cancel(connection) is Verdict.CLEAN
    await is_unharmed(scripted, connection)


@pytest.mark.parametrize(
    "line",
    [
        "write(id=more['id'], error={'code': -32800, 'message': 'cancelled'})",
        "page(more, 2)\nanswer(expect('stop', request['id']), {})",
        "page(more, 2, more=False)",
    ],
)
async def test_a_result_that_is_left_while_its_next_page_is_awaited_is_cancelled_or_given_back(
    tmp_path: Path, line: str
) -> None:
    """A worker that had finished the page before the cancel came still holds the others."""
    body = f"first(request, 1)\nmore = expect('next', request['id'])\nexpect('cancel', more['id'])\n{line}\nserve()"
    scripted = paged(tmp_path, body)
    connection = await scripted.open()
    assert await cancelled(scripted, connection, Reader(patient=True)) is Verdict.CLEAN
    await is_unharmed(scripted, connection)


async def test_the_first_page_of_a_request_that_is_cancelled_is_given_back(tmp_path: Path) -> None:
    body = "expect('cancel', request['id'])\nfirst(request, 1)\nanswer(expect('stop', request['id']), {})\nserve()"
    scripted = paged(tmp_path, body)
    connection = await scripted.open()
    work = asyncio.ensure_future(scripted.ask(connection))
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait({work})
    assert await scripted.adapter.cancel(connection) is Verdict.CLEAN
    await is_unharmed(scripted, connection)


async def test_a_worker_that_does_not_take_its_rest_back_is_not_clean(tmp_path: Path) -> None:
    scripted = paged(tmp_path, "first(request, 1)\nwhile True: read()")
    connection = await scripted.open()
    reader = Reader(patient=True)
    work = asyncio.ensure_future(scripted.work(connection, window=reader))
    async with asyncio.timeout(10):
        await reader.waits.wait()
    work.cancel()
    await asyncio.wait({work})
    assert await scripted.adapter.cancel(connection) is Verdict.DISCARD
    assert await scripted.adapter.close(connection, force=True)


async def test_results_of_several_streams_are_brought_side_by_side_and_given_back_one_by_one(tmp_path: Path) -> None:
    body = """
    log_in(streams=2)
    left, kept = read(), read()
    for request in (left, kept):
        answer(request, {"resultType": "page", "columns": ["n"], "rows": [[request["id"]]], "more": True})
    while request := read():
        if request["method"] == "next":
            answer(request, {"resultType": "page", "rows": [[request["params"]["id"]]], "more": False})
        elif request["method"] == "stop":
            assert request["params"] == {"id": left["id"]}
            answer(request, {})
        elif "id" in request:
            answer(request, request["params"])
    """
    scripted = Scripted(tmp_path, body)
    connection = await scripted.open()
    readers = Reader(patient=True), Reader(patient=True)
    works = [asyncio.ensure_future(scripted.work(connection, window=reader)) for reader in readers]
    async with asyncio.timeout(10):
        for reader in readers:
            await reader.waits.wait()
    works[0].cancel()
    await asyncio.wait({works[0]})
    assert await scripted.adapter.cancel(connection) is Verdict.CLEAN
    readers[1].go.set()
    await works[1]
    assert (readers[1].rows, readers[1].more) == ([[2], [2]], False)
    await is_unharmed(scripted, connection)
