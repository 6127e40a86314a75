"""Looks after the calls that are under way the short way, all of them by one timer: a short call needs none.

The timer runs while anything is under way, and a few times a second.
"""

import asyncio
from typing import Protocol

from frontend.auth import Caller
from frontend.hot.heads import Head

PAUSE_SECONDS = 0.25

CATALOGUE_SECONDS = 1.0
"""How long a cold process lets its first calls wait for a catalogue before the long way has to say what is wrong."""


class Waiting(Protocol):
    """A connection with a plain call on it."""

    def take_up(self, head: Head) -> None:
        """There is a catalogue now."""

    def hand_over(self) -> None:
        """There is none."""

    def take_back(self, caller: Caller, conversation: str, id_: bytes) -> bool:
        """Ends this call, by the id of its request; false where it is another one."""

    def grow_older(self, now: float) -> None:
        """Time has passed; `now` is the loop's."""


class Watch:
    """All connections of one process with a plain call under way."""

    def __init__(self) -> None:
        self._calls: dict[Waiting, None] = {}
        self._early: dict[Waiting, tuple[Head, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls) + len(self._early)

    def add(self, connection: Waiting) -> None:
        """A call is under way."""
        self._calls[connection] = None
        if self._timer is None:
            self._again()

    def discard(self, connection: Waiting) -> None:
        """It is no more."""
        self._calls.pop(connection, None)
        if self._early:
            self._early.pop(connection, None)

    def wait(self, connection: Waiting, head: Head) -> None:
        """A call is to be taken up as soon as there is a catalogue."""
        self._early[connection] = (head, asyncio.get_running_loop().time())
        if self._timer is None:
            self._again()

    def take_back(self, caller: Caller, conversation: str, id_: bytes) -> bool:
        """Ends a conversation's call that is under way, by the id of its request; false where there is none."""
        return any(connection.take_back(caller, conversation, id_) for connection in list(self._calls))

    def begin(self) -> None:
        """There is a catalogue."""
        early, self._early = self._early, {}
        for connection, (head, _) in early.items():
            connection.take_up(head)

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in [each for each, (_, since) in self._early.items() if now - since >= CATALOGUE_SECONDS]:
            del self._early[connection]
            connection.hand_over()
        for connection in list(self._calls):
            connection.grow_older(now)
        if self and self._timer is None:
            self._again()
