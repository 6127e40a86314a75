"""A running pooler: builds the rooms from a configuration, joins them, starts, reloads and stops them."""

import asyncio
import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc
import structlog
from aiohttp import web

from pooler import build
from pooler.config import Config
from pooler.console import pages
from pooler.runtime import adoption
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.driver import Driver
from pooler.runtime.slotfiles import SlotFiles
from pooler.service import server as grpc_server
from pooler.service.admin import AdminServicer
from pooler.service.catalogue import Board
from pooler.service.data import PoolerServicer
from pooler.service.exchange import Limits
from pooler.service.health import Health
from pooler.state import StateDir

log = structlog.get_logger(__name__)

LAST_WORDS_SECONDS = 1.0
"""How long streams may stay open after the last call has been answered."""


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
        self._health = Health()
        self._state = StateDir(config.pooler.state_dir)
        self._reloading = asyncio.Lock()
        self._announcements: set[asyncio.Task[None]] = set()
        self._burial: asyncio.Task[None] | None = None
        limits = Limits(config.pooler.calls_max, config.pooler.request_bytes_max)
        self._data = PoolerServicer(self._dispatcher, self._board, limits, secrets.token_hex(8))
        self._server: grpc.aio.Server | None = None
        self._pages = web.AppRunner(
            pages.application(self._drivers, lambda: not self._dispatcher.draining), access_log=None
        )

    async def start(self) -> None:
        """Binds, starts every backend's pool and serves. Backends that are down delay nothing.

        Raises BuildError, StateDirError, AddressError or OSError, each with a sentence for whoever started it.
        """
        parts = build.parts(self.config, {})
        self._state.take()
        files = self._files(parts)
        settings = self.config.pooler
        self._server = grpc_server.server(
            self._data,
            AdminServicer(self._drivers),
            self._health,
            settings.request_bytes_max,
            settings.vanished_seconds,
        )
        self.address = grpc_server.bind(self._server, settings.listen)
        self.http_address = await self._open_pages(settings.http)
        await self._install(self.config, parts, files)
        self._burial = asyncio.get_running_loop().create_task(self._bury(self._state.backends() - parts.keys()))
        await self._health.pooler(True)
        await self._server.start()
        log.info("listening", address=self.address, http=self.http_address, backends=len(parts))

    async def reload(self, config: Config) -> None:
        """Takes on a new configuration; what did not change goes on undisturbed.

        Raises BuildError or StateDirError and changes nothing.
        Addresses and the state folder stay what they were until a restart.
        """
        async with self._reloading:
            parts = build.parts(config, self._parts)
            files = self._files(parts)
            fixed = ("listen", "http", "state_dir", "request_bytes_max", "vanished_seconds")
            if changed := [key for key in fixed if getattr(config.pooler, key) != getattr(self.config.pooler, key)]:
                log.warning("needs a restart to take effect", keys=changed)
            self.config = config
            await self._install(config, parts, files)
            log.info("configuration reloaded", backends=len(parts), operations=len(config.operations))

    async def stop(self) -> None:
        """Takes no new calls, lets running ones end within the grace, closes every connection, then the server."""
        grace = self.config.pooler.drain_grace_seconds
        log.info("draining", grace_seconds=grace, calls=self._dispatcher.under_way)
        self._dispatcher.draining = True
        await self._health.pooler(False)
        self._data.go_away()
        await asyncio.gather(*(driver.drain(grace) for driver in self._drivers.values()))
        if self._server is not None:
            await self._server.stop(LAST_WORDS_SECONDS)
        await asyncio.gather(*self._announcements)
        if self._burial is not None:
            self._burial.cancel()
            await asyncio.wait({self._burial})
        await self._pages.cleanup()
        self._state.release()
        log.info("stopped")

    def _files(self, parts: dict[str, build.Part]) -> dict[str, SlotFiles]:
        """The slot files of the backends that are new."""
        return {name: self._state.slots(name) for name in parts if name not in self._drivers}

    async def _install(self, config: Config, parts: dict[str, build.Part], files: dict[str, SlotFiles]) -> None:
        gone = [self._drivers.pop(name) for name in list(self._drivers) if name not in parts]
        for name, part in parts.items():
            if driver := self._drivers.get(name):
                driver.reconfigure(part.kit, part.rules, part.bounds)
            else:
                await self._add(name, part, files[name])
        self._parts = parts
        self._dispatcher.calls_max = config.pooler.calls_max
        self._dispatcher.routes = build.routes(config, self._drivers)
        self._board.publish(config)
        await asyncio.gather(*(self._remove(driver, config.pooler.drain_grace_seconds) for driver in gone))

    async def _add(self, name: str, part: build.Part, files: SlotFiles) -> None:
        driver = self._drivers[name] = Driver(name, part.kit, part.rules, part.bounds, self._state.name, files)
        driver.on_serving = partial(self._announce, name)
        await self._health.backend(name, False)
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
