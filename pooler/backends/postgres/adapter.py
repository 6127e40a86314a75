"""The adapter for PostgreSQL.

A read runs in a read-only transaction, a write as a statement of its own, each in one round trip with a statement that
the connection prepares once. A cancel goes to the server over a socket that takes none of its connections.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import psycopg
import structlog
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from pooler.backends import by_key, shared, statements, streams, traces
from pooler.backends.base import (
    Answer,
    BackendError,
    Failure,
    FailureKind,
    Notes,
    Notification,
    Operation,
    Tag,
    Traits,
    Verdict,
    Window,
    Work,
)
from pooler.backends.postgres import connection as connections
from pooler.backends.postgres import exchange, listening, transactions
from pooler.backends.postgres.classify import classify
from pooler.backends.postgres.connection import Connection
from pooler.backends.postgres.exchange import Exchange, Plan
from pooler.backends.postgres.pipeline import Pipeline
from pooler.backends.postgres.settings import Settings
from pooler.runtime.sockets import has_news

ORPHAN_SECONDS = 3.0
"""A server that looks every second whether its client is there has rolled back and gone by then."""

_CENSUS = b"""
SELECT application_name, CASE WHEN usename = session_user THEN pg_terminate_backend(pid) END
FROM pg_stat_activity WHERE application_name = ANY (string_to_array($1, chr(10)))
"""

_AT_REST = (pq.TransactionStatus.IDLE,)
_IN_SESSION = (pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

log = structlog.get_logger(__name__)


def build(settings: Settings) -> "Adapter":
    """Makes the adapter. Raises ValueError when libpq cannot read the connection string."""
    url = settings.url.get_secret_value()
    try:
        conninfo_to_dict(url)
    except Exception:  # noqa: BLE001 - its message repeats the string, and with it the password
        raise ValueError("`url` is no connection string that libpq can read") from None
    return Adapter(url, settings.streams)


class Adapter(shared.Adapter[Connection, Plan]):
    """Connections to one database as one role."""

    traits = Traits(
        io="async",
        affinity="none",
        cancel="native",
        reset="full",
        tx="local",
        fate="shared",
        orphans="listed",
        orphan_seconds=ORPHAN_SECONDS,
    )

    def __init__(self, url: str, streams: int = 1) -> None:
        self.traits = replace(self.traits, streams=streams)
        self._url = url
        self._watched = True

    def prepare(self, operation: Operation) -> Plan:
        statement = by_key.page(operation, statements.POSTGRES)
        rendered = statement.render("numeric_dollar")
        return Plan(
            name=operation.name,
            rendered=rendered,
            text=rendered.sql.encode(),
            read=operation.effect == "read",
            leaves_no_trace=operation.effect == "read" and traces.leaves_no_trace(statement),
            page_rows=operation.page_rows,
            page_bytes=operation.page_bytes,
        )

    async def open(self, tag: Tag) -> Connection:
        connection = await self._open(tag)
        connection.streams = self.traits.streams
        return connection

    async def _open(self, tag: Tag) -> Connection:
        watched = self._watched
        try:
            return await connections.connect(self._url, tag, watched)
        except psycopg.OperationalError as error:
            if not watched or connections.WATCHING not in str(error):
                raise
        # Its name is in the refusal, in whatever language: an older server, or a proxy.
        self._watched = False
        log.warning(
            "the server does not look after its clients during a statement (PostgreSQL 14 and later do): what a killed "
            "pooler leaves at work goes on until it is asked after",
            backend=tag.backend,
        )
        return await connections.connect(self._url, tag, watched=False)

    async def validate(self, connection: Connection) -> None:
        await connection.run(exchange.command(connection, b"SELECT 1"))

    async def execute(self, connection: Connection, work: Work) -> Answer:
        plan: Plan = work.prepared
        if work.in_transaction:
            connection.expect_transaction()
        if not plan.leaves_no_trace:
            connection.dirty = True
        _expect_alive(connection)
        if connection.guarded and not plan.read:
            await transactions.unguard(connection)
        attempt = Exchange(connection, work)
        try:
            await connection.run(attempt.run())
            if attempt.stale and not work.in_transaction:
                attempt = Exchange(connection, work)
                await connection.run(attempt.run())
            if attempt.paused and work.window is not None:
                await _fill(connection, attempt, work.window)
            if attempt.paused or attempt.unfinished:
                await transactions.cut(connection)
        finally:
            if work.in_transaction:
                transactions.note(connection)
        return Answer(attempt.answer())

    def submit(self, connection: Connection, work: Work, done: shared.Done) -> None:
        if connection.pipeline is None:
            connection.pipeline = Pipeline(connection)
        connection.pipeline.send(work, done)

    def at_work(self, connection: Connection) -> shared.Done | None:
        return None if connection.pipeline is None else connection.pipeline.at_work

    def leave_behind(self, connection: Connection) -> None:
        if connection.pipeline is not None:
            connection.pipeline.leave_behind()

    async def cancel(self, connection: Connection) -> Verdict:
        if connection.pipeline is not None:
            connection.pipeline.end()
        if not await transactions.stop(connection):
            return Verdict.DISCARD
        await transactions.settle(connection)
        return _verdict(connection)

    async def reset(self, connection: Connection) -> Verdict:
        if connection.pipeline is not None:
            connection.pipeline.end()
            connection.pipeline.forget()
        if not await transactions.stop(connection):  # what nobody waits for any more
            return Verdict.DISCARD
        await self.rollback(connection)
        connection.prepared.clear()
        await connection.run(exchange.command(connection, b"DISCARD ALL"))
        connection.guarded = False
        listening.forget(connection)
        connection.dirty = False
        return _verdict(connection)

    async def begin(self, connection: Connection) -> None:
        _expect_alive(connection)
        connection.dirty = True
        if connection.guarded:
            await transactions.unguard(connection)
        await transactions.say(connection, b"BEGIN")

    async def commit(self, connection: Connection) -> None:
        connection.expect_transaction()
        _expect_alive(connection)
        await transactions.say(connection, b"COMMIT")

    async def rollback(self, connection: Connection) -> None:
        if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            await transactions.say(connection, b"ROLLBACK")
        connection.transaction = "none"

    async def close(self, connection: Connection, force: bool) -> bool:
        return await connections.close(connection, force)

    async def listen(self, connection: Connection, channels: Collection[str]) -> None:
        connection.dirty = True
        await listening.listen(connection, channels)

    async def heard(self, connection: Connection) -> Sequence[Notification]:
        return await listening.heard(connection)

    async def census(self, connection: Connection | None, left: Mapping[Tag, Notes]) -> dict[Tag, bool]:
        """By application name. Those of our own role are told to end; the server may not have noticed by itself."""
        assert connection is not None, "no side-channel connections here"
        names = {tag: connections.name(tag) for tag in left}
        query = exchange.column(connection, _CENSUS, "\n".join(names.values()).encode())
        listed = set(await connection.run(query))
        return {tag: name in listed for tag, name in names.items()}

    def classify(self, error: BaseException) -> Failure:
        return classify(error)


async def _fill(connection: Connection, attempt: Exchange, window: Window) -> None:
    """Brings rows as long as they are wanted."""
    try:
        while attempt.paused and await streams.wants_more(window):
            await connection.run(attempt.run())
    except Exception:
        if attempt.paused:  # the window's own failure, and no reason to leave its rows to the next call
            await transactions.cut(connection)
        raise


def _expect_alive(connection: Connection) -> None:
    """Looks at what has come while the connection was idle: an end that came before the request cannot be its doing."""
    try:
        while has_news(connection.duplicate):
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        words = "the server closed the connection while it was idle"
        raise BackendError(Failure(FailureKind.DEAD, words, started=False)) from None


def _verdict(connection: Connection) -> Verdict:
    """A transaction after a clean-up that is no session's means that nobody knows what this connection is doing."""
    at_rest = _AT_REST if connection.transaction == "none" else _IN_SESSION
    known = connection.pgconn.transaction_status in at_rest and not connection.syncs
    return Verdict.CLEAN if known else Verdict.DISCARD
