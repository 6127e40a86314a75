"""What a simulated system says by itself, on its channels, to the sessions that listen there. It keeps nothing for
those who come later."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from pooler.backends.base import Notification
from pooler.backends.simulated.census import Session


@dataclass(slots=True)
class Ear:
    """One session's."""

    channels: frozenset[str] = frozenset()
    said: list[Notification] = field(default_factory=list)
    """What it has not asked for yet, the oldest first."""
    something: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is anything, and for ever once nothing more will come."""


class Channels:
    """Who listens where."""

    def __init__(self) -> None:
        self._ears: dict[Session, Ear] = {}

    @property
    def listening(self) -> dict[int, frozenset[str]]:
        """The channels by the numbers of the sessions that listen there."""
        return {session.number: ear.channels for session, ear in self._ears.items() if ear.channels}

    def listen(self, session: Session, channels: Collection[str]) -> None:
        """A session listens on these, and on no others."""
        self._ears.setdefault(session, Ear()).channels = frozenset(channels)

    def keep(self, session: Session, channels: Collection[str]) -> None:
        """A session listens on no others any more."""
        if ear := self._ears.get(session):
            ear.channels &= frozenset(channels)

    def say(self, channel: str, payload: str = "") -> None:
        """Something has happened."""
        for ear in self._ears.values():
            if channel in ear.channels:
                ear.said.append(Notification(channel, payload))
                ear.something.set()

    async def heard(self, session: Session) -> list[Notification]:
        """What was said, as soon as there is something; nothing when the session listens no more."""
        ear = self._ears[session]
        await ear.something.wait()
        said = list(ear.said)
        ear.said.clear()
        if session in self._ears:
            ear.something.clear()
        return said

    def forget(self, session: Session) -> None:
        """A session listens no more."""
        if ear := self._ears.pop(session, None):
            ear.something.set()
