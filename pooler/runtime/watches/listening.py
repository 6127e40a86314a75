"""One backend's channels, listened to over one of its connections, whoever and however many want to hear.

The connection is a grant of the pool like any other: it waits for its place, counts in the cap, and ends with a drain,
a retirement, a kill or a smaller cap. As long as somebody wants to hear it is then taken anew, and everybody is told of
a change once, since nobody knows what was said in between. It is never the only connection: calls come first.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, ClassVar

import structlog

from pooler.backends.base import Adapter, Answer, BackendError, Caller, Connection, Failure, FailureKind, Notification
from pooler.core.states import ConnectionState
from pooler.errors import Fault
from pooler.runtime.driver import Driver
from pooler.runtime.turns import Errand, Outcome
from pooler.runtime.watches.polling import Spawn
from pooler.runtime.watches.source import Key, Source

log = structlog.get_logger(__name__)

LISTENING = "penstock listening"
"""What it is called among the calls; no operation can have this name."""
LOOK_SECONDS = 0.5
"""How often it looks whether the pool wants its connection back, which tells no grant of that."""
PAUSE_SECONDS_FIRST = 0.1
PAUSE_SECONDS_MAX = 30.0
"""Between two attempts to have a connection."""
PLACES_MIN = 2
"""One to listen with, and one for calls."""
GIVEN_BACK = Answer(b"{}")


@dataclass(slots=True, eq=False)
class Ear(Errand):
    """The turn that holds the connection, for as long as it lasts: nothing can be learned from that."""

    teaches: ClassVar[bool] = False


class Channel(Source):
    """What is said on one channel; with a `payload`, only that, and what has none."""

    def __init__(self, key: Key, listening: "Listening", channel: str, payload: str | None) -> None:
        super().__init__(key)
        self.channel = channel
        self._payload = payload
        self._listening = listening

    def begin(self) -> None:
        self._listening.add(self)

    def end(self) -> None:
        self._listening.remove(self)

    def heard(self, payload: str) -> None:
        """Something was said on it."""
        if not payload or self._payload is None or payload == self._payload:
            self.changed()


class Listening:
    """One backend's. It takes a connection with the first channel, and gives it back with the last."""

    def __init__(self, driver: Driver, spawn: Spawn, jitter: Callable[[], float]) -> None:
        self._driver = driver
        self._spawn = spawn
        self._jitter = jitter
        self._sources: dict[str, dict[Channel, None]] = defaultdict(dict)
        """By their channels; none is empty."""
        self._listened: frozenset[str] = frozenset()
        """The channels on which nothing can be missed at this moment."""
        self._turn: Ear | None = None
        self._moment: asyncio.Timeout | None = None
        """Until when it waits for what is said, before it looks at anything else."""
        self._task: asyncio.Task[None] | None = None
        self._attempts = 0
        """How many there were since the last time that it could listen."""
        self._accounts = count(1)

    def __repr__(self) -> str:
        return f"Listening({self._driver.name}, {len(self._listened)} of {len(self._sources)} channels)"

    def add(self, source: Channel) -> None:
        """One more wants to hear."""
        self._sources[source.channel][source] = None
        if source.channel in self._listened:
            source.began()
            return
        self._wake()
        if self._task is None or self._task.done():
            self._task = self._spawn(self._run())

    def remove(self, source: Channel) -> None:
        """One less does. The connection goes with the last one, or is waited for no more."""
        self._sources[source.channel].pop(source)
        if not self._sources[source.channel]:
            del self._sources[source.channel]
        self._wake()
        if not self._sources and self._turn is not None and self._turn.grant is None:
            self._driver.cancel(self._turn)

    def _wake(self) -> None:
        if self._moment is not None and not self._moment.expired():
            self._moment.reschedule(asyncio.get_running_loop().time())

    async def _run(self) -> None:
        while self._sources:
            if self._possible:
                await self._hold()
            if self._sources:
                await asyncio.sleep(self._pause())

    @property
    def _possible(self) -> bool:
        """Whether a connection can be spared at all."""
        driver, pool = self._driver, self._driver.pool
        spared = pool.adaptive is None or pool.adaptive.grants_max >= PLACES_MIN
        return spared and pool.rules.places >= PLACES_MIN and not pool.draining and not driver.ending

    def _pause(self) -> float:
        longest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2.0 ** min(self._attempts, 20))
        return longest * (1 - 0.5 * self._jitter())

    async def _hold(self) -> None:
        """Has a connection for as long as it lasts."""
        driver, self._attempts = self._driver, self._attempts + 1
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        now = driver.now
        turn = self._turn = Ear(
            asked_at=now,
            give_up_at=now + driver.bounds.start + PAUSE_SECONDS_MAX,
            tenant=f"{LISTENING} {next(self._accounts)}",  # each has its own account: the last one's cost is no debt
            operation=LISTENING,
            whole=True,
            caller=Caller("", "", LISTENING),
            timeout_seconds=float("inf"),
            retried=True,  # what it has heard is of the connection that it was begun on
        )
        turn.work, turn.deliver = self._attend, partial(_settle, ended)
        driver.send(turn)
        try:
            outcome = await ended
        except asyncio.CancelledError:
            driver.cancel(turn)
            raise
        finally:
            self._turn = None
            self._broke()
        self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        if isinstance(outcome.result, Fault) and self._sources:
            reason, words = outcome.result.reason, outcome.result.message
            log.warning("not listening", backend=self._driver.name, reason=reason, error=words)

    def _broke(self) -> None:
        self._listened = frozenset()
        for source in self._all():
            source.broke()

    # On the connection

    async def _attend(self, connection: Connection) -> Answer:
        assert self._turn is not None
        adapter = self._driver.kit_of(self._turn).adapter
        silent_since = self._driver.now
        while self._stays():
            if self._listened != self._sources.keys():
                await self._listen(adapter, connection)
            elif said := await self._said(adapter, connection):
                silent_since = self._driver.now
                self._tell(said)
            elif self._driver.now - silent_since >= self._driver.pool.rules.validate_after_seconds:
                await self._bounded(adapter.validate(connection))  # one that says nothing may have vanished
                silent_since = self._driver.now
        return GIVEN_BACK

    def _stays(self) -> bool:
        """Whether the connection is wanted here, and nowhere else."""
        assert self._turn is not None
        slot = self._turn.slot
        return bool(self._sources) and self._possible and slot is not None and slot.state is ConnectionState.IN_USE

    async def _listen(self, adapter: Adapter[Any, Any], connection: Connection) -> None:
        """Adds and drops channels. What begins is in effect only now."""
        wanted = frozenset(self._sources)
        self._listened &= wanted  # whoever comes back to one that is being dropped has to wait for the next time
        fresh = wanted - self._listened
        await self._bounded(adapter.listen(connection, wanted))
        if not self._listened:
            log.info("listening to a backend", backend=self._driver.name, channels=len(wanted))
        self._listened, self._attempts = wanted, 0
        for source in self._all():
            if source.channel in fresh:
                source.began()

    async def _said(self, adapter: Adapter[Any, Any], connection: Connection) -> Sequence[Notification]:
        """What was said; nothing, after a moment or when it is woken."""
        moment = asyncio.timeout(LOOK_SECONDS)
        try:
            async with moment:
                self._moment = moment
                return await adapter.heard(connection)
        except TimeoutError:
            if not moment.expired():
                raise
            return ()
        finally:
            self._moment = None

    async def _bounded(self, answer: Awaitable[None]) -> None:
        """Waits for what a sound connection answers at once. Raises when it does not."""
        seconds = self._driver.bounds.validate
        bound = asyncio.timeout(seconds)
        try:
            async with bound:
                await answer
        except TimeoutError:
            if not bound.expired():
                raise
            words = f"the connection that listens did not answer within {seconds:g} s"
            raise BackendError(Failure(FailureKind.DEAD, words)) from None

    def _tell(self, said: Sequence[Notification]) -> None:
        for channel, payload in dict.fromkeys(said):
            for source in list(self._sources.get(channel, ())):
                source.heard(payload)

    def _all(self) -> list[Channel]:
        return [source for sources in self._sources.values() for source in sources]


def _settle(ended: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not ended.done():
        ended.set_result(outcome)
