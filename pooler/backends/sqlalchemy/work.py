"""What a connection's thread does for one call: the transaction, the statement, its rows. Called in that thread."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy

from pooler.backends.base import Work
from pooler.backends.sqlalchemy.connection import Connection
from pooler.backends.sqlalchemy.manners import Manners
from pooler.backends.statements import Rendered
from pooler.backends.tables import Page, affected_answer


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation, compiled."""

    name: str
    rendered: Rendered
    read: bool
    leaves_no_trace: bool
    streams: bool
    """Whether the driver is asked for a cursor that does not load the whole result: some take only queries then."""
    page_rows: int
    page_bytes: int


class Statement:
    """One plan, run once. Alone it is a transaction of its own: a read is rolled back, a write is committed when its
    answer is complete. A part of a session's transaction ends nothing, but says what has become of that."""

    def __init__(self, connection: Connection, manners: Manners, work: Work) -> None:
        self._connection = connection
        self._manners = manners
        self._plan: Plan = work.prepared
        self._arguments = work.arguments
        self._seconds = work.timeout_seconds
        self._inside = work.in_transaction

    def run(self) -> bytes:
        """The answer, as far as one page holds it."""
        with self._or_undone():
            result = self._execute(self._plan.page_rows + 1)
            body = _page(result, self._plan) if result.returns_rows else affected_answer(result.rowcount)
            self._end()
        return body

    def open(self) -> list[str] | bytes:
        """The columns of a result whose rows `fetch` brings, until `end`; or the whole answer, when there are none."""
        with self._or_undone():
            result = self._execute(0)
            if result.returns_rows:
                return _columns(result)
            body = affected_answer(result.rowcount)
            self._end()
        return body

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """The next rows; fewer than that many are the last."""
        result = self._connection.result
        assert result is not None, "fetched from a result that is not open"
        return _rows(result, count)

    def end(self, stopped: bool) -> None:
        """After the last row, or after the database was `stopped` from bringing more of them."""
        with self._or_undone():
            _close(self._connection)
            if stopped:
                self._manners.settle(self._connection)
            self._end()

    def _execute(self, rows_max: int) -> sqlalchemy.CursorResult[Any]:
        connection, plan = self._connection, self._plan
        values = plan.rendered.bind({name: _parameter(value) for name, value in self._arguments.items()})
        self._manners.prepare(connection, plan.read, rows_max, self._seconds)
        if plan.read and not self._inside:
            self._manners.begin_read(connection)
        options = {"stream_results": plan.streams}
        connection.result = sql_of(connection).exec_driver_sql(
            plan.rendered.sql, values or None, execution_options=options
        )
        return connection.result

    def _end(self) -> None:
        _close(self._connection)
        if self._inside:
            self._connection.transaction = self._manners.transaction(self._connection)
        elif self._plan.read:
            sql_of(self._connection).rollback()
        else:
            sql_of(self._connection).commit()

    @contextmanager
    def _or_undone(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell; a dead connection cannot roll back
                undo(self._connection, self._manners)
            raise


def undo(connection: Connection, manners: Manners) -> None:
    """After a failure: the end of the statement, and of a transaction that was its own."""
    _close(connection)
    if connection.transaction == "none":
        sql_of(connection).rollback()
        return
    connection.transaction = "failed"  # unless the database can be asked
    connection.transaction = manners.transaction_after_failure(connection)


def roll_back(connection: Connection, manners: Manners) -> None:
    """After a stop: the barrier, and the end of whatever statement or transaction of its own is open."""
    _close(connection)
    manners.settle(connection)
    undo(connection, manners)


def begin(connection: Connection, manners: Manners) -> None:
    """Opens a session's transaction."""
    manners.expect_alive(connection)
    sql = sql_of(connection)
    if not sql.in_transaction():
        sql.begin()  # SQLAlchemy's own book-keeping: without it a commit would not reach the driver
    manners.begin(connection)
    connection.transaction = "open"


def commit(connection: Connection, manners: Manners) -> None:
    """Ends it, and keeps what was done."""
    manners.expect_alive(connection)
    try:
        sql_of(connection).commit()
    except BaseException:
        with suppress(Exception):
            undo(connection, manners)
        raise
    connection.transaction = "none"


def end_session(connection: Connection) -> None:
    """Ends a session's transaction, whatever its state."""
    connection.transaction = "none"
    sql_of(connection).rollback()


def sql_of(connection: Connection) -> sqlalchemy.Connection:
    """SQLAlchemy's connection, which there is as long as calls come."""
    assert connection.sql is not None, "used before it was open"
    return connection.sql


def _close(connection: Connection) -> None:
    result, connection.result = connection.result, None
    if result is not None:
        result.close()


def _page(result: sqlalchemy.CursorResult[Any], plan: Plan) -> bytes:
    page = Page(_columns(result), plan.page_rows, plan.page_bytes, strict=plan.read)
    while wanted := page.wanted:
        rows = _rows(result, wanted)
        page.add(rows)
        if len(rows) < wanted:
            break
    return page.body()


def _columns(result: sqlalchemy.CursorResult[Any]) -> list[str]:
    assert result.cursor is not None
    return [column[0] for column in result.cursor.description]


def _rows(result: sqlalchemy.CursorResult[Any], count: int) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in result.fetchmany(count)]


def _parameter(value: Any) -> Any:
    """Lists and objects go as JSON text: `json_each(:ids)`, `JSON_CONTAINS(:tags, …)`."""
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value
