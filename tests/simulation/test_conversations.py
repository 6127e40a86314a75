"""Conversations over hours of virtual time, used, left and closed at random: what belongs to one ends when it does."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from pooler.core.conversations import Limits
from pooler.errors import Fault, Reason
from pooler.runtime.conversations.conversation import Conversation, RunName
from pooler.runtime.conversations.room import KIND, UPKEEP_SECONDS, Conversations
from pooler.runtime.handles import Sealer
from pooler.runtime.store.memory import MemoryStore
from tests.simulation import virtual

LIMITS = Limits(idle_seconds=60.0, lifetime_seconds=900.0, per_principal_max=4)
PRINCIPALS = ("ann", "bob")


@dataclass(eq=False)
class Thing:
    """Something that a conversation has left open, and that takes a while to end."""

    dice: random.Random
    ended_at: list[float] = field(default_factory=list)

    async def end(self) -> None:
        self.ended_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.dice.random())


@dataclass(eq=False)
class Client:
    """A client's view of its conversation, and when it last used it."""

    conversation: Conversation
    handle: str
    principal: str
    opened_at: float
    used_at: float
    things: list[Thing] = field(default_factory=list)
    runs: list[RunName] = field(default_factory=list)
    closed: bool = False

    def ended(self) -> bool:
        return any(thing.ended_at for thing in self.things)


class World:
    """A room, its clients, and one random step after the other."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clock = asyncio.get_running_loop().time
        self.store = MemoryStore(self.clock)
        self.sealer = Sealer("sim", [bytes(32)], self.clock)
        self.room = Conversations(self.sealer, self.store, LIMITS, self.clock)
        self.clients: list[Client] = []

    async def step(self) -> None:
        client = self.dice.choice(self.clients) if self.clients else None
        match self.dice.choice(["open", "use", "use", "use", "attach", "run", "done", "close", "restart", "pass"]):
            case "open":
                await self.open()
            case "restart" if self.dice.random() < 0.1:
                await self.restart()
            case "close" if client is not None and self.dice.random() < 0.3:
                await self.close(client)
            case "pass":
                await asyncio.sleep(self.dice.expovariate(1 / 20))
            case step if client is not None:
                self.touch(client, step)

    async def open(self) -> None:
        principal = self.dice.choice(PRINCIPALS)
        try:
            opened = await self.room.open("shop", principal)
        except Fault as fault:
            in_use = [each for each in self.clients if each.principal == principal and each.runs]
            self.refused(fault, Reason.STORE_FULL, len(in_use) >= LIMITS.per_principal_max)
            return
        now = self.clock()
        client = Client(opened, self.room.handle(opened), principal, now, now)
        self.clients.append(client)
        self.attach(client)

    def touch(self, client: Client, step: str) -> None:
        """Uses a conversation as its client would; it answers as long as it lives, and with its end afterwards."""
        now = self.clock()
        try:
            conversation = self.room.check(client.handle, "shop", client.principal)
        except Fault as fault:
            self.refused(fault, Reason.HANDLE_EXPIRED, True)
            self.clients.remove(client)  # what it had open has ended, or is about to
            client.closed = True
            return
        assert not client.closed
        assert now < client.opened_at + LIMITS.lifetime_seconds
        assert client.runs or now < client.used_at + LIMITS.idle_seconds
        client.used_at, client.conversation = now, conversation
        if step == "attach":
            self.attach(client)
        elif step == "run":
            client.runs.append(self.room.begin_run(conversation.key))
        elif step == "done" and client.runs:
            self.room.end_run(conversation.key, client.runs.pop())

    def attach(self, client: Client) -> None:
        thing = Thing(self.dice)
        self.room.attach(client.conversation.key, thing)
        client.things.append(thing)

    def refused(self, fault: Fault, reason: Reason, rightly: bool) -> None:
        """What a client was told, and whether there was cause."""
        assert (fault.reason, rightly) == (reason, True)

    async def close(self, client: Client) -> None:
        self.touch(client, "use")
        if client.closed:
            return
        await self.room.close(client.conversation)
        client.closed = True
        assert all(len(thing.ended_at) == 1 for thing in client.things)

    async def restart(self) -> None:
        """Another process goes on; runs and what was open ended with the one before."""
        await self.room.stop()
        self.room = Conversations(self.sealer, self.store, LIMITS, self.clock)
        await self.room.start()
        for client in self.clients:
            client.used_at = self.clock() if client.runs else client.used_at
            client.runs.clear()
            client.things = [thing for thing in client.things if thing.ended_at]


async def live(seed: int) -> None:
    world = World(seed)
    await world.room.start()
    for _ in range(400):
        await world.step()
        for client in world.clients:
            assert all(len(thing.ended_at) <= 1 for thing in client.things)
            if not client.closed and world.room.alive(client.conversation.key):
                assert not client.ended()
    kept = list(world.clients)
    await asyncio.sleep(LIMITS.lifetime_seconds + UPKEEP_SECONDS + 1)
    assert [client for client in kept if world.room.alive(client.conversation.key)] == []
    assert [client for client in kept for thing in client.things if len(thing.ended_at) != 1] == []
    assert await world.store.all(KIND) == []
    await world.room.stop()


@pytest.mark.promise(20)
@pytest.mark.parametrize("seed", range(25))
def test_whatever_clients_do_what_belongs_to_a_conversation_ends_with_it_and_once(seed: int) -> None:
    virtual.run(live(seed))


def test_a_conversation_that_nobody_uses_ends_by_itself_and_soon() -> None:
    async def work() -> None:
        world = World(0)
        await world.room.start()
        opened = await world.room.open("shop", "ann")
        thing = Thing(world.dice)
        world.room.attach(opened.key, thing)

        begun = world.clock()
        await asyncio.sleep(LIMITS.idle_seconds + UPKEEP_SECONDS + 1)

        assert LIMITS.idle_seconds <= thing.ended_at[0] - begun <= LIMITS.idle_seconds + UPKEEP_SECONDS
        assert await world.store.all(KIND) == []
        await world.room.stop()

    virtual.run(work())
