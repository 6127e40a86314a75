"""The bounded conversations with an adapter: open, check, reset, stop, close.

Each has a deadline and turns whatever an adapter raises into a plain verdict, so that a bug in an adapter costs one
connection and never the pool. It decides nothing: what follows from a verdict is the core's business.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog

from pooler.backends.base import Adapter, Connection, Failure, FailureKind, Tag, Verdict

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


async def start(adapter: Adapter[Any, Any], tag: Tag, seconds: float) -> Connection | Failure:
    """Opens a connection, or says why not. Cancelling it gives the start up; then nothing of it is left either."""
    try:
        async with asyncio.timeout(seconds) as bound:
            connection: Connection = await adapter.open(tag)
            return connection
    except TimeoutError as error:
        if bound.expired():
            return Failure(FailureKind.TIMEOUT, f"the client did not finish its start within {seconds:g} s")
        return adapter.classify(error)
    except Exception as error:  # noqa: BLE001 - an adapter may raise anything; its classify says what it means
        return adapter.classify(error)


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


async def close(adapter: Adapter[Any, Any], connection: Connection, force: bool, bounds: Bounds) -> None:
    """Ends a connection and returns when its death is certain, or after `bounds.reap` where nobody can find out."""
    certain = await _closed(adapter, connection, force, bounds.close)
    if not certain and not force:
        certain = await _closed(adapter, connection, True, bounds.close)
    if not certain:
        log.warning("death not confirmed, slot kept", tag=str(connection.tag), seconds=bounds.reap)
        await asyncio.sleep(bounds.reap)


async def _closed(adapter: Adapter[Any, Any], connection: Connection, force: bool, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await adapter.close(connection, force)
    except (Exception, asyncio.CancelledError) as error:  # then nobody knows, and the slot waits
        if interrupted():
            raise
        log.warning("close failed", tag=str(connection.tag), force=force, error=type(error).__name__)
        return False
