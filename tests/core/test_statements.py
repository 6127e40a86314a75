"""How a configured statement is read: what is a place, what only looks like one, and how each driver gets it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.backends import statements
from pooler.backends.base import Operation
from pooler.backends.statements import ANSI, MYSQL, POSTGRES, SQL_SERVER, SQLITE, Lexis, Rendered, parse

NO_PLACES = [
    ("SELECT ':a'", ANSI),
    ("SELECT 'it''s :a'", ANSI),
    ('SELECT ":a"', ANSI),
    ("SELECT 1 -- :a", ANSI),
    ("SELECT 1 /* :a */", ANSI),
    ("SELECT now()::date", POSTGRES),
    ("SELECT x[1:n] FROM t", POSTGRES),
    ("SELECT $$ :a $$, $tag$ :b $$ :c $tag$", POSTGRES),
    (r"SELECT E'it\'s :a'", POSTGRES),
    ("SELECT 1 /* /* :a */ :b */", POSTGRES),
    (r"SELECT 'it\'s :a'", MYSQL),
    ('SELECT "it\'s :a"', MYSQL),
    ("SELECT `:a`", MYSQL),
    ("SELECT 1 # :a", MYSQL),
    ("SELECT @x := 1", MYSQL),
    ("SELECT [:a]", SQLITE),
    ("SELECT [:a]", SQL_SERVER),
    (r"SELECT \:a", ANSI),
    ("SELECT '12:30', 1:2", ANSI),
]


@pytest.mark.parametrize(("sql", "lexis"), NO_PLACES)
def test_what_only_looks_like_a_place_is_none(sql: str, lexis: Lexis) -> None:
    assert parse(sql, lexis).names == ()


PLACES = [
    ("SELECT :a", ANSI, ("a",)),
    ("SELECT :a::date, x FROM t WHERE y=:b", POSTGRES, ("a", "b")),
    ("SELECT x[:from : :to]", POSTGRES, ("from", "to")),
    (r"SELECT 'ends with \', :a", POSTGRES, ("a",)),
    (r"SELECT 'ends with \', :a", SQLITE, ("a",)),
    ("SELECT 5--3, :a", MYSQL, ("a",)),
    ("SELECT ':x' || :a || ':y'", ANSI, ("a",)),
    ("SELECT :größe, :b_2", ANSI, ("größe", "b_2")),
    ("SELECT :b, :a, :b", ANSI, ("b", "a")),
    ("INSERT INTO t VALUES (:a,:b)", ANSI, ("a", "b")),
    ("SELECT a$b, :c", POSTGRES, ("c",)),
]


@pytest.mark.parametrize(("sql", "lexis", "names"), PLACES)
def test_a_place_is_found_wherever_it_stands(sql: str, lexis: Lexis, names: tuple[str, ...]) -> None:
    assert parse(sql, lexis).names == names


STYLES: list[tuple[Any, str, tuple[str, ...], bool]] = [
    ("qmark", "SELECT ?, ?, ? WHERE x LIKE '5%'", ("b", "a", "b"), False),
    ("format", "SELECT %s, %s, %s WHERE x LIKE '5%%'", ("b", "a", "b"), False),
    ("pyformat", "SELECT %(b)s, %(a)s, %(b)s WHERE x LIKE '5%%'", ("b", "a"), True),
    ("named", "SELECT :b, :a, :b WHERE x LIKE '5%'", ("b", "a"), True),
    ("numeric", "SELECT :1, :2, :1 WHERE x LIKE '5%'", ("b", "a"), False),
    ("numeric_dollar", "SELECT $1, $2, $1 WHERE x LIKE '5%'", ("b", "a"), False),
]


@pytest.mark.parametrize(("style", "sql", "names", "by_name"), STYLES)
def test_each_driver_gets_its_own_spelling(style: Any, sql: str, names: tuple[str, ...], by_name: bool) -> None:
    statement = parse("SELECT :b, :a, :b WHERE x LIKE '5%';")
    assert statement.render(style) == Rendered(sql, names, by_name)


def test_values_come_in_the_order_of_the_places_and_a_missing_one_is_null() -> None:
    statement = parse("SELECT :b, :a, :b")
    assert statement.render("qmark").bind({"a": 1, "b": 2}) == (2, 1, 2)
    assert statement.render("numeric_dollar").bind({"b": 2}) == (2, None)
    assert statement.render("named").bind({"a": 1}) == {"a": 1, "b": None}


def test_an_escaped_colon_loses_its_backslash() -> None:
    assert parse(r"SELECT a\:b, \:c").render("qmark").sql == "SELECT a:b, :c"


def test_a_trailing_semicolon_is_no_second_statement() -> None:
    assert parse("SELECT 1; -- done\n").render("qmark").sql == "SELECT 1 -- done"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT 1; SELECT 2", "one statement is needed, not 2"),
        ("SELECT 1; DROP TABLE t;", "one statement is needed, not 2"),
        (" -- nothing\n;", "one statement is needed, not none"),
        ("SELECT 'open", "' at character 8 is never closed"),
        ("SELECT /* open", "/* at character 8 is never closed"),
        ('SELECT "open', '" at character 8 is never closed'),
    ],
)
def test_what_is_not_one_whole_statement_is_refused_with_the_reason(sql: str, words: str) -> None:
    with pytest.raises(ValueError, match="statement") as raised:
        parse(sql)
    assert words in str(raised.value)


@pytest.mark.parametrize("sql", ["SELECT $tag$ open", "SELECT /* /* */ open"])
def test_what_postgresql_alone_leaves_open_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match="never closed"):
        parse(sql, POSTGRES)


def test_a_semicolon_in_a_string_ends_nothing() -> None:
    assert parse("SELECT ';', $$;$$", POSTGRES).names == ()


def operation(statement: str | None, *arguments: str, **keys: Any) -> Operation:
    return Operation("find", "read", {name: {"type": "string"} for name in arguments}, statement, **keys)


def test_an_operation_whose_places_and_arguments_agree_has_no_fault() -> None:
    assert statements.faults(operation("SELECT :a, :b", "a", "b"), ANSI) == []


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (operation(None), "needs a `statement`"),
        (operation("SELECT 1", method="find"), "`method` belongs to workers"),
        (operation("SELECT :a"), "place :a has no argument"),
        (operation("SELECT 1", "a"), "argument 'a' has no place :a"),
        (operation("SELECT 1; SELECT 2"), "one statement is needed"),
        (operation("COMMIT"), "COMMIT would reach into the transaction"),
        (operation("/* x */ rollback"), "ROLLBACK would reach into the transaction"),
        (operation("SELECT 1", returns="content"), "cannot return MCP content"),
    ],
)
def test_an_operation_that_cannot_be_served_says_why(faulty: Operation, words: str) -> None:
    faults = statements.faults(faulty, ANSI)
    assert len(faults) == 1
    assert words in faults[0]


@given(st.text(alphabet=":'\"ab \\-/*$;[]`#%\n", max_size=40), st.sampled_from([ANSI, POSTGRES, MYSQL, SQLITE]))
def test_reading_loses_no_character_and_never_hangs(sql: str, lexis: Lexis) -> None:
    try:
        statement = parse(sql, lexis)
    except ValueError:
        return
    assert "".join(token.text for token in statement.tokens) == sql


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6))
def test_positional_values_are_as_many_as_the_marks(names: list[str]) -> None:
    sql = "SELECT 1" + "".join(f", :{name}" for name in names)
    rendered = parse(sql).render("qmark")
    assert rendered.sql.count("?") == len(rendered.names) == len(names)
