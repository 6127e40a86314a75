"""All answers of a pooler that are shared, and everything by which they become wrong.

It has the cache, the flights and the epochs of every operation that shares its answers, and of no other. A reload that
changes what makes an operation's answers begins anew with it. Whoever holds answers elsewhere is told of what has been
invalidated before anybody hears of the write that did it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from pooler.clock import Clock, monotonic
from pooler.core.cache import Cache, Entry
from pooler.core.epochs import Epochs, Tag
from pooler.core.flights import Flights
from pooler.errors import Fault, Reason
from pooler.runtime.alarms import Alarms
from pooler.runtime.driver import Driver
from pooler.runtime.record import Change
from pooler.runtime.reuse.flight import FlightTurn
from pooler.runtime.reuse.reading import Reading, Rule
from pooler.runtime.reuse.writing import Ledger
from pooler.runtime.turns import Turn

SOURCES = ("write", "notification", "order", "loss")
"""By what answers are made wrong; the last one is the loss of the connection over which a backend tells of it."""
NAME_TOLD = 200
"""How much of a name is repeated, in characters."""

Told = Callable[[Collection[str], bool], None]
"""Told of tags that have moved, or (True) that nothing may be given again, whatever its tags."""


class Subject(NamedTuple):
    """An operation that shares its answers: whose it is, and how it does."""

    driver: Driver
    rule: Rule


class Answers:
    """They live on one loop. `bytes_max`: what they may take in all."""

    def __init__(self, bytes_max: int, clock: Clock = monotonic) -> None:
        self.clock = clock
        self.epochs = Epochs()
        self.cache = Cache(bytes_max, self.epochs)
        self.flights = Flights(self.cache, self.epochs)
        self.readings: Mapping[str, Reading] = {}
        self.listeners: list[Told] = []
        """Whoever gives answers again somewhere else."""
        self.invalidations: Counter[str] = Counter()
        """How often something was invalidated, by what."""
        self.ledger = Ledger()
        self._strict: Mapping[str, list[Tag]] = {}
        """By backend: what moves with every write to it."""

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one that it lives on."""
        return asyncio.get_running_loop()

    @cached_property
    def alarms(self) -> Alarms:
        """When the time of those is over who wait for somebody else's answer."""
        return Alarms(self.clock, _ring)

    def __repr__(self) -> str:
        return f"Answers({len(self.cache)} kept, {self.cache.bytes} bytes, {len(self.flights)} flights)"

    def install(self, subjects: Mapping[str, Subject]) -> Mapping[str, Reading]:
        """Another configuration. What has changed is another operation, whose answers are not those of the last."""
        before, readings = self.readings, {}
        for name, (driver, rule) in subjects.items():
            reading = before.get(name)
            if reading is None or reading.driver is not driver or reading.rule != rule:
                reading = Reading(self, name, driver, rule)
                if name in before:
                    reading.counts = before[name].counts  # counters that fall are a restart, to whoever reads them
            readings[name] = reading
        self.readings = readings
        self._strict = {}
        for reading in readings.values():
            if reading.rule.strict:
                self._strict.setdefault(reading.driver.name, []).append(reading.tag)
        if gone := [reading for name, reading in before.items() if readings.get(name) is not reading]:
            self._give_up(gone)
            self.cache.purge(_is_over)
        return readings

    def minds(self, backend: str) -> bool:
        """Whether a write to a backend makes any answer wrong, whatever it says that it changes."""
        return backend in self._strict

    def wrote(self, backend: str, tags: Collection[str]) -> None:
        """Something was written to a backend, perhaps, and whoever wrote it has not been told yet."""
        self.invalidations["write"] += 1
        self._move(tags, self._strict.get(backend, ()))

    def heard(self, backend: str, tags: Collection[str]) -> None:
        """A backend has said that these are not what they were: somebody has written to it."""
        self.invalidations["notification"] += 1
        self._move(tags, self._strict.get(backend, ()))

    def distrust(self, backend: str, why: str) -> None:
        """Whatever a backend has answered may be wrong by now."""
        self.invalidations[why] += 1
        self._give_up([reading for reading in self.readings.values() if reading.driver.name == backend])

    def order(self, tags: Collection[str] = (), operation: str = "", everything: bool = False) -> tuple[int, Change]:
        """An administrator's order: by tags, of one operation, or everything. Returns how many answers that were.

        Raises Fault when nothing is named, or there is no such operation, or it shares no answers.
        """
        if not (tags or operation or everything):
            raise Fault(Reason.INVALID_ORDER, "Say what is not true any more: tags, an operation, or everything.")
        if operation and operation not in self.readings:
            sentence = f"There is no operation {operation[:NAME_TOLD]!r} whose answers are shared."
            raise Fault(Reason.OPERATION_NOT_FOUND, sentence)
        self.cache.purge(_is_over)
        before, facts = len(self.cache), {"tags": " ".join(tags)[:NAME_TOLD], "operation": operation}
        self.invalidations["order"] += 1
        self._give_up([reading for name, reading in self.readings.items() if everything or name == operation], tags)
        count = self.cache.purge(_is_over)
        told = {name: text for name, text in facts.items() if text}
        return count, Change("invalidate", "", f"{before} answers", f"{before - count} answers", told)

    def _give_up(self, readings: Collection[Reading], tags: Collection[str] = ()) -> None:
        """Whatever these operations have answered, and what has any of these tags."""
        own = [reading.tag for reading in readings]
        self._move(tags, own, everything=any(reading.rule.near for reading in readings))

    def _move(self, tags: Collection[str], own: Iterable[Tag], everything: bool = False) -> None:
        self.epochs.move(tags, own)
        if tags or everything:
            for told in self.listeners:
                told(tags, everything)


def _is_over(entry: Entry) -> bool:
    return not entry.valid


def _ring(turn: Turn) -> None:
    carrier = getattr(turn, "carrier", None)
    assert isinstance(carrier, FlightTurn), "only those on board of a flight have an alarm here"
    carrier.late(turn)  # type: ignore[arg-type] # whoever is on board is a call
