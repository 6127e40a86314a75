"""The adapter for SQLAlchemy's dialects: what the hands ask for becomes work for the connection's thread."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import cast, get_args

from sqlalchemy import URL, make_url

from pooler.backends import base, by_key, statements, streams, traces
from pooler.backends.base import (
    Answer,
    BackendError,
    Failure,
    FailureKind,
    Notes,
    Operation,
    Tag,
    Verdict,
    Window,
    Work,
)
from pooler.backends.sqlalchemy import work as works
from pooler.backends.sqlalchemy.classify import classify, classify_start
from pooler.backends.sqlalchemy.connection import Connection
from pooler.backends.sqlalchemy.doors import Doors
from pooler.backends.sqlalchemy.manners import Manners
from pooler.backends.sqlalchemy.settings import Settings
from pooler.backends.sqlalchemy.work import Plan, Statement

_SECRET = ("pass", "pwd", "secret", "token", "key")
"""What is in the name of a connect argument that must not be shown."""


def build(settings: Settings) -> "Adapter":
    """Makes the adapter.

    Raises ValueError when SQLAlchemy cannot read the URL or knows no such dialect, ImportError without the driver.
    """
    try:
        url = make_url(settings.url.get_secret_value())
        url.get_dialect()
    except Exception:  # noqa: BLE001 - its message may repeat the URL, and with it the password
        raise ValueError("`url` is no URL that SQLAlchemy can read, or names a dialect that is not installed") from None
    try:
        return Adapter(url, settings)
    except ModuleNotFoundError as error:
        hint = "pip install 'penstock[mariadb]'" if error.name == "pymysql" else "install it beside Penstock"
        raise ImportError(f"the driver of `url` needs the package {error.name!r}: {hint}") from error


def manners_of(url: URL) -> Manners:
    """The manners of a URL's dialect and driver; a module is imported when it is needed."""
    match (url.get_backend_name(), url.get_driver_name()):
        case ("sqlite", "pysqlite"):
            from pooler.backends.sqlalchemy.sqlite import SqliteManners

            return SqliteManners()
        case ("mysql" | "mariadb", "pymysql"):
            from pooler.backends.sqlalchemy.mysql import MysqlManners

            return MysqlManners()
    return Manners()


class Adapter(base.Adapter[Connection, Plan]):
    """Connections to one database as one user."""

    def __init__(self, url: URL, settings: Settings) -> None:
        self._manners = manners_of(url)
        self.traits = self._manners.traits
        self._lexis = settings.lexis
        self._doors = Doors(url, settings.connect_args, self._manners)
        told = settings.connect_args.items()
        secrets = [value for name, value in told if isinstance(value, str) and any(word in name for word in _SECRET)]
        self._secrets = [secret for secret in (url.password, *secrets) if secret]

    def prepare(self, operation: Operation) -> Plan:
        statement = by_key.page(operation, self._lexis)
        style = self._doors.engine.dialect.paramstyle
        if style not in get_args(statements.Paramstyle):
            raise ValueError(f"the driver's parameters are spelled {style!r}, which nobody here can write")
        read = operation.effect == "read"
        harmless = read and traces.leaves_no_trace(statement)
        return Plan(
            name=operation.name,
            rendered=statement.render(cast(statements.Paramstyle, style)),
            read=read,
            leaves_no_trace=harmless,
            streams=harmless or (read and statement.verb == "SELECT"),
            page_rows=operation.page_rows,
            page_bytes=operation.page_bytes,
        )

    async def open(self, tag: Tag) -> Connection:
        try:
            return await self._doors.open(tag)
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(classify_start(error, self._manners, self._secrets)) from error

    async def validate(self, connection: Connection) -> None:
        await connection.thread.submit(partial(self._ping, connection))

    def _ping(self, connection: Connection) -> None:
        self._doors.engine.dialect.do_ping(connection.driver)

    async def execute(self, connection: Connection, work: Work) -> Answer:
        plan: Plan = work.prepared
        if work.in_transaction:
            connection.expect_transaction()
        if not plan.leaves_no_trace:
            connection.dirty = True
        statement = Statement(connection, self._manners, work)
        if work.window is None or not plan.read:
            return Answer(await connection.thread.submit(statement.run))
        opened = await connection.thread.submit(statement.open)
        return Answer(
            opened if isinstance(opened, bytes) else await self._bring(connection, statement, opened, work.window)
        )

    async def _bring(self, connection: Connection, statement: Statement, columns: list[str], window: Window) -> bytes:
        """All rows, or as many as the window wants."""
        try:
            window.open(columns)
            more = await self._fill(connection, statement, window)
        except Exception as error:
            if self.classify(error).kind is not FailureKind.DEAD:
                with suppress(Exception):  # the first error is the one to tell; a reset will find what is left
                    await self._leave(connection, statement)
            raise
        if more:
            await self._leave(connection, statement)
        else:
            await connection.thread.submit(partial(statement.end, False))
        return window.close(more)

    async def _fill(self, connection: Connection, statement: Statement, window: Window) -> bool:
        """Whether there is more that the window does not want."""
        while True:
            rows = await connection.thread.submit(partial(statement.fetch, window.batch_rows))
            last = len(rows) < window.batch_rows
            if not await streams.take(window, rows, last):
                return True
            if last:
                return False

    async def _leave(self, connection: Connection, statement: Statement) -> None:
        if not await self._manners.leave(connection, self._doors):
            raise BackendError(Failure(FailureKind.DEAD, "the database did not stop sending rows that nobody wants"))
        await connection.thread.submit(partial(statement.end, True))

    async def cancel(self, connection: Connection) -> Verdict:
        if connection.thread.busy and not await self._manners.stop(connection, self._doors):
            return Verdict.DISCARD
        if connection.result is not None and not await self._manners.leave(connection, self._doors):
            return Verdict.DISCARD
        await connection.thread.submit(partial(works.roll_back, connection, self._manners))
        return Verdict.CLEAN

    async def reset(self, connection: Connection) -> Verdict:
        await self.rollback(connection)
        if not await self._manners.renew(connection, self._doors):
            return Verdict.DISCARD
        connection.dirty = False
        return Verdict.CLEAN

    async def begin(self, connection: Connection) -> None:
        connection.dirty = True
        await connection.thread.submit(partial(works.begin, connection, self._manners))

    async def commit(self, connection: Connection) -> None:
        connection.expect_transaction()
        await connection.thread.submit(partial(works.commit, connection, self._manners))

    async def rollback(self, connection: Connection) -> None:
        if connection.transaction != "none":
            await connection.thread.submit(partial(works.end_session, connection))

    async def close(self, connection: Connection, force: bool) -> bool:
        return await self._doors.close(connection, force)

    async def census(self, connection: Connection | None, left: Mapping[Tag, Notes]) -> dict[Tag, bool]:
        async with self._doors.side(next(iter(left))) as side:
            return await side.thread.submit(partial(self._manners.census, side, left))

    def classify(self, error: BaseException) -> Failure:
        return classify(error, self._manners, self._secrets)
