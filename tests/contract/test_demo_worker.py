"""The demo's loans system, spoken to as the pool does: what a reader copies has to be right."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from pooler.backends.base import Caller, FailureKind, Operation, Tag, Verdict, Work
from pooler.backends.process.adapter import ProcessAdapter, build
from pooler.backends.process.connection import WorkerConnection
from pooler.backends.process.settings import Settings
from pooler.demo import worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def adapter(tmp_path: Path) -> ProcessAdapter:
    command = (sys.executable, "-m", worker.__name__)
    return build(Settings.model_validate({"command": command, "environment": {"LOANS_LICENCE_FOLDER": str(tmp_path)}}))


@contextlib.asynccontextmanager
async def both_licences(adapter: ProcessAdapter) -> AsyncIterator[list[WorkerConnection]]:
    """As many logins as there are licences, at the same time, since each takes three seconds."""
    async with contextlib.AsyncExitStack() as stack:
        logins = (adapter.open(Tag("test", "loans", slot)) for slot in range(worker.LICENCES))
        connections = await asyncio.gather(*logins)
        for connection in connections:
            stack.push_async_callback(adapter.close, connection, True)
        yield connections


async def ask(adapter: ProcessAdapter, connection: WorkerConnection, method: str, **arguments: Any) -> Any:
    prepared = adapter.prepare(Operation(method, "read", method=method))
    answer = await adapter.execute(connection, Work(prepared, arguments, Caller("acme", "ann", "1"), 10))
    return orjson.loads(answer.body)


async def test_the_loans_system_has_two_licences_and_one_book(adapter: ProcessAdapter) -> None:
    async with both_licences(adapter) as (one, two):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
            await adapter.open(Tag("test", "loans", 3))
        assert adapter.classify(raised.value).kind is FailureKind.LIMIT

        balance = await ask(adapter, one, "balance", loan="L-1017")
        assert await ask(adapter, two, "balance", loan="L-1017") == balance
        statement = await ask(adapter, two, "statement", loan="L-1017")
        payout, *others = statement["rows"]
        assert payout[1:] == ["payout", balance["principal"], balance["principal"]]
        assert sum(Decimal(amount) for _, _, amount, _ in statement["rows"]) == Decimal(balance["balance"])
        assert {booking for _, booking, _, _ in others} == {"interest", "repayment"}

        assert await ask(adapter, one, "note", loan="L-1017", text="called on Monday") == {"rows_affected": 1}
        assert (await ask(adapter, two, "notes", loan="L-1017"))["rows"] == [["called on Monday"]]
        assert (await ask(adapter, two, "notes", loan="L-1018"))["rows"] == []

        with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
            await ask(adapter, one, "balance", loan="1017")
        failure = adapter.classify(raised.value)
        assert failure.kind is FailureKind.USER_ERROR
        assert "numbers run from L-1001 to L-1480" in failure.message
        assert await adapter.reset(one) is Verdict.CLEAN


def test_every_loan_of_the_book_has_a_sound_statement() -> None:
    for number in range(worker.FIRST_LOAN, worker.LAST_LOAN + 1):
        bookings = worker.Loan(f"L-{number}").bookings()
        balances = [Decimal(balance) for *_, balance in bookings]
        assert len(bookings) > 10, number
        assert 0 < balances[-1] < balances[0], number
        assert [day for day, *_ in bookings] == sorted(day for day, *_ in bookings), number
