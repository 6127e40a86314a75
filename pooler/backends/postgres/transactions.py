"""A session's transaction on one connection, and the way out of a statement whose rows nobody wants any more.

The server says with each answer where its transaction stands, so nothing here has to guess.
"""

import asyncio
from contextlib import suppress

import psycopg
from psycopg import pq

from pooler.backends.base import BackendError, Failure, FailureKind
from pooler.backends.postgres import connection as connections
from pooler.backends.postgres import exchange
from pooler.backends.postgres.connection import Connection

STOP_SECONDS = 5.0
"""How long a cancel may take to reach the server."""

AGAIN_SECONDS = 0.05
AGAIN_SECONDS_MAX = 1.0
"""How long the answer to a cancel is read before it is said again; the pause doubles up to this. PostgreSQL 15 lost 7
of 8 cancels that came while it compiled the statement (JIT), and none of 8 without; then it went on to the end."""


def note(connection: Connection) -> None:
    """What the server said last. One that has not answered yet may have failed."""
    match connection.pgconn.transaction_status:
        case pq.TransactionStatus.IDLE:
            connection.transaction = "none"
        case pq.TransactionStatus.INTRANS:
            connection.transaction = "open"
        case _:
            connection.transaction = "failed"


async def say(connection: Connection, *commands: bytes) -> None:
    """Commands that begin or end a transaction. Raises the server's error."""
    try:
        for text in commands:
            await connection.run(exchange.command(connection, text))
    finally:
        note(connection)


async def unguard(connection: Connection) -> None:
    """What is begun from now on may write again, as far as its role may."""
    await connection.run(exchange.command(connection, b"RESET default_transaction_read_only"))
    connection.guarded = False


async def stop(connection: Connection) -> bool:
    """Stops the statement, if there is one, and reads what is left of it. False: nobody knows whether it has stopped.

    A server may lose a cancel, so it is said again for as long as the statement goes on.
    What follows must be a round trip of its own: a cancel that came too late hits that.
    """
    patience = AGAIN_SECONDS
    while connection.syncs:
        if not await connections.stop(connection.link, STOP_SECONDS):
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await connection.run(exchange.drain(connection))
        patience = min(2 * patience, AGAIN_SECONDS_MAX)
    return True


async def settle(connection: Connection) -> None:
    """That round trip. A session's transaction is left as it is; any other is rolled back."""
    if connection.transaction == "none":
        await connection.run(exchange.command(connection, b"ROLLBACK"))
        return
    try:
        await say(connection, b"SELECT 1")
    except psycopg.Error:
        if connection.pgconn.status != pq.ConnStatus.OK:
            raise  # what has failed is the connection, and not just the transaction


async def cut(connection: Connection) -> None:
    """Stops a read in the midst of its rows. The connection is as before, and so is a session's transaction."""
    if not await stop(connection):
        raise BackendError(Failure(FailureKind.DEAD, "the server did not stop sending rows that nobody wants"))
    in_the_midst = connection.pgconn.transaction_status == pq.TransactionStatus.INERROR
    await settle(connection)
    if in_the_midst and connection.transaction != "none":
        await say(connection, *exchange.BACK)
