"""The manners of MariaDB and MySQL, through PyMySQL.

A read runs in `START TRANSACTION READ ONLY`. A statement is stopped by `KILL QUERY` over a second connection, from the
reserve; one that comes late would hit the next statement, so a round trip follows that may take the blow. A reset is
COM_RESET_CONNECTION, after which the names, the autocommit mode and the current database are set again: the first two
are reset too, the last is not. PyMySQL binds by writing escaped literals; it has no parameters of the protocol's own.

TLS is off for a server on this machine unless the URL says otherwise: PyMySQL reads the certificates of all authorities
for each connection, 97 ms.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from math import ceil
from socket import SHUT_RDWR
from typing import Any

import pymysql
import sqlalchemy
from pymysql.constants import SERVER_STATUS
from sqlalchemy.exc import SQLAlchemyError

from pooler.backends.base import BackendError, Failure, FailureKind, Notes, Tag, Traits, Transaction
from pooler.backends.sqlalchemy import mysql_census
from pooler.backends.sqlalchemy.connection import Connection
from pooler.backends.sqlalchemy.manners import CONNECT_SECONDS, Doors, Manners
from pooler.runtime.sockets import duplicate, ended, has_news

COM_RESET_CONNECTION = 0x1F
KILLED = 1317
"""What a statement says that was stopped by KILL QUERY."""
STOP_SECONDS = 5.0
GONE_SECONDS = 3.0
ASK_AGAIN_SECONDS = 0.02

LOGIN_READ_SECONDS = 60
"""How long the driver waits for the server's next byte before the first statement sets its own bound."""

MARGIN_SECONDS = 15.0
"""A blocking read may outlast its call by this much: the hands cancel at the call's own bound, and have 10 s for it."""

LEFT_ROWS = 1000
"""Read at once when a result is given up; what is on its way fits the sockets' buffers."""

_KINDS = {
    1040: FailureKind.LIMIT,  # too many connections
    1203: FailureKind.LIMIT,  # … of this user
    1226: FailureKind.LIMIT,  # max_user_connections and its like
    1044: FailureKind.AUTH,
    1045: FailureKind.AUTH,
    1130: FailureKind.AUTH,
    1698: FailureKind.AUTH,
    1053: FailureKind.DEAD,  # the server is being shut down
    1927: FailureKind.DEAD,  # MariaDB: the connection was killed
    2002: FailureKind.DEAD,
    2003: FailureKind.DEAD,
    2006: FailureKind.DEAD,
    2013: FailureKind.DEAD,
    2014: FailureKind.DEAD,  # out of step: nothing it says can be trusted
    4031: FailureKind.DEAD,  # MySQL 8: idle for too long
    KILLED: FailureKind.CANCELLED,
    1969: FailureKind.TIMEOUT,  # MariaDB: max_statement_time
    3024: FailureKind.TIMEOUT,  # MySQL: max_execution_time
    1020: FailureKind.BUSY_RETRY,  # MariaDB: the row has changed since the snapshot
    1205: FailureKind.BUSY_RETRY,
    1213: FailureKind.BUSY_RETRY,
    1792: FailureKind.USER_ERROR,  # a write in a read-only transaction
}


class MysqlManners(Manners):
    """A server with a list of threads, which any connection of the same user may look at and kill from."""

    traits = Traits(
        io="thread",
        affinity="thread",
        cancel="side_channel",
        reset="full",
        tx="local",
        fate="shared",
        orphans="listed",
    )

    def arguments(self, named: Mapping[str, Any], tag: Tag) -> dict[str, Any]:
        told = {"program_name": str(tag), "connect_timeout": CONNECT_SECONDS, "read_timeout": LOGIN_READ_SECONDS}
        if not any(name.startswith("ssl") for name in named) and _is_local(named):
            told["ssl_disabled"] = True
        return {name: value for name, value in told.items() if name not in named}

    def opened(self, connection: Connection) -> None:
        driver = connection.driver
        connection.server_id = driver.thread_id()
        connection.duplicate = duplicate(driver._sock.fileno())
        connection.notes = mysql_census.whereabouts(driver)

    def expect_alive(self, connection: Connection) -> None:
        if connection.duplicate is not None and has_news(connection.duplicate):  # only its end is told unasked
            words = "the server closed the connection while it was idle"
            raise BackendError(Failure(FailureKind.DEAD, words, started=False))

    def prepare(self, connection: Connection, read: bool, rows_max: int, seconds: float) -> None:
        self.expect_alive(connection)
        driver = connection.driver
        driver._read_timeout = seconds + MARGIN_SECONDS  # PyMySQL looks at it before each read
        if rows_max:
            # Or an unread result would have to be read to its end. A statement's own LIMIT goes first.
            limits = f"sql_select_limit = {rows_max:d}"
        else:
            # All of it may have to wait for its reader, for which the server has no patience by itself.
            limits = f"sql_select_limit = DEFAULT, net_write_timeout = {ceil(seconds + MARGIN_SECONDS):d}"
        if connection.limits != limits:
            _say(driver, f"SET {limits}")
            connection.limits = limits

    def begin_read(self, connection: Connection) -> None:
        _say(connection.driver, "START TRANSACTION READ ONLY")

    def begin(self, connection: Connection) -> None:
        _say(connection.driver, "START TRANSACTION")

    def transaction(self, connection: Connection) -> Transaction:
        """As the server said with its last OK: a deadlock ends a transaction, and so does many a CREATE or ALTER."""
        return "open" if connection.driver.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS else "none"

    def transaction_after_failure(self, connection: Connection) -> Transaction:
        _say(connection.driver, "DO 0")  # an error does not say it
        return self.transaction(connection)

    def reset(self, connection: Connection) -> bool:
        driver = connection.driver
        driver._execute_command(COM_RESET_CONNECTION, b"")
        driver._read_ok_packet()
        connection.limits = ""
        _say(driver, f"SET NAMES {driver.charset}, autocommit = {int(bool(driver.autocommit_mode))}")
        if driver.sql_mode is not None or driver.init_command is not None:
            return False  # what the URL asked for at the start is gone; only a new connection has it again
        if driver.db is not None:
            driver.select_db(driver.db)
        return True

    async def stop(self, connection: Connection, doors: Doors) -> bool:
        return await self._kill(connection, doors, "KILL QUERY")

    async def leave(self, connection: Connection, doors: Doors) -> bool:
        if not _is_bringing(connection.driver):
            return True
        if not await self.stop(connection, doors):
            return False
        await connection.thread.submit(lambda: _read_to_the_end(connection))
        return True

    def forget(self, result: sqlalchemy.CursorResult[Any]) -> None:
        unread = getattr(result.cursor, "_result", None)
        if unread is not None:
            unread.unbuffered_active = False  # or PyMySQL would read it to its end, on whatever socket is left
        result.close()

    def settle(self, connection: Connection) -> None:
        try:
            _say(connection.driver, "DO 0")
        except pymysql.err.OperationalError as error:
            if error.args[0] != KILLED:
                raise
            _say(connection.driver, "DO 0")

    async def kill(self, connection: Connection, doors: Doors) -> None:
        try:
            ended = await self._kill(connection, doors, "KILL CONNECTION")
        except Exception:  # noqa: BLE001 - a server that is out of reach or full has many ways to say so
            ended = False
        if not ended and connection.duplicate is not None:
            connection.severed = True
            with suppress(OSError):
                connection.duplicate.shutdown(SHUT_RDWR)  # the thread comes back; the server may not have noticed

    async def _kill(self, connection: Connection, doors: Doors, how: str) -> bool:
        """Says it over another connection, and waits for the thread to come back."""
        async with doors.side(connection.tag) as side:
            await side.thread.submit(lambda: _say(side.driver, f"{how} {connection.server_id:d}"))
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await connection.thread.idle()
        except TimeoutError:
            return False
        return True

    async def gone(self, connection: Connection, doors: Doors) -> bool:
        """The end of the socket, and then the server's own list: it rolls back between the two."""
        if connection.duplicate is None:
            return True
        if not connection.severed and not await ended(connection.duplicate, GONE_SECONDS):
            return False
        if not await self._unlisted(connection, doors):
            return False
        connection.duplicate.close()
        connection.duplicate = None
        return True

    async def _unlisted(self, connection: Connection, doors: Doors) -> bool:
        """Whether the server has taken the connection off its list. A server that lets nobody in cannot be asked; then
        the end of the socket has to do."""
        try:
            async with doors.side(connection.tag) as side, asyncio.timeout(GONE_SECONDS):
                while await side.thread.submit(lambda: _is_listed(side.driver, connection.server_id)):  # noqa: ASYNC110
                    await asyncio.sleep(ASK_AGAIN_SECONDS)  # a server tells nobody about its list
        except TimeoutError:
            return False
        except SQLAlchemyError:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            return not connection.severed
        return True

    def census(self, side: Connection, left: Mapping[Tag, Notes]) -> dict[Tag, bool]:
        return mysql_census.census(side.driver, left)

    def kind_of(self, error: BaseException) -> FailureKind | None:
        if not isinstance(error, pymysql.err.MySQLError) or not error.args:
            return None
        if isinstance(error, pymysql.err.InterfaceError) and error.args[0] == 0:
            return FailureKind.DEAD  # PyMySQL on a connection that it has closed by itself
        return _KINDS.get(error.args[0])

    def words_of(self, error: BaseException) -> str:
        return str(error.args[1]) if len(error.args) > 1 else str(error)


def _is_bringing(driver: Any) -> bool:
    """Whether rows of the last result are still to come."""
    return driver._result is not None and driver._result.unbuffered_active


def _read_to_the_end(connection: Connection) -> None:
    """After a KILL QUERY: what was on its way, and then the error."""
    assert connection.result is not None
    assert connection.result.cursor is not None
    try:
        while connection.result.cursor.fetchmany(LEFT_ROWS):
            pass
    except pymysql.err.OperationalError as error:
        if error.args[0] != KILLED:
            raise


def _is_listed(driver: Any, server_id: int) -> bool:
    with driver.cursor() as cursor:
        cursor.execute("SELECT 1 FROM information_schema.processlist WHERE id = %s", (server_id,))
        return cursor.fetchone() is not None


def _say(driver: Any, command: str) -> None:
    """One command without a result, past SQLAlchemy and without a cursor."""
    driver.query(command)


def _is_local(named: Mapping[str, Any]) -> bool:
    host = named.get("host", "localhost")
    if named.get("unix_socket") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
