"""One PostgreSQL connection: opened with our tag, closed with proof.

It lives in libpq's pipeline mode from its first to its last moment, so that a transaction with its statement is one
round trip. It runs generators of `exchange.py`; a task that is cancelled while one waits leaves it as it stands, at
once, and `exchange.drain` finds the way back.
"""

import asyncio
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from socket import socket
from typing import TYPE_CHECKING, Any, Self, TypeVar

from psycopg import AsyncConnection, Notify, pq
from psycopg.abc import PQGen, PQGenConn
from psycopg.conninfo import conninfo_to_dict
from psycopg.waiting import wait_async

from pooler.backends import base
from pooler.backends.base import Tag
from pooler.backends.postgres.loaders import LOADERS
from pooler.backends.postgres.sockets import Sockets
from pooler.runtime.endings import to_the_end
from pooler.runtime.sockets import ended

if TYPE_CHECKING:
    from pooler.backends.postgres.pipeline import Pipeline

T = TypeVar("T")

OPTIONS = "-c DateStyle=ISO -c IntervalStyle=iso_8601"
"""Sent at the start, so that `DISCARD ALL` comes back to them."""

WATCHING = "client_connection_check_interval"
"""From PostgreSQL 14 on: how often a server looks during a statement whether its client is still there, in ms. Without
it, the statement of a pooler that was killed goes on to its end."""
WATCH = f"-c {WATCHING}=1000"

NAME_BYTES_MAX = 63
"""The server cuts an application_name here (NAMEDATALEN)."""

GIVE_UP_SECONDS = 2.0
"""How long a start that failed or was given up waits for the server to let go of it."""

CANCEL_SECONDS = 2.0
"""How long a close by force waits for the server to take a cancel."""

CLOSE_SECONDS = 4.0
"""How long a close waits for its proof; the hands allow 10 s, and a close by force cancels first."""

_WAKE_SECONDS = 5.0
"""psycopg looks at the socket again after this time even if nobody wakes it."""

_sockets: ContextVar[Sockets] = ContextVar("sockets")
"""Of the start that runs in this context."""


class Link(AsyncConnection[Any]):
    """psycopg's connection, telling which sockets its start uses."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        sockets = _sockets.get()
        start = super()._connect_gen(conninfo)
        try:
            descriptor, wanted = next(start)
            while True:
                sockets.saw(descriptor)
                ready = yield descriptor, wanted
                descriptor, wanted = start.send(ready)
        except StopIteration as done:
            link: Self = done.value
            sockets.saw(link.pgconn.socket)
            return link


@dataclass(slots=True, kw_only=True)
class Connection(base.Connection):
    """A link, the duplicate of its socket, and what the server keeps for it."""

    link: Link
    duplicate: socket
    prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = field(default_factory=dict)
    """The name of each prepared statement, by its text and the types of its values; the oldest first."""
    names: int = 0
    """How many names have been given out."""
    gone: bool | None = None
    """What the last close found out; None while another may find out more."""
    syncs: int = 0
    """How many ends of a transaction the server still owes us."""
    channels: set[str] | None = None
    """What it listens on; None: nobody has asked it to."""
    heard: deque[Notify] = field(default_factory=deque)
    """What was said there and not yet asked for, the oldest first."""
    pipeline: "Pipeline | None" = None
    """The calls that share it, once there have been any."""
    guarded: bool = False
    """Whether what is begun on it is read-only, unless it says otherwise."""

    @property
    def pgconn(self) -> pq.abc.PGconn:
        return self.link.pgconn

    async def run(self, generator: PQGen[T]) -> T:
        """Runs an exchange. Cancelling it takes effect at once, in the middle of whatever it was."""
        if self.pipeline is not None:
            self.pipeline.end()
        return await wait_async(generator, self.pgconn.socket, interval=_WAKE_SECONDS)


async def connect(url: str, tag: Tag, watched: bool) -> Connection:
    """Opens a connection. `watched`: the server is to look during a statement whether we are still there.

    When it raises, the server has let go of everything, or had `GIVE_UP_SECONDS` to do so.
    """
    told = str(conninfo_to_dict(url).get("options") or "")
    options = f"{WATCH} {told} {OPTIONS}" if watched else f"{told} {OPTIONS}"  # the last one of a name holds
    sockets = Sockets()
    _sockets.set(sockets)
    try:
        link = await Link.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            context=LOADERS,
            application_name=name(tag),
            client_encoding="utf8",
            options=options.strip(),
        )
    except BaseException:
        await to_the_end(sockets.all_ended(GIVE_UP_SECONDS))
        raise
    link.pgconn.enter_pipeline_mode()
    return Connection(tag=tag, link=link, duplicate=sockets.keep_last())


def name(tag: Tag) -> str:
    """The tag as an application_name; a long one keeps its two ends, since the slot stands last."""
    text = str(tag)
    return text if len(text) <= NAME_BYTES_MAX else f"{text[:40]}..{text[-21:]}"


async def close(connection: Connection, force: bool) -> bool:
    """Ends a connection. True: the server has let go of it."""
    if connection.gone is not None:
        return connection.gone
    if connection.pipeline is not None:
        connection.pipeline.end()
    link = connection.link
    if force and not link.closed and link.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
        await stop(link, CANCEL_SECONDS)
    try:
        await link.close()
        certain = await ended(connection.duplicate, CLOSE_SECONDS)
    except asyncio.CancelledError:
        connection.duplicate.close()
        raise
    if certain or force:
        connection.gone = certain
        connection.duplicate.close()
    return certain


async def stop(link: Link, seconds: float) -> bool:
    """Asks the server to stop the statement. True: it has taken the request."""
    try:
        await link.cancel_safe(timeout=seconds)
    except Exception:  # noqa: BLE001 - libpq's many ways to fail; all say that nobody knows whether it was taken
        return False
    return True
