"""A session's transaction on one connection, and the way out of a statement whose rows nobody wants any more.

The server says with each answer where its transaction stands, so nothing here has to guess.
"""

import psycopg
from psycopg import pq

from pooler.backends.base import BackendError, Failure, FailureKind
from pooler.backends.postgres import connection as connections
from pooler.backends.postgres import exchange
from pooler.backends.postgres.connection import Connection

STOP_SECONDS = 5.0
"""How long a cancel may take to reach the server."""


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


async def stop(connection: Connection) -> bool:
    """Stops the statement, if there is one, and reads what is left of it. False: nobody knows whether it has stopped.

    What follows must be a round trip of its own: a cancel that came too late hits that.
    """
    if connection.syncs and not await connections.stop(connection.link, STOP_SECONDS):
        return False
    await connection.run(exchange.drain(connection))
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
    if connection.transaction != "none" and connection.pgconn.transaction_status == pq.TransactionStatus.INERROR:
        await say(connection, *exchange.BACK)
    else:
        await settle(connection)
