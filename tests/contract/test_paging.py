"""Results page by page, as every kind of backend brings them and as its dialect reads them by key."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from pooler.backends.base import Answer, Connection, FailureKind, Operation
from pooler.clock import monotonic
from pooler.core.cursors import Keyed, Spooled
from pooler.runtime import keyed
from pooler.runtime.handles import KEY_BYTES, Sealer
from pooler.runtime.pages import Limits
from pooler.runtime.results import Paging, Results
from pooler.runtime.spool import Place
from pooler.runtime.turns import Turn
from tests.contract.subject import CALLER, PAGE_BYTES, PAGE_ROWS, Subject

pytestmark = pytest.mark.anyio

COUNT = 1000
KEYED = {
    "postgres": "SELECT n, {kind} AS k, 'row ' || n AS label FROM generate_series(1, :count::int) AS n",
    "mariadb": "SELECT seq AS n, {kind} AS k, concat('row ', seq) AS label FROM seq_1_to_1000 WHERE seq <= :count",
    "sqlite": (
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count) "
        "SELECT n, {kind} AS k, 'row ' || n AS label FROM s"
    ),
}
"""One statement a dialect, with a second column whose values are of a kind that it can be paged by."""
KINDS = {
    "postgres": [
        "n % 7",
        "DATE '2026-01-01' + (n % 7)::int",
        "(n % 7)::numeric / 4",
        "'k' || n % 7",
        "9007199254740993 + n % 7",
        "(n % 7)::float8 / 3",
        "TIMESTAMPTZ '2026-01-01 12:00+01' + (n % 7) * INTERVAL '1 h 0.000001 s'",
        "lpad((n % 7)::text, 32, '0')::uuid",
        "decode(lpad((n % 7)::text, 4, '0'), 'hex')",
    ],
    "mariadb": [
        "seq % 7",
        "DATE '2026-01-01' + INTERVAL seq % 7 DAY",
        "CAST(seq % 7 AS DECIMAL(20, 3)) / 4",
        "concat('k', seq % 7)",
        "9007199254740993 + seq % 7",
        "TIMESTAMP '2026-01-01 12:00:00' + INTERVAL seq % 7 HOUR",
        "unhex(lpad(seq % 7, 4, '0'))",
    ],
    "sqlite": ["n % 7", "(n % 7) / 4.0", "'k' || (n % 7)", "9007199254740993 + n % 7", "CAST(n % 7 AS BLOB)"],
}


class Caller:
    """Whoever waits for the first page, which may come before the work is done."""

    def __init__(self) -> None:
        self.early: bytes | None = None

    def deliver_early(self, turn: Turn, answer: Answer) -> None:
        assert self.early is None, "told twice"
        self.early = answer.body

    def cancel(self, turn: Turn) -> None:
        raise AssertionError("nobody gives the result up")


class Reading:
    """One subject's connection, and what a pooler would keep of its results."""

    def __init__(self, subject: Subject, connection: Connection, folder: Path) -> None:
        self._subject = subject
        self._connection = connection
        wall = monotonic
        self._results = Results(
            Sealer("contract", [bytes(KEY_BYTES)], wall), Place(folder), Limits(memory_bytes=5000), wall
        )

    async def first(self, operation: Operation, paging: Paging, **arguments: Any) -> dict[str, Any]:
        """The first page of a call, or the one behind a row."""
        name = keyed.behind(operation.name) if operation.behind else operation.name
        turn = Turn(0.0, 0.0, operation=name, arguments=arguments, caller=CALLER)
        caller = Caller()
        window = self._results.window(paging, turn, caller)
        work = self._subject.work("rows", count=0)._replace(
            prepared=self._subject.adapter.prepare(operation), arguments=arguments, window=window
        )
        answer = await self._subject.adapter.execute(self._connection, work)
        page: dict[str, Any] = orjson.loads(caller.early or answer.body)
        return page

    async def pages(self, operation: Operation, paging: Paging, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """Every page."""
        page = await self.first(operation, paging, **arguments)
        yield page
        while handle := page.get("next_cursor"):
            cursor = self._results.open(handle, "default", CALLER.principal)
            if isinstance(cursor, Spooled):
                page = orjson.loads((await self._results.fetch(cursor, 10.0)).body)
            else:
                page = await self._behind(cursor, operation, paging, arguments)
            yield page

    async def _behind(self, cursor: Keyed, operation: Operation, paging: Paging, arguments: Any) -> dict[str, Any]:
        paging.check(cursor, arguments)
        further = keyed.arguments(cursor.keys)
        return await self.first(replace(operation, behind=True), paging, **arguments, **further)


async def whole(pages: AsyncIterator[dict[str, Any]]) -> list[list[Any]]:
    """The rows of all pages, each of which must be as full as it may."""
    found = [page async for page in pages]
    assert [page["row_count"] for page in found[:-1]] == [PAGE_ROWS] * (len(found) - 1)
    return [row for page in found for row in page["rows"]]


async def test_a_thousand_rows_come_page_by_page_each_once_and_in_order(subject: Subject, tmp_path: Path) -> None:
    operation = next(operation for operation in subject.operations() if operation.name == "rows")
    async with subject.opened() as connection:
        paging = Paging("rows", PAGE_ROWS, PAGE_BYTES)
        rows = await whole(Reading(subject, connection, tmp_path).pages(operation, paging, count=COUNT))
        first = rows[0][0]
        assert [row[0] for row in rows] == list(range(first, first + COUNT))
        assert subject.single(await subject.run(connection, "echo", value="next")) == "next"


sql_only = pytest.mark.parametrize("subject", list(KEYED), indirect=True)


@pytest.fixture
def dialect(subject: Subject, request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["subject"])


def by_key(dialect: str, kind: str, *order_by: str) -> tuple[Operation, Paging]:
    statement = KEYED[dialect].format(kind=kind)
    operation = Operation(
        "keyed",
        "read",
        {"count": {}},
        statement,
        page_rows=PAGE_ROWS,
        page_bytes=PAGE_BYTES,
        order_by=order_by,
    )
    return operation, Paging("keyed", PAGE_ROWS, PAGE_BYTES, tuple(key.split()[0] for key in order_by))


@sql_only
@pytest.mark.parametrize("order_by", [("k", "n"), ("k desc", "n desc"), ("k desc", "n")], ids=" ".join)
async def test_pages_by_key_have_every_row_once_and_in_order_whatever_the_keys_are(
    subject: Subject, dialect: str, order_by: tuple[str, ...], tmp_path: Path
) -> None:
    async with subject.opened() as connection:
        reading = Reading(subject, connection, tmp_path)
        for kind in KINDS[dialect]:
            operation, paging = by_key(dialect, kind, *order_by)
            rows = await whole(reading.pages(operation, paging, count=200))
            wanted = sorted(range(1, 201), key=lambda n: (n % 7, n))
            if order_by == ("k desc", "n desc"):
                wanted.reverse()
            if order_by == ("k desc", "n"):
                wanted.sort(key=lambda n: (-(n % 7), n))
            assert [row[0] for row in rows] == wanted, kind


@sql_only
@pytest.mark.parametrize(
    ("kind", "order_by", "words"),
    [
        ("1", ["k"], "two rows have the same keys"),
        ("CASE WHEN {n} = 150 THEN NULL ELSE {n} END", ["k"], "'k' is NULL in one of the rows"),
        ("CASE WHEN {n} = 150 THEN NULL ELSE {n} END", ["k desc"], "'k' is NULL in one of the rows"),
        ("CASE WHEN {n} = 2 THEN {long} ELSE 'x' END", ["k desc", "n"], "'k' is too long in one of the rows"),
    ],
    ids=["shared", "missing", "missing backwards", "too long"],
)
async def test_keys_that_would_lose_rows_are_refused_on_the_first_page(
    subject: Subject, dialect: str, kind: str, order_by: list[str], words: str, tmp_path: Path
) -> None:
    names = {"n": "seq" if dialect == "mariadb" else "n", "long": "'" + "y" * 300 + "'"}
    operation, paging = by_key(dialect, kind.format(**names), *order_by)
    if "too long" in words:
        operation, paging = replace(operation, page_rows=1), paging._replace(rows_max=1)
    async with subject.opened() as connection:
        with pytest.raises(Exception, match=words) as raised:
            await Reading(subject, connection, tmp_path).first(operation, paging, count=200)
        assert subject.adapter.classify(raised.value).kind is FailureKind.USER_ERROR
        assert subject.single(await subject.run(connection, "echo", value="next")) == "next"


@sql_only
async def test_a_key_that_the_result_does_not_have_is_named_by_whoever_notices_first(
    subject: Subject, dialect: str, tmp_path: Path
) -> None:
    operation, paging = by_key(dialect, "1", "nr")
    hidden = replace(operation, statement=f"SELECT * FROM ({operation.statement}) AS t")
    async with subject.opened() as connection:
        with pytest.raises(Exception, match="nr") as raised:
            await Reading(subject, connection, tmp_path).first(hidden, paging, count=200)
        assert subject.adapter.classify(raised.value).kind is FailureKind.USER_ERROR
