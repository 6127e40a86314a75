"""A connection that listens: LISTEN, UNLISTEN, and what the server says between its answers.

A notification may come in the midst of any exchange, so each connection that listens has a handler of libpq's which
keeps what came until it is asked for. It opens no connection, and does not know what anybody does with what is heard.
"""

from collections.abc import Collection

from psycopg import generators, pq, sql
from psycopg.abc import PQGen

from pooler.backends.base import Notification
from pooler.backends.postgres import exchange
from pooler.backends.postgres.connection import Connection


async def listen(connection: Connection, channels: Collection[str]) -> None:
    """Listens on these channels, and on no others. Raises the server's error."""
    if connection.channels is None:
        connection.channels = set()
        connection.link.add_notify_handler(connection.heard.append)
    for channel in sorted(connection.channels - set(channels)):
        await connection.run(exchange.command(connection, b"UNLISTEN " + _name(connection, channel)))
        connection.channels.remove(channel)
    for channel in sorted(set(channels) - connection.channels):
        await connection.run(exchange.command(connection, b"LISTEN " + _name(connection, channel)))
        connection.channels.add(channel)


async def heard(connection: Connection) -> list[Notification]:
    """What has been said; waits until something has been. Raises the error of a connection that has ended."""
    while not connection.heard:
        await connection.run(_wait(connection.pgconn))
    said = [Notification(notify.channel, notify.payload) for notify in connection.heard]
    connection.heard.clear()
    return said


def forget(connection: Connection) -> None:
    """The server listens to nothing for it any more, after DISCARD ALL."""
    if connection.channels is not None:
        connection.link.remove_notify_handler(connection.heard.append)
        connection.channels = None
        connection.heard.clear()


def _wait(pgconn: pq.abc.PGconn) -> PQGen[None]:
    """Reads once; the handler has what came."""
    yield from generators.notifies(pgconn)


def _name(connection: Connection, channel: str) -> bytes:
    return sql.Identifier(channel).as_bytes(connection.link)
