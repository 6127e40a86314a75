"""What a pooler keeps for its callers beyond a call, as one part: results, sessions, conversations, runs, a store.

Made once the pooler has its name; opened, reconfigured, drained and closed with it. It joins rooms, and decides nothing
of what they do.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from pooler import build
from pooler.clock import anchored
from pooler.config.model import PoolerSettings
from pooler.errors import Fault
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.desks import Desks
from pooler.runtime.dialogue import Dialogue
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.handles import Sealer
from pooler.runtime.results import Results
from pooler.runtime.runs import Runs
from pooler.runtime.spool import Place
from pooler.runtime.store.base import Store
from pooler.runtime.store.memory import MemoryStore
from pooler.runtime.store.sqlite import open_store

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0


class Kept:
    """The rooms of one pooler that outlive a call. Made by `Kept.open`."""

    def __init__(
        self, name: str, folder: Path, settings: PoolerSettings, keys: Sequence[bytes], dispatcher: Dispatcher
    ) -> None:
        """`folder`: the pooler's own. `keys`: those that seal handles."""
        self.wall = anchored(time.time())
        self.sealer = Sealer(name, keys, self.wall)
        self._folder = folder
        self._store: Store = MemoryStore(self.wall)
        self._dispatcher = dispatcher
        self._sweeping: asyncio.Task[None] | None = None
        self.results = Results(self.sealer, Place(folder / "spool"), build.limits(settings.spool), self.wall)
        self.desks = Desks(self.sealer, self.wall)
        dispatcher.dialogue = Dialogue(self.sealer, self.wall)
        dispatcher.results = self.results

    async def open(self, settings: PoolerSettings) -> None:
        """Opens the store, and goes on with what an earlier process has left in it. Raises StoreError."""
        lasting = settings.store == "sqlite"
        if lasting:
            self._store = await open_store(self._folder / "store.sqlite", self.wall)
        self.conversations = Conversations(
            self.sealer, self._store, build.conversation_limits(settings.conversations), self.wall
        )
        self.runs = Runs(
            self._dispatcher,
            self.sealer,
            self.wall,
            build.run_bounds(settings.runs),
            self._store if lasting else None,
            self.conversations,
        )
        self._dispatcher.conversations = self.conversations
        self.conversations.ended += [self.results.end, self.desks.end, self.runs.leave]
        await self.conversations.start()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def reconfigure(self, settings: PoolerSettings, keys: Sequence[bytes]) -> None:
        """A new configuration. What was begun keeps its terms, and the store stays what it is until a restart."""
        self.sealer.rekey(keys)
        self.results.limit(build.limits(settings.spool))
        self.conversations.limits = build.conversation_limits(settings.conversations)
        self.runs.bounds = build.run_bounds(settings.runs)

    def drain(self) -> None:
        """The pooler stops: nobody is waited for any more."""
        self.conversations.draining = True
        self.results.stop()
        self.desks.drain()
        self.runs.drain()

    async def close(self) -> None:
        """After the last call has ended."""
        await self.runs.close()
        await self.conversations.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        await self._store.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self._store.sweep(self.wall())
            except Fault as fault:
                log.warning("the store could not be swept", error=fault.message)
