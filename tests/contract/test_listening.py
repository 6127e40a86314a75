"""Backends that tell of changes by themselves: what is said on their channels is heard, all of it, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from pooler.backends.base import Connection, FailureKind, Notification, Verdict
from tests.contract.subject import Subject

pytestmark = pytest.mark.anyio

ORDERS, CRATES = "orders changed", 'Crates "now"'
"""Names as a backend takes them: as they stand, with capitals, spaces and quotes."""
PATIENCE_SECONDS = 10


class Listener:
    """One connection that listens, and what it has heard."""

    def __init__(self, subject: Subject, connection: Connection) -> None:
        self.subject, self.adapter, self.connection = subject, subject.adapter, connection

    async def listen(self, *channels: str) -> None:
        await self.adapter.listen(self.connection, channels)

    async def heard(self, count: int) -> list[Notification]:
        """The next so many."""
        said: list[Notification] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(said) < count:
                said += await self.adapter.heard(self.connection)
        return said

    async def say(self, channel: str, *payloads: str) -> Sequence[Notification]:
        for payload in payloads:
            await self.subject.say(channel, payload)
        return [Notification(channel, payload) for payload in payloads]


@pytest.fixture
async def listener(subject: Subject) -> AsyncIterator[Listener]:
    if not subject.listens:
        pytest.skip("this kind of backend has no channels")
    async with subject.opened() as connection:
        yield Listener(subject, connection)


async def test_what_is_said_on_a_channel_is_heard_in_order_and_with_its_payload(listener: Listener) -> None:
    await listener.listen(ORDERS, CRATES)
    said = [*await listener.say(ORDERS, "1", ""), *await listener.say(CRATES, "ü")]

    assert await listener.heard(3) == said
    assert listener.connection.dirty


async def test_what_is_said_on_other_channels_is_not_heard_and_channels_come_and_go(listener: Listener) -> None:
    await listener.listen(ORDERS)
    await listener.say(CRATES, "unheard")
    first = await listener.say(ORDERS, "1")
    assert await listener.heard(1) == first

    await listener.listen(CRATES)
    await listener.say(ORDERS, "unheard")
    second = await listener.say(CRATES, "2")
    assert await listener.heard(1) == second


async def test_who_stops_waiting_misses_nothing_and_other_work_in_between_swallows_nothing(listener: Listener) -> None:
    await listener.listen(ORDERS)
    waiting = asyncio.ensure_future(listener.adapter.heard(listener.connection))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    said = await listener.say(ORDERS, "1", "2")
    await listener.adapter.validate(listener.connection)

    assert await listener.heard(2) == said


async def test_a_connection_that_is_killed_while_it_listens_is_told_dead(listener: Listener) -> None:
    await listener.listen(ORDERS)
    waiting = asyncio.ensure_future(listener.heard(1))
    await listener.subject.kill(listener.connection)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever classify understands
        await waiting

    assert listener.adapter.classify(raised.value).kind is FailureKind.DEAD


async def test_after_an_interrupt_and_a_reset_a_connection_serves_and_hears_nothing(listener: Listener) -> None:
    await listener.listen(ORDERS)
    waiting = asyncio.ensure_future(listener.adapter.heard(listener.connection))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await listener.adapter.cancel(listener.connection) is Verdict.CLEAN
    assert await listener.adapter.reset(listener.connection) is Verdict.CLEAN
    await listener.say(ORDERS, "unheard")

    assert listener.subject.single(await listener.subject.run(listener.connection, "echo", value="still")) == "still"
    await listener.listen(CRATES)
    said = await listener.say(CRATES, "heard")
    assert await listener.heard(1) == said
