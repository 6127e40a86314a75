"""Statements that are read page by page, each page from behind the last row of the one before."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.backends import by_key, statements
from pooler.backends.base import Operation
from pooler.backends.by_key import Key
from pooler.backends.statements import MYSQL, POSTGRES, SQLITE, Lexis

ROWS = 3


def operation(statement: str, *order_by: str, effect: Any = "read", behind: bool = False) -> Operation:
    return Operation("find", effect, statement=statement, order_by=order_by, page_rows=ROWS, behind=behind)


def rendered(statement: str, *order_by: str, lexis: Lexis = POSTGRES, behind: bool = True) -> str:
    page = by_key.page(operation(statement, *order_by, behind=behind), lexis)
    return " ".join(page.render("named").sql.split())


def test_a_key_is_a_column_and_may_say_which_way() -> None:
    assert by_key.keys(["id", "placed_on DESC", " n  asc"]) == [
        Key("id", False),
        Key("placed_on", True),
        Key("n", False),
    ]


@pytest.mark.parametrize(
    ("order_by", "words"), [(["id down"], "'id down' is no key"), (["id", "id desc"], "stands twice")]
)
def test_a_key_that_is_none_is_refused(order_by: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        by_key.keys(order_by)


def test_without_keys_a_statement_stays_as_it_is() -> None:
    assert by_key.page(operation("SELECT 1"), POSTGRES) == statements.parse("SELECT 1", POSTGRES)


def test_the_next_page_begins_behind_a_row_by_comparing_rows_where_an_index_helps() -> None:
    assert rendered("SELECT a, b FROM t", "a", "b") == (
        'SELECT * FROM ( SELECT a, b FROM t ) AS penstock_rows WHERE ("a", "b") > (:penstock_key_1, :penstock_key_2) '
        'ORDER BY "a", "b" LIMIT 4'
    )


def test_comparisons_are_written_out_where_that_is_quicker_or_the_ways_differ() -> None:
    assert "(`a` > :penstock_key_1) OR (`a` = :penstock_key_1 AND `b` > :penstock_key_2)" in rendered(
        "SELECT a, b FROM t", "a", "b", lexis=MYSQL
    )
    assert '("a" < :penstock_key_1) OR ("a" = :penstock_key_1 AND "b" > :penstock_key_2)' in rendered(
        "SELECT a, b FROM t", "a desc", "b"
    )


def test_a_statement_may_end_in_a_comment_or_a_semicolon_and_have_places_of_its_own() -> None:
    page = by_key.page(operation("SELECT id FROM t WHERE c = :c; -- all of them", "id", behind=True), POSTGRES)
    assert page.names == ("c", "penstock_key_1")
    assert "all of them\n) AS penstock_rows" in page.render("named").sql


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("SELECT id, o.total, count(*) AS n FROM o", ["id", "total", "n"]),
        ('SELECT "Id", shop.o.total, x AS "The X" FROM o', ["Id", "total", "The X"]),
        ("SELECT Id FROM o", ["id"]),
        ("SELECT DISTINCT a, b FROM o", ["a", "b"]),
        ("SELECT a, (SELECT max(b) FROM p) AS m FROM o", ["a", "m"]),
        ("SELECT * FROM o", None),
        ("SELECT o.*, id FROM o", None),
        ("SELECT a, b::text FROM o", None),
        ("SELECT a, id IS NULL FROM o", None),
        ("SELECT count(*) FROM o", None),
        ("WITH o AS (SELECT 1 AS id) SELECT id FROM o", None),
        ("VALUES (1)", None),
    ],
)
def test_the_columns_of_a_statement_are_seen_where_they_can_be(statement: str, columns: list[str] | None) -> None:
    assert by_key.selected(statements.parse(statement, POSTGRES), POSTGRES) == columns


def test_an_unquoted_name_keeps_its_letters_where_the_database_keeps_them() -> None:
    assert by_key.selected(statements.parse("SELECT Id FROM o", SQLITE), SQLITE) == ["Id"]


@pytest.mark.parametrize(
    ("case", "lexis", "words"),
    [
        (operation("SELECT id FROM o", "id"), POSTGRES, []),
        (operation("SELECT * FROM o", "anything"), POSTGRES, []),
        (operation("SELECT 'never closed", "id"), POSTGRES, []),
        (operation("SELECT id, n FROM o", "nr"), MYSQL, ["the key 'nr' is no column of the result (id, n)"]),
        (operation('SELECT x AS "a""b" FROM o', 'a"b'), SQLITE, ['has a " in its name']),
        (operation("SELECT id FROM o", "id"), statements.SQL_SERVER, ["is for PostgreSQL, MariaDB, MySQL and SQLite"]),
        (operation("DELETE FROM o RETURNING id", "id", effect="write"), POSTGRES, ["is for statements that read"]),
        (operation("SELECT id FROM o", "id up"), POSTGRES, ["'id up' is no key"]),
    ],
)
def test_keys_that_cannot_be_gone_by_are_told_with_the_reason(case: Operation, lexis: Lexis, words: list[str]) -> None:
    found = by_key.faults(case, lexis)
    assert len(found) >= len(words)
    assert bool(found) == bool(words)
    assert all(word in " ".join(found) for word in words)


def read_all(database: sqlite3.Connection, statement: str, order_by: list[str]) -> Iterator[list[Any]]:
    """Every page, as a pooler would read them."""
    wanted = by_key.keys(order_by)
    last: list[Any] | None = None
    while True:
        page = by_key.page(operation(statement, *order_by, behind=last is not None), SQLITE)
        keys = {f"{by_key.ARGUMENT}{number}": key for number, key in enumerate(last or (), 1)}
        cursor = database.execute(page.render("named").sql, keys)
        indexes = [[column[0] for column in cursor.description].index(key.name) for key in wanted]
        rows = cursor.fetchall()
        yield rows[:ROWS]
        if len(rows) <= ROWS:
            return
        last = [rows[ROWS - 1][index] for index in indexes]


@given(
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 30), st.text(max_size=3)), max_size=20),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.permutations(["a", "b", "c"]),
)
def test_pages_by_key_have_every_row_once_and_in_order(rows: Any, ways: list[bool], names: list[str]) -> None:
    order_by = [f"{name} desc" if way else name for name, way in zip(names, ways, strict=True)]
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (a, b, c)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        pages = list(read_all(database, "SELECT a, b, c FROM t -- no order", order_by))
        order = ", ".join(order_by)
        assert [row for page in pages for row in page] == database.execute(
            f"SELECT * FROM t ORDER BY {order}"
        ).fetchall()
        assert all(len(page) == ROWS for page, _ in pairwise(pages))


@pytest.mark.parametrize("order_by", ["a", "a desc"])
def test_a_row_without_a_key_is_on_the_first_page_wherever_it_would_be_sorted(order_by: str) -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (a)")
        database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(50)] + [(None,)])
        page = by_key.page(operation("SELECT a FROM t", order_by), SQLITE)
        rows = database.execute(page.render("named").sql).fetchall()
    assert rows[0] == (None,)
    assert len(rows) == 1 + ROWS + 1
