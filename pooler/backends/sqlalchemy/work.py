"""What a connection's thread does for one call: the transaction, the statement, one page of its rows."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy

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


def run(connection: Connection, manners: Manners, plan: Plan, arguments: Mapping[str, Any], seconds: float) -> bytes:
    """The answer of one call. A read is rolled back, a write is committed when its answer is complete."""
    sql = connection.sql
    assert sql is not None, "used before it was open"
    values = plan.rendered.bind({name: _parameter(value) for name, value in arguments.items()})
    manners.begin(connection, plan.read, plan.page_rows + 1, seconds)
    try:
        result = sql.exec_driver_sql(
            plan.rendered.sql, values or None, execution_options={"stream_results": plan.streams}
        )
        body = _page(result, plan) if result.returns_rows else affected_answer(result.rowcount)
        result.close()
        if plan.read:
            sql.rollback()
        else:
            sql.commit()
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell; a dead connection cannot roll back
            sql.rollback()
        raise
    return body


def roll_back(connection: Connection, manners: Manners) -> None:
    """After a stop: the barrier, and the end of whatever transaction is open."""
    manners.settle(connection)
    assert connection.sql is not None, "used before it was open"
    connection.sql.rollback()


def _page(result: sqlalchemy.CursorResult[Any], plan: Plan) -> bytes:
    assert result.cursor is not None
    columns = [column[0] for column in result.cursor.description]
    page = Page(columns, plan.page_rows, plan.page_bytes, strict=plan.read)
    while wanted := page.wanted:
        rows = [tuple(row) for row in result.fetchmany(wanted)]
        page.add(rows)
        if len(rows) < wanted:
            break
    return page.body()


def _parameter(value: Any) -> Any:
    """Lists and objects go as JSON text: `json_each(:ids)`, `JSON_CONTAINS(:tags, …)`."""
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value
