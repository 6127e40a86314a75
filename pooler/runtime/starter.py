"""The bounded conversations with an adapter: open, check, reset, stop, close.

Each has a deadline and turns whatever an adapter raises into a plain verdict, so that a bug in an adapter costs one
connection and never the pool. It decides nothing: what follows from a verdict is the core's business.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pooler.backends.base import Adapter, Connection, Failure, FailureKind, Tag, Verdict
from pooler.runtime.slotfiles import SlotFile, SlotFileError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long each conversation may take, in seconds."""

    start: float = 60.0
    validate: float = 5.0
    cancel: float = 10.0
    close: float = 10.0
    reap: float = 60.0


def interrupted() -> bool:
    """Whether this task itself was cancelled, as opposed to something that an adapter waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def uninterrupt() -> None:
    """Takes one cancel of this task back, if there was any: it has been answered."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


class Start:
    """The start of one connection. It can be given up, and it is given up when it takes too long.

    Either way `open` is cancelled once, never twice: a second cancel would cut its clean-up short, and the slot would
    be free while the backend still counts the client.
    """

    def __init__(self, adapter: Adapter[Any, Any], tag: Tag, take: Callable[[], SlotFile] | None = None) -> None:
        """`take` makes the slot file, without which nothing is begun."""
        self.tag = tag
        self._adapter = adapter
        self._opening: asyncio.Task[Connection] = asyncio.get_running_loop().create_task(self._open(take))
        self._why = ""

    def give_up(self, why: str = "the start was given up") -> None:
        """Stops the start, unless it has been stopped already. `result` returns when nothing of it is left."""
        if not self._opening.done() and not self._why:
            self._why = why
            self._opening.cancel()

    async def result(self, seconds: float) -> Connection | Failure:
        """The connection, or why there is none. To be awaited once."""
        slow = f"the client did not finish its start within {seconds:g} s"
        timer = asyncio.get_running_loop().call_later(seconds, self.give_up, slow)
        try:
            await asyncio.wait({self._opening})
        except asyncio.CancelledError:
            self.give_up()
            await asyncio.wait({self._opening})
            raise
        finally:
            timer.cancel()
        return self._result()

    async def _open(self, take: Callable[[], SlotFile] | None) -> Connection:
        if take is None:
            connection: Connection = await self._adapter.open(self.tag)
            return connection
        file = take()
        connection = await self._adapter.open(replace(self.tag, mark=file))
        if connection.notes:
            file.note(connection.notes)
        return connection

    def _result(self) -> Connection | Failure:
        try:
            return self._opening.result()
        except SlotFileError as error:
            return Failure(FailureKind.DEAD, str(error), started=False)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - `classify` says what it means
            return Failure(FailureKind.TIMEOUT, self._why) if self._why else self._adapter.classify(error)


async def check(adapter: Adapter[Any, Any], connection: Connection, seconds: float) -> bool:
    """Whether the backend answers through this connection."""
    try:
        async with asyncio.timeout(seconds):
            await adapter.validate(connection)
    except (Exception, asyncio.CancelledError) as error:  # whatever it is, the connection cannot serve
        if interrupted():
            raise
        log.info("connection failed its check", tag=str(connection.tag), error=type(error).__name__)
        return False
    return True


async def stop(adapter: Adapter[Any, Any], connection: Connection, seconds: float) -> bool:
    """Stops what an interrupted execute left running. True when the connection may serve again, after a reset."""
    try:
        async with asyncio.timeout(seconds):
            return await adapter.cancel(connection) is Verdict.CLEAN
    except (Exception, asyncio.CancelledError) as error:  # a failed cancel condemns the connection, nothing else
        if interrupted():
            raise
        log.warning("cancel failed", tag=str(connection.tag), error=type(error).__name__)
        return False


async def reset(adapter: Adapter[Any, Any], connection: Connection, seconds: float) -> bool:
    """Removes what the last user left. True when nothing of it is left."""
    try:
        async with asyncio.timeout(seconds):
            clean = await adapter.reset(connection) is Verdict.CLEAN
    except (Exception, asyncio.CancelledError) as error:  # a failed reset condemns the connection, nothing else
        if interrupted():
            raise
        log.info("reset failed", tag=str(connection.tag), error=type(error).__name__)
        return False
    connection.dirty = connection.dirty and not clean
    return clean


async def close(adapter: Adapter[Any, Any], connection: Connection, force: bool, bounds: Bounds) -> bool:
    """Ends a connection and returns when its death is certain, or after `bounds.reap` where nobody can find out."""
    certain = await _closed(adapter, connection, force, bounds.close)
    if not certain and not force:
        certain = await _closed(adapter, connection, True, bounds.close)
    if not certain:
        log.warning("death not confirmed, slot kept", tag=str(connection.tag), seconds=bounds.reap)
        if connection.tag.mark is not None:
            connection.tag.mark.closed()
        await asyncio.sleep(bounds.reap)
    return certain


async def _closed(adapter: Adapter[Any, Any], connection: Connection, force: bool, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await adapter.close(connection, force)
    except (Exception, asyncio.CancelledError) as error:  # then nobody knows, and the slot waits
        if interrupted():
            raise
        log.warning("close failed", tag=str(connection.tag), force=force, error=type(error).__name__)
        return False
