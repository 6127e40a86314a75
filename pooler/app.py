"""A running pooler: builds the rooms from a configuration, joins them, starts, reloads and stops them."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc
import structlog
from aiohttp import web

from pooler import build
from pooler.config import Config, ConfigError, load
from pooler.config.changes import Changes, changes
from pooler.config.model import PoolerSettings
from pooler.console import pages
from pooler.errors import Fault, Reason
from pooler.kept import Kept
from pooler.runtime import adoption
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.driver import Driver
from pooler.runtime.record import Actor, Record
from pooler.runtime.reuse.hearing import Hearings
from pooler.runtime.reuse.room import Answers
from pooler.runtime.slotfiles import SlotFiles
from pooler.runtime.watches.room import Watches
from pooler.service import server as grpc_server
from pooler.service.admin_plane import SIGNAL, AdminPlane
from pooler.service.catalogue import Board
from pooler.service.data import PoolerServicer
from pooler.service.exchange import Limits
from pooler.service.health import Health
from pooler.service.snapshots import Snapshots
from pooler.state import StateDir, StateDirError

log = structlog.get_logger(__name__)

LAST_WORDS_SECONDS = 1.0
"""How long streams may stay open after the last call has been answered."""

FAULTS_CHARACTERS_MAX = 1500
"""A status travels in headers, twice: as percent-encoded text and as base64. gRPC's peers refuse more than 8 KB."""
FAULT_CHARACTERS_MAX = 400
UNUSABLE = (ConfigError, build.BuildError, StateDirError)
"""Why a configuration is not taken on."""


class Pooler:
    """One pooler in this process. `start`, any number of `reload`s, `stop`; on one event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.address = ""
        """Where gRPC is served, once started."""
        self.http_address = ""
        self._parts: dict[str, build.Part] = {}
        self._drivers: dict[str, Driver] = {}
        self._dispatcher = Dispatcher(config.pooler.calls_max)
        self._board = Board(config)
        self._watches = Watches(config.pooler.watches_max)
        self._answers = Answers(config.pooler.cache_bytes)
        self._hearings = Hearings(self._answers, self._watches)
        self._health = Health()
        self._state = StateDir(config.pooler.state_dir)
        self._reloading = asyncio.Lock()
        self._announcements: set[asyncio.Task[None]] = set()
        self._readings: set[asyncio.Task[Changes]] = set()
        self._burial: asyncio.Task[None] | None = None
        limits = Limits(config.pooler.calls_max, config.pooler.request_bytes_max)
        self._data = PoolerServicer(self._dispatcher, self._board, self._watches, limits, secrets.token_hex(8))
        self._answers.listeners.append(self._data.exchanges.invalidate)
        self._kept: Kept | None = None
        self._server: grpc.aio.Server | None = None
        self._admin: AdminPlane | None = None
        self._pages = web.AppRunner(
            pages.application(self._drivers, self._answers, lambda: not self._dispatcher.draining), access_log=None
        )

    async def start(self) -> None:
        """Binds, starts every backend's pool and serves. Backends that are down delay nothing.

        Raises BuildError, StateDirError, StoreError, AddressError or OSError, each with a sentence for who started it.
        """
        parts = build.parts(self.config, {})
        self._state.take()
        files = self._files(parts)
        settings = self.config.pooler
        admin = self._admin = self._admin_plane(settings)
        self._server = grpc_server.server(
            self._data,
            None if admin.apart else admin.servicer,
            self._health,
            settings.request_bytes_max,
            settings.vanished_seconds,
        )
        self.address = grpc_server.bind(self._server, settings.listen, private=admin.by_socket and not admin.apart)
        admin.bind(self._health, self.address)
        self.http_address = await self._open_pages(settings.http)
        await self._open_rooms()
        self._install(self.config, parts, files)
        self._burial = asyncio.get_running_loop().create_task(self._bury(self._state.backends() - parts.keys()))
        await asyncio.gather(*self._announcements, self._health.pooler(True))
        await self._data.exchanges.serve_neighbours(self.address, self._state.path, settings.vanished_seconds)
        await asyncio.gather(self._server.start(), admin.start())
        log.info("listening", address=self.address, http=self.http_address, admin=admin.address, backends=len(parts))

    async def reload(self, config: Config) -> Changes:
        """Takes on a new configuration; what did not change goes on undisturbed. Caps set by an order are over.

        Raises BuildError or StateDirError and changes nothing.
        Addresses and the state folder stay what they were until a restart.
        """
        async with self._reloading:
            return await self._take_on(config)

    async def reread(self, actor: Actor = SIGNAL) -> Changes:
        """Reads the configuration's file again and takes it on, to the end, even if whoever asked for it leaves.

        `actor`: who asked. Raises ConfigError, BuildError or StateDirError and changes nothing; or Fault, when the
        pooler stops.
        """
        task = asyncio.get_running_loop().create_task(self._reread(actor))
        self._readings.add(task)
        task.add_done_callback(self._was_read)
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Takes no new calls, lets running ones end within the grace, closes every connection, then the server."""
        grace = self.config.pooler.drain_grace_seconds
        log.info("draining", grace_seconds=grace, calls=self._dispatcher.under_way)
        self._dispatcher.draining = True
        await self._health.pooler(False)
        self._data.go_away()
        await self._watches.close()
        if self._kept is not None:
            self._kept.drain()
        await asyncio.gather(*(driver.drain(grace) for driver in self._drivers.values()))
        if self._readings:
            await asyncio.wait(self._readings)  # what they removed has been draining for longer than the others
        if self._server is not None and self._admin is not None:
            ends = (self._server.stop, self._admin.stop, self._data.exchanges.close)
            await asyncio.gather(*(end(LAST_WORDS_SECONDS) for end in ends))
        if self._kept is not None:
            await self._kept.close()
        await asyncio.gather(*self._announcements)
        if self._burial is not None:
            self._burial.cancel()
            await asyncio.wait({self._burial})
        await self._pages.cleanup()
        self._state.release()
        log.info("stopped")

    async def _open_rooms(self) -> None:
        """What keeps state for callers, by handles that bear this pooler's name. Raises StateDirError or StoreError."""
        settings = self.config.pooler
        kept = Kept(self._state.name, self._state.path, settings, self._keys(settings), self._dispatcher)
        await kept.open(settings)
        self._kept = kept
        self._data.join(kept.conversations, kept.runs, kept.desks)
        assert self._admin is not None
        self._admin.snapshots.join(kept.desks, kept.runs)

    def _admin_plane(self, settings: PoolerSettings) -> AdminPlane:
        record, stopping = Record(self._state.path, time.time), lambda: self._dispatcher.draining
        snapshots = Snapshots(self._drivers, self._state.name, self._answers, record, stopping, time.time)
        return AdminPlane(settings.admin, snapshots, self._answers, record, self._reload_by_order)

    def _keys(self, settings: PoolerSettings) -> list[bytes]:
        return settings.sealing_keys() or [self._state.handle_key()]

    def _files(self, parts: dict[str, build.Part]) -> dict[str, SlotFiles]:
        """The slot files of the backends that are new."""
        return {name: self._state.slots(name) for name in parts if name not in self._drivers}

    async def _reread(self, actor: Actor) -> Changes:
        assert self._admin is not None
        async with self._reloading:
            if self._dispatcher.draining:
                raise Fault(Reason.DRAINING, "This pooler is being shut down and takes no orders.")
            try:
                found = await self._take_on(load(self.config.file))
            except UNUSABLE as error:
                log.warning("configuration not reloaded, the old one stays", faults=str(error).splitlines())
                raise
            self._admin.reloaded(actor, found)
            return found

    def _was_read(self, task: "asyncio.Task[Changes]") -> None:
        self._readings.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked for it may have left; it has been logged

    async def _reload_by_order(self, actor: Actor) -> Changes:
        try:
            return await self.reread(actor)
        except UNUSABLE as error:
            raise Fault(Reason.INVALID_CONFIGURATION, _refusal(str(error).splitlines())) from error

    async def _take_on(self, config: Config) -> Changes:
        parts = build.parts(config, self._parts)
        files = self._files(parts)
        caps = {name: driver.pool.rules.cap for name, driver in self._drivers.items()}
        found = changes(self.config, config, caps)
        for name, (before, after) in found.caps.items():
            log.info("cap changed", backend=name, before=before, after=after)
        if found.restart_needed:
            log.warning("needs a restart to take effect", keys=found.restart_needed)
        self.config = config
        gone = self._install(config, parts, files)
        await asyncio.gather(*(self._remove(driver, config.pooler.drain_grace_seconds) for driver in gone))
        log.info("configuration reloaded", backends=len(parts), operations=len(config.operations))
        return found

    def _install(self, config: Config, parts: dict[str, build.Part], files: dict[str, SlotFiles]) -> list[Driver]:
        """Puts everything in place, in one step. Returns the drivers that nothing uses any more, to be drained."""
        gone = [self._drivers.pop(name) for name in list(self._drivers) if name not in parts]
        for name, part in parts.items():
            if driver := self._drivers.get(name):
                driver.reconfigure(part.kit, part.rules, part.bounds)
            else:
                self._add(name, part, files[name])
        self._parts = parts
        self._dispatcher.calls_max = config.pooler.calls_max
        assert self._kept is not None
        desks = self._kept.desks.install(self._drivers, build.keeping(parts))
        reuse = build.reusing(config, self._drivers, self._answers)
        self._dispatcher.routes = build.routes(config, self._drivers, desks, reuse)
        self._kept.reconfigure(config.pooler, self._keys(config.pooler))
        assert self._admin is not None
        self._admin.reconfigure(config.pooler.admin)
        self._watches.watches_max = config.pooler.watches_max
        self._watches.install(self._dispatcher.routes, build.watching(config))
        self._hearings.install(build.hearing(config, self._drivers))
        self._answers.cache.bytes_max = config.pooler.cache_bytes
        self._board.publish(config)
        return gone

    def _add(self, name: str, part: build.Part, files: SlotFiles) -> None:
        driver = self._drivers[name] = Driver(name, part.kit, part.rules, part.bounds, self._state.name, files)
        driver.on_serving = partial(self._announce, name)
        self._announce(name, False)
        adoption.adopt(driver, files.left())
        driver.run()

    async def _bury(self, backends: Iterable[str]) -> None:
        """Ends the worker processes that were left of backends which are not configured any more."""
        for name in backends:
            await adoption.bury(self._state.slots(name).left())

    async def _remove(self, driver: Driver, grace_seconds: float) -> None:
        await driver.drain(grace_seconds)
        await self._health.forget(driver.name)

    def _announce(self, name: str, serving: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._health.backend(name, serving))
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)

    async def _open_pages(self, address: str) -> str:
        host, _, port = address.rpartition(":")
        await self._pages.setup()
        await web.TCPSite(self._pages, host.strip("[]"), int(port)).start()
        bound: Any = self._pages.addresses[0]
        return f"{host}:{bound[1]}"


def _refusal(faults: list[str]) -> str:
    """What was wrong, each fault with its place, as far as a status has room for it. The log has everything."""
    told: list[str] = []
    room = FAULTS_CHARACTERS_MAX
    for fault in faults:
        line = fault if len(fault) <= FAULT_CHARACTERS_MAX else fault[:FAULT_CHARACTERS_MAX] + "…"
        room -= len(line)
        if room < 0:
            told.append(f"and {len(faults) - len(told)} more; `penstock check` lists them all")
            break
        told.append(line)
    return "\n".join(["The configuration was not taken on, the running one stays:", *told])
