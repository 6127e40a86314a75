"""Opens and closes the connections to one database, each in its own thread. SQLAlchemy's own pooling is off.

What a driver's connect() is told may differ from one connection to the next (the tag), so it is filled in by the thread
that connects.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import sqlalchemy
import structlog
from sqlalchemy import URL, Engine
from sqlalchemy.pool import NullPool

from pooler.backends.base import Tag
from pooler.backends.sqlalchemy.connection import Connection
from pooler.backends.sqlalchemy.manners import Manners
from pooler.runtime.endings import to_the_end
from pooler.runtime.sockets import ended
from pooler.runtime.threads import PinnedThread

log = structlog.get_logger(__name__)

GIVE_UP_SECONDS = 30.0
"""How long a start that was given up waits for the driver to come back, so that what it opened can be closed. Drivers
are told to give up after `manners.CONNECT_SECONDS`; past this the thread still closes it by itself."""

SIDE_REAP_SECONDS = 0.05
"""MariaDB takes a connection off its list after it has closed the socket: 2 to 5 of 300 were still listed then, none
2 ms later."""

CLOSE_SECONDS = 4.0
"""How long a close waits for the driver, and then for the proof; the hands allow 10 s for both."""


class Doors:
    """Opens and closes the connections to one database."""

    def __init__(self, url: URL, arguments: Mapping[str, Any], manners: Manners) -> None:
        self._manners = manners
        self._arguments = dict(arguments)
        self._opening = threading.local()
        self._side_turn = asyncio.Lock()
        """Held across awaits on purpose: whoever has it has the one side connection. All that it awaits is bounded."""
        self._side_wanted = 0
        self._spare: Connection | None = None
        self.engine: Engine = sqlalchemy.create_engine(
            manners.url(url), poolclass=NullPool, pool_reset_on_return=None, hide_parameters=True
        )
        sqlalchemy.event.listen(self.engine, "do_connect", self._tell)

    def _tell(self, dialect: Any, record: Any, positional: Any, named: dict[str, Any]) -> None:
        """Called by SQLAlchemy in the thread that connects, before the driver is."""
        named.update(self._manners.arguments(named, self._opening.tag))
        named.update(self._arguments)

    async def open(self, tag: Tag) -> Connection:
        """A connection, or what the driver raised; then it has been closed again, or will be by its thread."""
        self._manners.look(self.engine.url)
        connection = Connection(tag=tag, thread=PinnedThread(str(tag)))
        try:
            await connection.thread.submit(partial(self._connect, connection))
        except BaseException:
            if await to_the_end(self._end(connection, GIVE_UP_SECONDS)):
                await to_the_end(self._manners.gone(connection, self))
            raise
        return connection

    def _connect(self, connection: Connection) -> None:
        self._opening.tag = connection.tag
        connection.sql = self.engine.connect()
        self._manners.opened(connection)

    def _disconnect(self, connection: Connection) -> None:
        sql, connection.sql = connection.sql, None
        if sql is None:
            return
        try:
            self._drop_result(connection, sql)
            sql.close()
        except Exception as error:  # noqa: BLE001 - a dead connection may refuse its close; the proof comes after it
            log.debug("driver failed to close", tag=str(connection.tag), error=type(error).__name__)

    def _drop_result(self, connection: Connection, sql: sqlalchemy.Connection) -> None:
        """A connection that ends in the midst of a result says nothing more: a ROLLBACK would wait for the rows."""
        result, connection.result = connection.result, None
        if result is not None:
            self._manners.forget(result)
            sql.invalidate()

    async def reopen(self, connection: Connection) -> None:
        """Closes and opens it in its own thread, keeping its slot: only where that is cheap and certain."""
        await connection.thread.submit(partial(self._disconnect, connection))
        await connection.thread.submit(partial(self._connect, connection))

    async def close(self, connection: Connection, force: bool) -> bool:
        """Ends a connection. True: the driver has closed it, and the server too as far as its manners can tell."""
        if connection.result is not None or (force and connection.thread.busy):
            await self._manners.kill(connection, self)
        return await self._end(connection, CLOSE_SECONDS) and await self._manners.gone(connection, self)

    async def _end(self, connection: Connection, seconds: float) -> bool:
        """Whether the driver has closed within this time; its thread will when it can, whatever becomes of us."""
        if not connection.thread.ended:
            connection.thread.submit(partial(self._disconnect, connection))
            connection.thread.end()
        try:
            async with asyncio.timeout(seconds):
                await connection.thread.idle()
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def side(self, tag: Tag) -> AsyncIterator[Connection]:
        """The connection for side-channel work. There is one at a time, as the reserve has one slot; it is handed on
        while others wait for it, and closed after the last."""
        self._side_wanted += 1
        try:
            async with self._side_turn:
                side, self._spare = self._spare or await self._open_side(tag), None
                try:
                    yield side
                except BaseException:
                    await self._close_side(side)
                    raise
                self._spare = side
        finally:
            self._side_wanted -= 1
            await self._close_spare()

    async def _close_spare(self) -> None:
        """Looks twice: while the turn is awaited somebody may come who wants it."""
        if self._side_wanted or self._spare is None:
            return
        async with self._side_turn:
            if not self._side_wanted and self._spare is not None:
                spare, self._spare = self._spare, None
                await self._close_side(spare)

    async def _open_side(self, tag: Tag) -> Connection:
        side = Connection(tag=tag, thread=PinnedThread(f"{tag} side"))
        try:
            await side.thread.submit(partial(self._connect, side))
        except BaseException:
            await self._close_side(side)
            raise
        return side

    async def _close_side(self, side: Connection) -> None:
        """Nobody is left who could be asked whether this one is gone, so it is given a moment after its end."""
        await self._end(side, CLOSE_SECONDS)
        if side.duplicate is not None:
            await ended(side.duplicate, CLOSE_SECONDS)
            side.duplicate.close()
            await asyncio.sleep(SIDE_REAP_SECONDS)
