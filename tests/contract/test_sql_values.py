"""The same value has the same JSON form on every SQL backend that has its type."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pooler.backends.base import Tag
from pooler.backends.postgres import adapter as postgres
from pooler.backends.postgres.settings import Settings as PostgresSettings
from pooler.backends.sqlalchemy import adapter as sqlalchemy
from pooler.backends.sqlalchemy.settings import Settings as SqlSettings
from tests.contract.sql import Session

pytestmark = pytest.mark.anyio


@pytest.fixture
async def session(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Session]:
    """A connection of the kind that the test names."""
    adapter: Any
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server").url
        adapter = postgres.build(PostgresSettings.model_validate({"url": url}))
    elif request.param == "mariadb":
        url = request.getfixturevalue("mariadb_server").url
        adapter = sqlalchemy.build(SqlSettings.model_validate({"url": url}))
    else:
        (tmp_path / "x.db").touch()
        adapter = sqlalchemy.build(SqlSettings.model_validate({"url": f"sqlite:///{tmp_path / 'x.db'}"}))
    connection = await adapter.open(Tag("contract", "values", 1))
    yield Session(adapter, connection)
    await adapter.close(connection, force=True)


P, M, S = "postgres", "mariadb", "sqlite"

VALUES: list[tuple[str, dict[str, str], Any]] = [
    ("null", dict.fromkeys((P, M, S), "NULL"), None),
    ("integer", dict.fromkeys((P, M, S), "42"), 42),
    ("largest exact integer", dict.fromkeys((P, M, S), "9007199254740991"), 2**53 - 1),
    ("big integer", dict.fromkeys((P, M, S), "-9007199254740993"), "-9007199254740993"),
    ("decimal", {P: "1234.50::numeric(10,2)", M: "CAST(1234.50 AS DECIMAL(10,2))"}, "1234.50"),
    ("small decimal", {P: "0::numeric(20,10)", M: "CAST(0 AS DECIMAL(20,10))"}, "0.0000000000"),
    ("float", {P: "0.1::float8", M: "0.1e0", S: "0.1"}, 0.1),
    ("whole float", {P: "3::float8", M: "3e0", S: "3.0"}, 3.0),
    ("infinity", {P: "'Infinity'::float8", S: "9e999"}, "Infinity"),
    ("minus infinity", {P: "'-Infinity'::float8", S: "-9e999"}, "-Infinity"),
    ("not a number", {P: "'NaN'::float8"}, "NaN"),
    ("date", {P: "DATE '2026-01-31'", M: "DATE '2026-01-31'"}, "2026-01-31"),
    ("timestamp", {P: "TIMESTAMP '2026-01-31 10:30:00'", M: "TIMESTAMP '2026-01-31 10:30:00'"}, "2026-01-31T10:30:00"),
    (
        "timestamp with a fraction",
        {P: "TIMESTAMP '2026-01-31 10:30:00.25'", M: "CAST('2026-01-31 10:30:00.25' AS DATETIME(6))"},
        "2026-01-31T10:30:00.250000",
    ),
    ("timestamp with an offset", {P: "TIMESTAMPTZ '2026-01-31 10:30:00+00'"}, "2026-01-31T10:30:00+00:00"),
    ("time", {P: "TIME '10:30:00.01'"}, "10:30:00.010000"),
    ("time with an offset", {P: "TIMETZ '10:30:00+05:30'"}, "10:30:00+05:30"),
    ("endless timestamp", {P: "'infinity'::timestamptz"}, "infinity"),
    ("year before Christ", {P: "'0044-03-15 BC'::date"}, "0044-03-15 BC"),
    ("year past 9999", {P: "'12026-01-01'::timestamp"}, "12026-01-01 00:00:00"),
    ("interval", {P: "INTERVAL '1 day 02:03:04.5'", M: "TIME '26:03:04.5'"}, "P1DT2H3M4.5S"),
    ("negative interval", {P: "INTERVAL '-1 hour'", M: "TIME '-01:00:00'"}, "-PT1H"),
    ("mixed interval", {P: "INTERVAL '1 month -1 day'"}, "P1M-1D"),
    ("bytes", {P: "'\\x0001ff'::bytea", M: "x'0001ff'", S: "x'0001ff'"}, "AAH/"),
    ("no bytes", {P: "''::bytea", M: "CAST('' AS BINARY(0))", S: "x''"}, ""),
    (
        "uuid",
        {P: "'5F0C1D9E-0000-4000-8000-00000000000A'::uuid", M: "CAST('5F0C1D9E-0000-4000-8000-00000000000A' AS UUID)"},
        "5f0c1d9e-0000-4000-8000-00000000000a",
    ),
    ("text", dict.fromkeys((P, M, S), "'żółw 🐢'"), "żółw 🐢"),
    ("boolean", {P: "true"}, True),
    ("json", {P: '\'{"b": [1, null],\n "a": 1e2}\'::json'}, {"b": [1, None], "a": 100.0}),
    ("jsonb", {P: "'{\"a\": 12345678901234567890}'::jsonb"}, {"a": 12345678901234567890}),
    ("array", {P: "ARRAY[1.50, NULL]::numeric[]"}, ["1.50", None]),
    ("nested array", {P: "ARRAY[[1, 2], [3, 4]]"}, [[1, 2], [3, 4]]),
    ("array of times", {P: "ARRAY[TIMESTAMP '2026-01-31 10:30:00']"}, ["2026-01-31T10:30:00"]),
    ("range", {P: "int4range(1, 5)"}, "[1,5)"),
    ("address", {P: "'10.0.0.1/8'::inet"}, "10.0.0.1/8"),
    ("row", {P: "ROW(1, 'a')"}, "(1,a)"),
]


CASES = [
    pytest.param(kind, sql, form, id=f"{name} on {kind}")
    for name, spelled, form in VALUES
    for kind, sql in spelled.items()
]


@pytest.mark.parametrize(("session", "sql", "form"), CASES, indirect=["session"])
async def test_a_value_has_the_same_form_on_every_backend_that_has_its_type(
    session: Session, sql: str, form: Any
) -> None:
    assert await session.value(f"SELECT {sql}") == form
