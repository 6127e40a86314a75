"""Backends that say by themselves what has changed: a channel, on which each line names the tags that are not true now.

A line without any means everything that the backend has ever answered. What was said while nobody could listen is not
known, so everything is given up when the listening breaks off, and once more when it has begun again.
"""

from collections.abc import Mapping

from pooler.runtime.driver import Driver
from pooler.runtime.reuse.room import Answers
from pooler.runtime.watches.listening import Channel, Listening
from pooler.runtime.watches.room import Watches


class Hearing(Channel):
    """One backend's channel."""

    def __init__(self, answers: Answers, backend: str, listening: Listening, channel: str) -> None:
        super().__init__(("invalidations", backend, channel), listening, channel, None)
        self._answers = answers
        self._backend = backend

    def heard(self, payload: str) -> None:
        if tags := payload.split():
            self._answers.heard(self._backend, tags)
        else:
            self._answers.distrust(self._backend, "notification")

    def began(self) -> None:
        super().began()
        self._answers.distrust(self._backend, "loss")

    def broke(self) -> None:
        if self.effect.is_set():
            self._answers.distrust(self._backend, "loss")
        super().broke()


class Hearings:
    """All of a pooler's. They listen over the connections that its watches listen with."""

    def __init__(self, answers: Answers, watches: Watches) -> None:
        self._answers = answers
        self._watches = watches
        self._hearings: dict[tuple[Driver, str], Hearing] = {}

    def install(self, channels: Mapping[Driver, str]) -> None:
        """Another configuration: the channel of each backend that has one."""
        wanted = set(channels.items())
        for place in self._hearings.keys() - wanted:
            self._hearings.pop(place).end()
        for driver, channel in wanted - self._hearings.keys():
            hearing = Hearing(self._answers, driver.name, self._watches.listening(driver), channel)
            self._hearings[driver, channel] = hearing
            hearing.begin()
