"""What a pooler that was killed has left of one backend: slots on their way out, until each death is confirmed.

A slot is taken for every slot file that is there, before anything is started. Worker processes are ended; a server is
asked which sessions it still has, over a connection of the pool, which lies inside the cap like any other; a session
that nobody can tell of is let go after `reap_seconds`, unconfirmed. The driver's tasks do all this.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import structlog

from pooler.backends.base import Answer, Connection, Notes, Tag
from pooler.errors import Fault
from pooler.runtime import survivors
from pooler.runtime.driver import Driver
from pooler.runtime.slotfiles import Leftover
from pooler.runtime.turns import Outcome, Turn

log = structlog.get_logger(__name__)

ASK_SECONDS = 10.0
"""How long a question may wait for a connection, and how long for its answer."""
PAUSE_SECONDS_FIRST = 0.05
PAUSE_SECONDS_MAX = 5.0
"""Between two questions. What was told to end is mostly gone by the second one."""

Listing = Mapping[Tag, bool]


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
        now = driver.now
        self._slots = {each: driver.pool.adopt(each.tag.slot, now) for each in left}

    def begin(self) -> None:
        """Leaves the rest to tasks of the driver."""
        log.warning("left by a pooler that was killed", backend=self._driver.name, slots=len(self._slots))
        here = [each for each in self._slots if each.orphans in ("none", "processes", None)]
        elsewhere = [each for each in self._slots if each not in here]
        self._driver.spawn(self._wait_here(here))
        self._driver.spawn(self._wait_elsewhere(elsewhere))

    async def _wait_here(self, left: Sequence[Leftover]) -> None:
        """What can only live on this machine. A broken record may have stood for a session too."""
        doubtful = []
        async for each in survivors.ended(left):
            if each.orphans is None and self._driver.kit.adapter.traits.orphans not in ("none", "processes"):
                doubtful.append(each)
            else:
                self._release(each, certain=True)
        await self._wait_elsewhere(doubtful)

    async def _wait_elsewhere(self, left: Sequence[Leftover]) -> None:
        """What a server may still have: asked for, again and again, until it has none, or nobody knows."""
        driver, reap = self._driver, self._driver.bounds.reap
        until = dict.fromkeys(left, driver.now + reap)
        await self._make_room(until)
        pause = PAUSE_SECONDS_FIRST
        while until:
            listing = await self._listing(left)
            for each in list(until):
                lives = listing.get(each.tag)
                if lives:
                    until[each] = driver.now + reap
                elif lives is False or driver.now >= until[each]:
                    del until[each]
                    self._release(each, certain=lives is False)
            if until:
                await asyncio.sleep(max(0.0, min(pause, min(until.values()) - driver.now)))
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    async def _make_room(self, until: dict[Leftover, float]) -> None:
        """Where what is left fills the cap, there is no connection to ask with. A server that watches its sockets has
        dropped it all by itself within `orphan_seconds`: so after that time the oldest go, for one place.
        """
        pool, traits = self._driver.pool, self._driver.kit.adapter.traits
        if traits.reserve or traits.orphan_seconds is None or pool.held < pool.rules.places:
            return
        await asyncio.sleep(traits.orphan_seconds)
        for each in list(until):
            if pool.held < pool.rules.places:
                return
            del until[each]
            self._release(each, certain=False)

    async def _listing(self, left: Collection[Leftover]) -> Listing:
        """What the backend says of them; nothing where it cannot be asked, or does not answer."""
        driver, kit = self._driver, self._driver.kit
        asked = {each.tag: each.notes for each in left if each.kind in (kit.kind, None)}
        if kit.adapter.traits.orphans != "listed" or not asked:
            return {}
        try:
            if kit.adapter.traits.reserve:
                async with asyncio.timeout(ASK_SECONDS), driver.side_channels:
                    return await kit.adapter.census(None, asked)
            return await self._over_a_connection(asked)
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything: whatever it is, nobody knows more
            log.info("the backend does not tell what was left", backend=driver.name, error=type(error).__name__)
            return {}

    async def _over_a_connection(self, asked: Mapping[Tag, Notes]) -> Listing:
        """Asks over a connection of the pool, first in line. Raises the Fault when there is none in time."""
        driver, answer = self._driver, asyncio.get_running_loop().create_future()
        listing: dict[Tag, bool] = {}

        async def ask(connection: Connection) -> Answer:
            listing.update(await driver.kit.adapter.census(connection, asked))
            return Answer(b"{}")

        now = driver.now
        turn = Turn(now, now + ASK_SECONDS, now + 2 * ASK_SECONDS, timeout_seconds=ASK_SECONDS)
        turn.errand, turn.deliver = ask, answer.set_result
        driver.send(turn)
        outcome: Outcome = await answer
        if isinstance(outcome.result, Fault):
            raise outcome.result
        return listing

    def _release(self, left: Leftover, certain: bool) -> None:
        log.info("what was left is gone", tag=str(left.tag), confirmed=certain)
        left.remove()
        self._driver.let_go(self._slots.pop(left), certain)
