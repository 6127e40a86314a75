"""The contract of `pooler/backends/shared.py`, held against every kind whose connections carry many calls at once."""

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import orjson
import pytest

from pooler.backends import shared
from pooler.backends.base import Answer, Connection, FailureKind, Verdict
from pooler.backends.shared import NoPageError, Result
from tests.contract.subject import PAGE_ROWS, Subject, eventually

pytestmark = pytest.mark.anyio

SUBJECTS = ("postgres", "simulated", "simulated_remote")
AT_ONCE = 32


class Sharing:
    """A subject whose connections are shared, and short words for what is done with one of them."""

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.adapter, shared.Adapter)
        self.subject = subject
        self.adapter: shared.Adapter[Any, Any] = subject.adapter

    def submit(self, connection: Connection, name: str, **arguments: Any) -> "Call":
        """Sends a call, and gives back the one who hears of it."""
        call = Call()
        self.adapter.submit(connection, self.subject.work(name, **arguments), call)
        assert not call.results, "it was told before it was sent"
        return call

    def echoes(self, connection: Connection, *words: str) -> list["Call"]:
        return [self.submit(connection, "echo", value=word) for word in words]

    def value(self, result: Result) -> Any:
        """The one value of an echo's answer."""
        assert isinstance(result, Answer), result
        return self.subject.single(orjson.loads(result.body))

    def kind(self, result: Result) -> FailureKind:
        """What a failure means."""
        assert isinstance(result, BaseException)
        return self.adapter.classify(result).kind


class Call:
    """Hears of one call's result, once."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._told = asyncio.Event()

    def __call__(self, result: Result) -> None:
        self.results.append(result)
        self._told.set()

    async def result(self) -> Result:
        async with asyncio.timeout(30):
            await self._told.wait()
        (result,) = self.results
        return result


@pytest.fixture(params=SUBJECTS)
async def sharing(request: pytest.FixtureRequest) -> AsyncIterator[Sharing]:
    module = import_module(f"tests.contract.subjects.{request.param}")
    async with module.subject(request) as subject:
        yield Sharing(subject)


async def test_each_of_many_calls_on_one_connection_hears_its_own_answer(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        for turn in range(3):
            words = [f"{turn}.{number}" for number in range(AT_ONCE)]
            calls = sharing.echoes(connection, *words)
            assert [sharing.value(await call.result()) for call in calls] == words
        assert await sharing.subject.connections() == 1


async def test_a_call_that_comes_while_others_are_told_is_answered_too(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        calls: list[Call] = []

        def again(result: Result) -> None:
            calls.extend(sharing.echoes(connection, "second", "third"))

        sharing.adapter.submit(connection, sharing.subject.work("echo", value="first"), again)
        (last,) = sharing.echoes(connection, "between")
        assert sharing.value(await last.result()) == "between"
        assert [sharing.value(await call.result()) for call in calls] == ["second", "third"]


async def test_one_that_fails_fails_alone(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        before, wrong = *sharing.echoes(connection, "before"), sharing.submit(connection, "wrong")
        behind = sharing.echoes(connection, "behind", "and behind that")
        assert sharing.kind(await wrong.result()) is FailureKind.USER_ERROR
        assert sharing.value(await before.result()) == "before"
        assert [sharing.value(await call.result()) for call in behind] == ["behind", "and behind that"]


async def test_a_shared_answer_is_what_it_would_have_been_alone(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        for name, arguments in (("rows", {"count": PAGE_ROWS}), ("rows", {"count": 0}), ("echo", {"value": "ä\n"})):
            alone = await sharing.adapter.execute(connection, sharing.subject.work(name, **arguments))
            assert await sharing.submit(connection, name, **arguments).result() == alone


@pytest.mark.parametrize("count", [PAGE_ROWS + 1, 5_000])
async def test_a_result_of_more_than_a_page_is_none_and_harms_nobody(sharing: Sharing, count: int) -> None:
    async with sharing.subject.opened() as connection:
        large, behind = sharing.submit(connection, "rows", count=count), sharing.echoes(connection, "behind")
        assert isinstance(await large.result(), NoPageError)
        assert sharing.value(await behind[0].result()) == "behind"


async def test_a_connection_serves_shared_calls_and_whole_ones_in_turn(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        for turn in range(3):
            (call,) = sharing.echoes(connection, f"shared {turn}")
            assert sharing.value(await call.result()) == f"shared {turn}"
            assert sharing.subject.single(await sharing.subject.run(connection, "echo", value="whole")) == "whole"
            assert await sharing.subject.run(connection, "write") == {"rows_affected": 1}
            await sharing.adapter.validate(connection)


async def test_a_connection_that_dies_tells_each_of_its_calls(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        calls = [sharing.submit(connection, "slow", seconds=25), *sharing.echoes(connection, "a", "b", "c")]
        await eventually(1, sharing.subject.busy, "busy connections")
        await sharing.subject.kill(connection)
        assert {sharing.kind(await call.result()) for call in calls} == {FailureKind.DEAD}


async def test_who_stands_at_the_head_is_known_and_those_behind_it_can_be_let_go(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        assert sharing.adapter.at_work(connection) is None
        head = sharing.submit(connection, "slow", seconds=0.3)
        behind = sharing.echoes(connection, "a", "b", "c")
        await eventually(1, sharing.subject.busy, "busy connections")
        assert sharing.adapter.at_work(connection) is head
        sharing.adapter.leave_behind(connection)
        assert isinstance(await head.result(), Answer)
        assert await sharing.adapter.reset(connection) is Verdict.CLEAN
        assert sharing.subject.single(await sharing.subject.run(connection, "echo", value="next")) == "next"
        assert [call.results for call in behind] == [[], [], []]


@pytest.mark.promise(19)
async def test_what_is_stopped_at_the_head_stops_in_the_backend_and_hits_nobody_later(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        for turn in range(3):
            calls = [sharing.submit(connection, "slow", seconds=25), *sharing.echoes(connection, "a", "b")]
            await eventually(1, sharing.subject.busy, "busy connections")
            assert await sharing.adapter.cancel(connection) is Verdict.CLEAN
            await eventually(0, sharing.subject.busy, "busy connections")
            # A cancel that arrives late would hit one of these.
            words = [f"{turn}.{number}" for number in range(5)]
            assert [sharing.value(await call.result()) for call in sharing.echoes(connection, *words)] == words
            assert [call.results for call in calls] == [[], [], []]


async def test_a_connection_is_closed_in_the_midst_of_shared_calls(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        calls = [sharing.submit(connection, "slow", seconds=25), *sharing.echoes(connection, "a", "b")]
        await eventually(1, sharing.subject.busy, "busy connections")
        assert await sharing.adapter.close(connection, force=True)
        assert await sharing.subject.connections() == 0
        assert [call.results for call in calls] == [[], [], []]


async def test_a_connection_that_died_at_rest_refuses_shared_calls_as_dead(sharing: Sharing) -> None:
    async with sharing.subject.opened() as connection:
        (first,) = sharing.echoes(connection, "first")
        await first.result()
        await sharing.subject.kill(connection)
        seen: Result
        try:
            (second,) = sharing.echoes(connection, "second")
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything that its classify knows
            seen = error
        else:
            seen = await second.result()
        assert sharing.kind(seen) is FailureKind.DEAD
