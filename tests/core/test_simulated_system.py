"""The simulated system's own manners: what it counts, and each way in which it can misbehave."""

import asyncio
from typing import Any

import pytest

from pooler.backends.base import Caller, FailureKind, Operation, Tag, Verdict, Work
from pooler.backends.simulated.adapter import SimulatedAdapter, build
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.backends.simulated.settings import METHODS, Settings
from pooler.backends.simulated.system import Counts, System

pytestmark = pytest.mark.anyio


class Clock:
    """A time that passes only when it is told to, as in a simulation."""

    def __init__(self) -> None:
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((seconds, future))
        await future

    async def wake(self) -> list[float]:
        """Lets everything that sleeps go on, and gives back how long each would have slept."""
        await settle()
        sleepers, self.sleepers = self.sleepers, []
        for _, future in sleepers:
            if not future.done():
                future.set_result(None)
        await settle()
        return [seconds for seconds, _ in sleepers]


async def settle() -> None:
    """Lets every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


def system(clock: Clock, **manners: Any) -> SimulatedAdapter:
    settings = Settings(**manners)
    return build(settings, System(settings, clock.sleep))


async def open_one(adapter: SimulatedAdapter, slot: int = 1) -> SimulatedConnection:
    return await adapter.open(Tag("test", "simulated", slot))


def work(adapter: SimulatedAdapter, method: str, **arguments: Any) -> Work:
    prepared = adapter.prepare(Operation(method, "read", method=method))
    return Work(prepared, arguments, Caller("acme", "ann", "1"), 10)


async def failure_of(adapter: SimulatedAdapter, awaitable: Any) -> FailureKind:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
        await awaitable
    return adapter.classify(raised.value).kind


async def test_a_session_is_counted_from_its_first_moment_to_its_last() -> None:
    clock = Clock()
    adapter = system(clock, start_seconds=30, work_seconds=2, dying_seconds=10)
    counts = adapter.system.counts
    start = asyncio.ensure_future(open_one(adapter))
    await settle()
    assert counts() == Counts(starting=1)
    assert await clock.wake() == [30]
    connection = await start
    assert counts() == Counts(open=1)
    request = asyncio.ensure_future(adapter.execute(connection, work(adapter, "work", seconds=3)))
    await settle()
    assert counts() == Counts(busy=1)
    assert await clock.wake() == [5]
    await request
    close = asyncio.ensure_future(adapter.close(connection, force=False))
    await settle()
    assert counts() == Counts(dying=1)
    assert not close.done()
    assert await clock.wake() == [10]
    assert await close
    assert (counts(), adapter.system.peak) == (Counts(), 1)


async def test_the_peak_counts_the_dying_too() -> None:
    clock = Clock()
    adapter = system(clock, dying_seconds=10)
    for _ in range(3):
        close = asyncio.ensure_future(adapter.close(await open_one(adapter), force=True))
        await settle()
        close.cancel()
    assert adapter.system.counts() == Counts(dying=3)
    assert adapter.system.peak == 3
    await clock.wake()
    assert adapter.system.counts() == Counts()


async def test_a_start_that_is_given_up_dies_like_any_session_and_is_waited_for() -> None:
    clock = Clock()
    adapter = system(clock, start_seconds=30, dying_seconds=10)
    start = asyncio.ensure_future(open_one(adapter))
    await settle()
    start.cancel()
    await settle()
    assert adapter.system.counts() == Counts(dying=1)
    assert not start.done()
    await clock.wake()
    assert start.cancelled()


async def test_licences_are_held_until_the_session_is_gone() -> None:
    clock = Clock()
    adapter = system(clock, limit=1, dying_seconds=10)
    connection = await open_one(adapter)
    close = asyncio.ensure_future(adapter.close(connection, force=True))
    await settle()
    assert await failure_of(adapter, open_one(adapter)) is FailureKind.LIMIT
    await clock.wake()
    assert await close
    await open_one(adapter)


async def test_a_system_that_is_down_says_its_own_words_and_can_come_back() -> None:
    adapter = system(Clock(), refuse="closed until 6 a.m.")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the adapter's classify is what is asked
        await open_one(adapter)
    failure = adapter.classify(raised.value)
    assert (failure.kind, failure.message) == (FailureKind.DEAD, "closed until 6 a.m.")
    adapter.system.behave(refuse=None)
    await open_one(adapter)


async def test_work_goes_on_until_the_cancel_and_stops_with_it() -> None:
    adapter = system(Clock())
    connection = await open_one(adapter)
    request = asyncio.ensure_future(adapter.execute(connection, work(adapter, "work", seconds=60)))
    await settle()
    request.cancel()
    await settle()
    assert adapter.system.counts() == Counts(busy=1)
    assert await adapter.cancel(connection) is Verdict.CLEAN
    assert adapter.system.counts() == Counts(open=1)


async def test_a_system_that_ignores_a_cancel_works_on_even_when_its_client_has_gone() -> None:
    clock = Clock()
    adapter = system(clock, ignore_cancel=True)
    connection = await open_one(adapter)
    request = asyncio.ensure_future(adapter.execute(connection, work(adapter, "work", seconds=60)))
    await settle()
    request.cancel()
    await settle()
    assert await adapter.cancel(connection) is Verdict.DISCARD
    close = asyncio.ensure_future(adapter.close(connection, force=True))
    await settle()
    assert adapter.system.counts() == Counts(dying=1)
    assert await clock.wake() == [60]
    assert await close


async def test_a_session_is_poisoned_after_so_many_requests_and_a_lying_system_hides_it() -> None:
    adapter = system(Clock(), poison_after=2)
    connection = await open_one(adapter)
    for _ in range(2):
        await adapter.execute(connection, work(adapter, "echo", value="x"))
    assert await failure_of(adapter, adapter.validate(connection)) is FailureKind.SESSION_LOST
    adapter.system.behave(lie=True)
    await adapter.validate(connection)
    assert await failure_of(adapter, adapter.execute(connection, work(adapter, "echo", value="x"))) is (
        FailureKind.SESSION_LOST
    )
    assert await adapter.reset(connection) is Verdict.DISCARD


async def test_a_session_dies_in_the_middle_of_its_last_request() -> None:
    adapter = system(Clock(), die_after=2)
    connection = await open_one(adapter)
    await adapter.execute(connection, work(adapter, "echo", value="x"))
    assert await failure_of(adapter, adapter.execute(connection, work(adapter, "echo", value="x"))) is FailureKind.DEAD
    assert adapter.system.counts() == Counts()


async def test_an_answer_that_was_due_in_a_silence_comes_after_it() -> None:
    clock = Clock()
    adapter = system(clock)
    connection = await open_one(adapter)
    request = asyncio.ensure_future(adapter.execute(connection, work(adapter, "work", seconds=5)))
    await settle()
    adapter.system.behave(silent=True)
    assert await clock.wake() == [5]
    assert not request.done()
    assert adapter.system.counts() == Counts(busy=1)
    adapter.system.behave(silent=False)
    assert (await request).body == b'{"result":"done"}'


async def test_a_close_is_ignored_for_a_while_before_the_session_dies() -> None:
    clock = Clock()
    adapter = system(clock, ignore_close_seconds=60, dying_seconds=10)
    close = asyncio.ensure_future(adapter.close(await open_one(adapter), force=True))
    await settle()
    assert adapter.system.counts() == Counts(open=1)
    assert await clock.wake() == [60]
    assert adapter.system.counts() == Counts(dying=1)
    assert await clock.wake() == [10]
    assert await close


async def test_who_watches_the_count_misses_no_moment() -> None:
    adapter = system(Clock())
    connection = await open_one(adapter)
    watch = asyncio.ensure_future(adapter.system.census.until(lambda counts: counts.busy == 1))
    await settle()
    await adapter.execute(connection, work(adapter, "echo", value="x"))
    assert adapter.system.counts() == Counts(open=1)
    assert await watch == Counts(busy=1)


async def test_a_peak_that_was_forgotten_is_counted_anew_from_what_there_is() -> None:
    adapter = system(Clock())
    connections = [await open_one(adapter, slot) for slot in range(3)]
    for connection in connections[1:]:
        await adapter.close(connection, force=False)
    census = adapter.system.census
    assert (census.peak.count, census.peak.counts) == (3, Counts(starting=1, open=2))
    census.forget_peak(0.0)
    assert (census.peak.count, census.peak.counts) == (1, Counts(open=1))


@pytest.mark.parametrize("step", ["open", "validate", "execute", "cancel", "reset"])
async def test_each_step_can_hang_for_ever(step: str) -> None:
    adapter = system(Clock())
    connection = await open_one(adapter)
    steps: dict[str, Any] = {
        "open": lambda: open_one(adapter, 2),
        "validate": lambda: adapter.validate(connection),
        "execute": lambda: adapter.execute(connection, work(adapter, "echo", value="x")),
        "cancel": lambda: adapter.cancel(connection),
        "reset": lambda: adapter.reset(connection),
    }
    adapter.system.behave(hang={step})
    task = asyncio.ensure_future(steps[step]())
    await settle()
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})


async def test_a_client_that_cannot_find_out_does_not_claim_that_the_session_is_gone() -> None:
    clock = Clock()
    adapter = system(clock, confirm_death=False, dying_seconds=10)
    assert await adapter.close(await open_one(adapter), force=True) is False
    assert adapter.system.counts() == Counts(dying=1)
    await clock.wake()


async def test_times_vary_by_the_seed_and_by_nothing_else() -> None:
    async def times(seed: int) -> list[float]:
        clock = Clock()
        adapter = system(clock, start_seconds=10, spread=0.5, seed=seed)
        starts = [asyncio.ensure_future(open_one(adapter, slot)) for slot in range(5)]
        await settle()
        slept = await clock.wake()
        await asyncio.gather(*starts)
        return slept

    one, again, other = await times(1), await times(1), await times(2)
    assert one == again != other
    assert all(5 <= seconds <= 15 for seconds in one)


def test_only_its_own_methods_are_served() -> None:
    for method in METHODS:
        assert Settings.check(Operation("x", "read", method=method)) == []
    [fault] = Settings.check(Operation("x", "read", method="balance"))
    assert "use one of ask, count, echo," in fault
    [fault] = Settings.check(Operation("x", "read", statement="SELECT 1"))
    assert "has no statements" in fault


def test_a_system_at_an_address_has_its_own_manners() -> None:
    assert Settings(address="legacy.example:7600").address == "legacy.example:7600"
    with pytest.raises(ValueError, match="leave out dying_seconds, limit"):
        Settings(address="127.0.0.1:7600", limit=3, dying_seconds=1)


@pytest.mark.parametrize("address", ["7600", "localhost", "a b:1", ":7600", "127.0.0.1:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        Settings(address=address)
