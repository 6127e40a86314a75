"""A pool in the hands of a test: time is told, and what happens to the pool has short names. It decides nothing."""

from dataclasses import replace
from typing import Any

from pooler.core.actions import Action, Offer, Open
from pooler.core.pool import Pool
from pooler.core.rules import Fate, Rules
from pooler.core.slots import Priority, Slot, Waiter
from pooler.core.states import GrantState


class Scene:
    """A pool, what time it is, and short words for what happens to it. Its jitter is constant."""

    def __init__(self, jitter: float = 0.0, **rules: Any) -> None:
        self.now = 1000.0
        self.pool = Pool(Rules(**{"cap": 2, **rules}), lambda: jitter)

    def later(self, seconds: float) -> None:
        """Lets time pass, and nothing else."""
        self.now += seconds

    def waiter(self, patience: float = 3600.0, priority: Priority = Priority.INTERACTIVE) -> Waiter:
        """A caller that comes now."""
        return Waiter(self.now, self.now + patience, priority=priority)

    def ask(self, waiter: Waiter | None = None, again: bool = False) -> tuple[Waiter, list[Action]]:
        """A caller asks for a place."""
        waiter = waiter or self.waiter()
        return waiter, self.pool.ask(waiter, self.now, again)

    def queued(self, patience: float = 3600.0, priority: Priority = Priority.INTERACTIVE) -> Waiter:
        """A caller that asks and has to wait."""
        waiter, actions = self.ask(self.waiter(patience, priority))
        assert not any(isinstance(action, Offer) for action in actions)
        assert waiter in self.pool.queue
        return waiter

    def open(self, slot: Slot, streams: int = 1) -> list[Action]:
        """A start succeeds."""
        return self.pool.opened(slot, streams, self.now)

    def connect(self, count: int = 1, streams: int = 1) -> list[Slot]:
        """So many connections are opened without a caller, as if they had always been there."""
        rules = self.pool.rules
        warming = replace(rules, warm=count, parallel_starts=count)
        slots = started(self.pool.reconfigure(warming, self.now))
        for slot in slots:
            assert self.open(slot, streams) == []
        assert self.pool.reconfigure(rules, self.now) == []
        assert len(slots) == count
        return slots

    def running(self) -> Waiter:
        """A caller that asks, is served at once and begins to work."""
        waiter, actions = self.ask()
        assert Offer(waiter) in actions
        assert self.pool.accept(waiter)
        return waiter

    def finish(self, waiter: Waiter, fate: Fate = Fate.SOUND) -> list[Action]:
        """A caller's work ends."""
        assert waiter.grant in (GrantState.RUNNING, GrantState.CANCELLING)
        return self.pool.finish(waiter, fate, self.now)


def slot_of(waiter: Waiter) -> Slot:
    """The connection that a caller was offered."""
    assert waiter.slot is not None
    return waiter.slot


def started(actions: list[Action]) -> list[Slot]:
    """The slots in which a start was ordered."""
    return [action.slot for action in actions if isinstance(action, Open)]
