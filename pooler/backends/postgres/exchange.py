"""The exchanges with a server, as psycopg's generators: what is sent in one batch, and what must come back for it.

A batch ends with a Sync, and the server answers each with a ReadyForQuery; between the two an error skips the rest of
the batch. So whatever happens, an exchange reads on to its Sync, and leaves the connection idle or says that it is not.
Nothing here waits by itself, knows a deadline, or judges an error.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import errors, generators, pq
from psycopg.abc import PQGen
from psycopg.pq.abc import PGresult

from pooler.backends.base import Work
from pooler.backends.postgres import parameters
from pooler.backends.postgres.connection import Connection
from pooler.backends.postgres.rows import PageRows, Rows, WindowRows
from pooler.backends.statements import Rendered
from pooler.backends.tables import affected_answer

PREPARED_MAX = 200
"""Statements that a connection keeps prepared; a plan costs the server some 10 to 100 kB."""

_ROWS = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.SINGLE_TUPLE})

_ALONE = ((b"BEGIN READ ONLY",), (b"COMMIT",))
_INSIDE = ((b"SAVEPOINT penstock", b"SET TRANSACTION READ ONLY"), (b"RELEASE SAVEPOINT penstock",))
"""What stands around a read. In a session's transaction it is a part that can be stopped without the whole having
failed; the end of the part is the end of its being read-only."""

BACK = (b"ROLLBACK TO SAVEPOINT penstock", b"RELEASE SAVEPOINT penstock")
"""Out of a part that was stopped."""

TAIL_BATCHES = 5
"""Batches behind a full page that are read and dropped, because that is cheaper than to cancel the statement."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation, compiled."""

    name: str
    rendered: Rendered
    text: bytes
    read: bool
    leaves_no_trace: bool
    page_rows: int
    page_bytes: int


class Exchange:
    """One plan, run once on one connection."""

    def __init__(self, connection: Connection, work: Work) -> None:
        """Raises BackendError when an argument cannot be sent at all; nothing has been sent then."""
        plan: Plan = work.prepared
        self._connection = connection
        self._pgconn = connection.pgconn
        self._plan = plan
        self._types, self._values = parameters.encode([work.arguments.get(name) for name in plan.rendered.names])
        self._inside = work.in_transaction
        self._rows: Rows
        if work.window is not None and plan.read:
            self._rows = WindowRows(work.window)
        else:
            self._rows = PageRows(plan.page_rows, plan.page_bytes, strict=plan.read)
        self._steps: deque[Callable[[], PQGen[None]]] = deque()
        self._chunked = False
        self._behind = 0
        self._affected = 0
        self._error: Exception | None = None
        self.stale = False
        """The server no longer takes our prepared statement; nothing happened, and it is forgotten: run it anew."""
        self.paused = False
        """The window has had a piece: ask it whether it has room, and `run` on, or stop the server and then `drain`."""
        self.unfinished = False
        """The page is full and the server is still sending rows: stop it, and then `drain`."""

    def answer(self) -> bytes:
        """The table or the count. Raises what went wrong."""
        if self._error is not None:
            raise self._error
        return self._rows.body(self.paused) if self._rows.opened else affected_answer(self._affected)

    def run(self) -> PQGen[None]:
        """Sends the batch and reads it to its end, or to where it is `paused` or `unfinished`."""
        if self.paused:
            self.paused = False
        else:
            self._send()
            yield from generators.send(self._pgconn)
        while self._steps:
            yield from self._steps[0]()
            if self.paused or self.unfinished:
                return
            self._steps.popleft()
        try:
            yield from _to_sync(self._connection)
        except psycopg.OperationalError:
            raise self._error or psycopg.OperationalError("the server closed the connection") from None
        if not self._inside and self._pgconn.transaction_status != pq.TransactionStatus.IDLE:
            yield from command(self._connection, b"ROLLBACK")

    def _send(self) -> None:
        """Queues the batch. A new statement is prepared in front of the transaction that uses it."""
        connection, pgconn, plan = self._connection, self._pgconn, self._plan
        key = (plan.text, self._types)
        name = connection.prepared.get(key)
        if name is None:
            if len(connection.prepared) >= PREPARED_MAX:
                oldest = connection.prepared.pop(next(iter(connection.prepared)))
                self._say(b"DEALLOCATE " + oldest)
            connection.names += 1
            name = b"penstock_%d" % connection.names
            pgconn.send_prepare(name, plan.text, self._types)
            self._steps.append(lambda: self._note_prepared(name))
        before, after = (_INSIDE if self._inside else _ALONE) if plan.read else ((), ())
        for text in before:
            self._say(text)
        pgconn.send_query_prepared(name, self._values)
        self._steps.append(self._read_rows)
        for text in after:
            self._say(text)
        pgconn.pipeline_sync()
        connection.syncs += 1

    def _say(self, text: bytes) -> None:
        self._pgconn.send_query_params(text, None)
        self._steps.append(self._expect_done)

    def _expect_done(self) -> PQGen[None]:
        while result := (yield from generators.fetch(self._pgconn)):
            self._note_error(result)

    def _note_prepared(self, name: bytes) -> PQGen[None]:
        yield from self._expect_done()
        if self._error is None:
            self._connection.prepared[self._plan.text, self._types] = name

    def _read_rows(self) -> PQGen[None]:
        """Reads on from wherever it was paused."""
        if self._chunked:
            if self._take(self._rows.take_next):
                return
        elif self._error is None:
            self._pgconn.set_chunked_rows_mode(self._rows.batch_rows)
            self._chunked = True
        while result := (yield from generators.fetch(self._pgconn)):
            if result.status in _ROWS:
                if self._take(self._rows.take, result):
                    return
            elif result.status == pq.ExecStatus.COMMAND_OK:
                self._affected = result.command_tuples or 0
            else:
                self._note_error(result)
            self._behind += self._full
            if self._plan.read and self._behind > TAIL_BATCHES and result.status == pq.ExecStatus.TUPLES_CHUNK:
                self.unfinished = True
                return

    @property
    def _full(self) -> bool:
        return self._error is not None or self._rows.full

    def _take(self, take: Callable[..., bool], *result: PGresult) -> bool:
        """Whether to pause. What goes wrong with a row must not leave the rest of the exchange unread."""
        if self._full:
            return False
        try:
            self.paused = take(*result)
        except Exception as error:  # noqa: BLE001 - kept, and raised by `answer`
            self._error = error
        return self.paused

    def _note_error(self, result: PGresult) -> None:
        if result.status == pq.ExecStatus.FATAL_ERROR and self._error is None:
            self._error = errors.error_from_result(result)
            if is_stale(self._error):
                self._connection.prepared.pop((self._plan.text, self._types), None)
                self.stale = True


def is_stale(error: psycopg.Error) -> bool:
    """Whether the error is about our prepared statement: dropped by somebody, or its table has changed since."""
    return error.sqlstate == "26000" or error.diag.source_function == "RevalidateCachedQuery"


def command(connection: Connection, text: bytes) -> PQGen[None]:
    """One command without values or rows, as a batch of its own. Raises the server's error."""
    yield from column(connection, text, None)


def column(connection: Connection, query: bytes, value: bytes | None) -> PQGen[list[str]]:
    """The first column of a query that has one parameter, or none, as text. Raises the server's error."""
    connection.pgconn.send_query_params(query, None if value is None else [value])
    connection.pgconn.pipeline_sync()
    connection.syncs += 1
    yield from generators.send(connection.pgconn)
    found: list[str] = []
    error: psycopg.Error | None = None
    while result := (yield from generators.fetch(connection.pgconn)):
        if result.status == pq.ExecStatus.FATAL_ERROR:
            error = errors.error_from_result(result)
        found += [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]
    yield from _to_sync(connection)
    if error is not None:
        raise error
    return found


def drain(connection: Connection) -> PQGen[None]:
    """Sends what an interrupted exchange had not, and drops all that is still to come for it."""
    yield from generators.send(connection.pgconn)
    while connection.syncs:
        yield from _to_sync(connection)


def _to_sync(connection: Connection) -> PQGen[None]:
    """Drops results up to the end of a batch. libpq has an empty result between two commands of a batch, and nothing
    but empty ones when the server has gone."""
    pgconn = connection.pgconn
    while True:
        result = yield from generators.fetch(pgconn)
        if result is None:
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the server closed the connection")
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            connection.syncs -= 1
            return
