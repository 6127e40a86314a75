"""What a pooler that was killed has left of one backend: slots on their way out, until each death is confirmed.

A slot is taken for every slot file that is there, before anything is started. Worker processes are ended; a server is
asked which sessions it still has, over a connection of the pool, which lies inside the cap like any other; a session
that nobody can tell of is let go after `reap_seconds`, unconfirmed. The driver's tasks do all this.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from pooler.backends.base import Answer, Connection, Notes, Tag
from pooler.errors import Fault
from pooler.runtime import survivors
from pooler.runtime.driver import Driver
from pooler.runtime.slotfiles import Leftover
from pooler.runtime.turns import Errand, Outcome

log = structlog.get_logger(__name__)

ASK_SECONDS = 10.0
"""How long a question may at most wait for a connection, and how long for its answer."""
CENSUS = "penstock census"
"""What its questions are called among the calls; no operation can have this name."""
PAUSE_SECONDS_FIRST = 0.05
PAUSE_SECONDS_MAX = 5.0
"""Between two questions. What was told to end is mostly gone by the second one."""


def adopt(driver: Driver, left: Sequence[Leftover]) -> None:
    """Takes a slot for each, at once, and has the driver wait them out. To be called before `driver.run`."""
    if left:
        Adoption(driver, left).begin()


async def bury(left: Sequence[Leftover]) -> None:
    """Ends worker processes that no backend claims any more. Slots of servers stay written down, for one that may."""
    async for each in survivors.ended([each for each in left if each.orphans == "processes"]):
        log.info("what was left is gone", tag=str(each.tag), confirmed=True)
        each.remove()


class Adoption:
    """The slots of one backend that a killed pooler has left."""

    def __init__(self, driver: Driver, left: Sequence[Leftover]) -> None:
        self._driver = driver
        self._slots = {each: driver.pool.adopt(each.tag.slot, driver.now) for each in left}

    def begin(self) -> None:
        """Leaves the rest to tasks of the driver."""
        log.warning("left by a pooler that was killed", backend=self._driver.name, slots=len(self._slots))
        here = [each for each in self._slots if each.orphans in ("none", "processes", None)]
        self._driver.spawn(self._await_processes(here))
        self._await_sessions([each for each in self._slots if each not in here])

    async def _await_processes(self, left: Sequence[Leftover]) -> None:
        """What can only live on this machine. A broken record may have stood for a session as well."""
        doubtful = []
        async for each in survivors.ended(left):
            if each.orphans is None and self._driver.kit.adapter.traits.orphans in ("listed", "unlisted"):
                doubtful.append(each)
            else:
                self._release(each, certain=True)
        self._await_sessions(doubtful)

    def _await_sessions(self, left: Sequence[Leftover]) -> None:
        """What a server may still have. One of another kind than today's is none that today's adapter can ask for."""
        kit = self._driver.kit
        listed = [each for each in left if kit.adapter.traits.orphans == "listed" and each.kind in (kit.kind, None)]
        self._driver.spawn(self._ask_for(listed))
        self._driver.spawn(self._wait_out([each for each in left if each not in listed]))

    async def _wait_out(self, left: Sequence[Leftover]) -> None:
        """Nobody can be asked: each waits out its time, which began with its close if there was one."""
        began = self._driver.now
        for each in sorted(left, key=lambda each: each.closed_seconds, reverse=True):
            until = began + self._driver.bounds.reap - each.closed_seconds
            await asyncio.sleep(max(0.0, until - self._driver.now))
            self._release(each, certain=False)

    async def _ask_for(self, left: Sequence[Leftover]) -> None:
        """Asks again and again, until the backend has none of them, or nobody knows for `reap` seconds."""
        driver, pause = self._driver, PAUSE_SECONDS_FIRST
        waiting = await self._make_room(left)
        until = dict.fromkeys(waiting, driver.now + driver.bounds.reap)
        while until:
            # What had to be let go unconfirmed is asked for too: the backend may end what it finds.
            listing = await self._listing(left, min(until.values()) - driver.now)
            for each in list(until):
                lives = listing.get(each.tag)
                if lives:
                    until[each] = driver.now + driver.bounds.reap
                elif lives is False or driver.now >= until[each]:
                    del until[each]
                    self._release(each, certain=lives is False)
            await asyncio.sleep(max(0.0, min(pause, min(until.values()) - driver.now)) if until else 0)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    async def _make_room(self, left: Sequence[Leftover]) -> list[Leftover]:
        """Those that are left once there is a connection to ask with.

        Where they fill the cap there is none. A server that watches its sockets has dropped them all by itself within
        `orphan_seconds`; of another one nobody knows. After that time the oldest go, unconfirmed, for one place.
        """
        pool, traits, reap = self._driver.pool, self._driver.kit.adapter.traits, self._driver.bounds.reap
        waiting = list(left)
        if waiting and not traits.reserve and len(self._slots) >= pool.rules.places:
            await asyncio.sleep(reap if traits.orphan_seconds is None else min(traits.orphan_seconds, reap))
            # Counted beforehand: what one of them frees is taken for a start at once.
            for _ in range(min(len(waiting), len(self._slots) - pool.rules.places + 1)):
                self._release(waiting.pop(0), certain=False)
        return waiting

    async def _listing(self, left: Sequence[Leftover], seconds: float) -> Mapping[Tag, bool]:
        """What the backend says of them; nothing where it does not answer in this time."""
        driver, asked = self._driver, {each.tag: each.notes for each in left}
        seconds = max(0.0, min(seconds, ASK_SECONDS))
        try:
            if not driver.kit.adapter.traits.reserve:
                return await self._over_a_connection(asked, seconds)
            async with asyncio.timeout(seconds), driver.side_channels:
                return await driver.kit.adapter.census(None, asked)
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything: whatever it is, nobody knows more
            log.info("the backend does not tell what was left", backend=driver.name, error=type(error).__name__)
            return {}

    async def _over_a_connection(self, asked: Mapping[Tag, Notes], seconds: float) -> Mapping[Tag, bool]:
        """Asks over a connection of the pool, first in line. Raises the Fault when there is none in time."""
        driver = self._driver
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        listing: dict[Tag, bool] = {}

        async def ask(connection: Connection) -> Answer:
            listing.update(await driver.kit.adapter.census(connection, asked))
            return Answer(b"{}")

        def hear(outcome: Outcome) -> None:
            if not answered.done():
                answered.set_result(outcome)

        now = driver.now
        turn = Errand(
            now,
            now + seconds,
            now + seconds + ASK_SECONDS,
            operation=CENSUS,
            whole=True,
            timeout_seconds=ASK_SECONDS,
        )
        turn.work, turn.deliver = ask, hear
        driver.send(turn)
        outcome = await answered
        if isinstance(outcome.result, Fault):
            raise outcome.result
        return listing

    def _release(self, left: Leftover, certain: bool) -> None:
        log.info("what was left is gone", tag=str(left.tag), confirmed=certain)
        left.remove()
        self._driver.let_go(self._slots.pop(left), certain)
