"""Transactions of a session, as a second connection of the same backend sees them."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from pooler.backends.base import Connection, FailureKind, Verdict
from tests.contract.subject import Subject, eventually
from tests.contract.windows import Reader

pytestmark = [pytest.mark.anyio, pytest.mark.promise(20)]


class Pair:
    """A connection with a transaction, and one that watches."""

    def __init__(self, subject: Subject, session: Connection, watcher: Connection) -> None:
        self.subject, self.adapter = subject, subject.adapter
        self.session, self.watcher = session, watcher
        self.value = uuid.uuid4().hex

    def told(self) -> str:
        """What the adapter says of the transaction."""
        return self.session.transaction

    async def do(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A part of the session's transaction."""
        work = self.subject.work(name, **arguments)._replace(in_transaction=True)
        answer = await self.adapter.execute(self.session, work)
        body: dict[str, Any] = orjson.loads(answer.body)
        return body

    async def failure(self, name: str, **arguments: Any) -> tuple[FailureKind, bool]:
        """What a part of the transaction fails with, and whether it had begun."""
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
            await self.do(name, **arguments)
        failure = self.adapter.classify(raised.value)
        return failure.kind, failure.started

    async def seen(self, connection: Connection) -> int:
        """How often a connection sees the value, outside of any transaction where it watches."""
        if connection is self.session and connection.transaction == "open":
            return int(self.subject.single(await self.do("count", value=self.value)))
        return int(self.subject.single(await self.subject.run(connection, "count", value=self.value)))


@pytest.fixture
async def pair(subject: Subject) -> AsyncIterator[Pair]:
    if subject.adapter.traits.tx == "none":
        pytest.skip("this backend has no transactions")
    async with subject.opened(1) as session, subject.opened(2) as watcher:
        yield Pair(subject, session, watcher)


async def test_what_a_transaction_did_is_seen_by_others_when_it_is_committed_and_not_before(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    assert pair.told() == "open"
    await pair.do("put", value=pair.value)
    assert (await pair.seen(pair.session), await pair.seen(pair.watcher)) == (1, 0)
    await pair.adapter.commit(pair.session)
    assert pair.told() == "none"
    assert await pair.seen(pair.watcher) == 1


async def test_nothing_is_left_of_a_transaction_that_is_rolled_back(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    await pair.do("put", value=pair.value)
    await pair.do("put", value=pair.value)
    await pair.adapter.rollback(pair.session)
    assert pair.told() == "none"
    assert (await pair.seen(pair.session), await pair.seen(pair.watcher)) == (0, 0)


async def test_transactions_follow_one_another_on_a_connection(pair: Pair) -> None:
    for expected in (1, 1, 2, 2):
        await pair.adapter.begin(pair.session)
        await pair.do("put", value=pair.value)
        await (pair.adapter.commit if expected > await pair.seen(pair.watcher) else pair.adapter.rollback)(pair.session)
        assert await pair.seen(pair.watcher) == expected


async def test_a_transaction_makes_its_connection_dirty_and_a_reset_ends_it(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    assert pair.session.dirty
    await pair.do("put", value=pair.value)
    if await pair.adapter.reset(pair.session) is Verdict.CLEAN:
        assert (pair.told(), pair.session.dirty) == ("none", False)
        assert await pair.seen(pair.session) == 0
    assert await pair.seen(pair.watcher) == 0


async def test_a_connection_that_dies_takes_its_transaction_with_it(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    await pair.do("put", value=pair.value)
    await pair.subject.kill(pair.session)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
        await pair.adapter.commit(pair.session)
    assert pair.adapter.classify(raised.value).kind is FailureKind.DEAD
    assert await pair.seen(pair.watcher) == 0


async def test_after_a_statement_that_failed_the_transactions_state_is_told(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    await pair.do("put", value=pair.value)
    assert await pair.failure("wrong") == (FailureKind.USER_ERROR, True)
    if pair.told() == "open":
        await pair.do("put", value=pair.value)
        await pair.adapter.commit(pair.session)
        assert await pair.seen(pair.watcher) == 2
    else:
        assert await pair.failure("put", value=pair.value) == (FailureKind.USER_ERROR, False)
        with pytest.raises(Exception, match="roll it back"):
            await pair.adapter.commit(pair.session)
        await pair.adapter.rollback(pair.session)
        assert await pair.seen(pair.watcher) == 0


async def test_nothing_runs_as_part_of_a_transaction_that_is_over(pair: Pair) -> None:
    assert await pair.failure("put", value=pair.value) == (FailureKind.USER_ERROR, False)
    await pair.adapter.begin(pair.session)
    await pair.adapter.commit(pair.session)
    assert await pair.failure("put", value=pair.value) == (FailureKind.USER_ERROR, False)
    with pytest.raises(Exception, match="is over"):
        await pair.adapter.commit(pair.session)
    assert await pair.seen(pair.watcher) == 0


async def test_after_a_statement_that_was_cancelled_the_transactions_state_is_told(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    work = asyncio.ensure_future(pair.do("slow", seconds=25))
    await eventually(1, pair.subject.busy, "busy connections")
    work.cancel()
    await asyncio.wait({work})
    assert work.cancelled()
    if await pair.adapter.cancel(pair.session) is Verdict.DISCARD:
        return
    if pair.told() == "open":
        await pair.do("put", value=pair.value)
        assert await pair.seen(pair.session) == 1
    else:
        assert await pair.failure("put", value=pair.value) == (FailureKind.USER_ERROR, False)
    await pair.adapter.rollback(pair.session)
    await eventually(0, pair.subject.busy, "busy connections")
    assert (await pair.seen(pair.session), await pair.seen(pair.watcher)) == (0, 0)


async def test_a_result_that_is_stopped_leaves_its_transaction_open(pair: Pair) -> None:
    await pair.adapter.begin(pair.session)
    await pair.do("put", value=pair.value)
    for window in (Reader(batch_rows=10, rows_max=25), None):
        work = pair.subject.work("rows", count=5_000_000)._replace(in_transaction=True, window=window)
        await pair.adapter.execute(pair.session, work)
        assert pair.told() == "open"
    await pair.do("put", value=pair.value)
    await pair.adapter.commit(pair.session)
    assert await pair.seen(pair.watcher) == 2


async def test_a_rollback_without_a_transaction_harms_nothing(pair: Pair) -> None:
    await pair.adapter.rollback(pair.session)
    assert pair.told() == "none"
    assert pair.subject.single(await pair.subject.run(pair.session, "echo", value="still here")) == "still here"
