"""A statement's pages by key, as statements: its first rows in the order of the keys, and those behind a given row.

The statement becomes a subquery, so it may be anything that reads; an order or a limit of its own belongs to the
subquery, and only makes it slower. The first page also asks for one row whose key is NULL: no comparison would ever
find such a row again. Nothing here is sent.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pooler.backends.base import Operation
from pooler.backends.statements import MYSQL, POSTGRES, SQLITE, Kind, Lexis, Statement, Token, parse

ARGUMENT = "penstock_key_"
"""With a number behind it: the arguments that hold the keys of the row to go on behind."""

_QUOTES = {POSTGRES: '"', MYSQL: "`", SQLITE: '"'}
_ROW_COMPARED = (POSTGRES, SQLITE)
"""Where `(a, b) > (1, 2)` goes by an index; MariaDB and MySQL want it written out for that."""
_KEY = re.compile(r"(?P<name>\S+)(?:\s+(?P<direction>asc|desc))?", re.IGNORECASE)


_BEHIND_THE_LIST = frozenset({"FROM", "UNION", "EXCEPT", "INTERSECT", "WHERE", "ORDER", "LIMIT"})


class Key(NamedTuple):
    """A column that rows are told apart by, together with the others."""

    name: str
    descending: bool


def keys(order_by: Sequence[str]) -> list[Key]:
    """`order_by` as configured: `id`, or `placed_on desc`. Raises ValueError with a sentence."""
    found = []
    for text in order_by:
        match = _KEY.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no key: write a column of the result, and `desc` behind it if need be")
        found.append(Key(match["name"], (match["direction"] or "").lower() == "desc"))
    if len({key.name for key in found}) < len(found):
        raise ValueError("a column stands twice in `order_by`; leave one out")
    return found


def faults(operation: Operation, lexis: Lexis) -> list[str]:
    """Why a statement cannot be paged by its keys, as sentences; empty when it can, or when only the backend knows."""
    if lexis not in _QUOTES:
        return ["is for PostgreSQL, MariaDB, MySQL and SQLite; leave it out"]
    if operation.effect != "read" or operation.statement is None:
        return ["is for statements that read; leave it out"]
    try:
        wanted = keys(operation.order_by)
    except ValueError as error:
        return [str(error)]
    try:
        columns = selected(parse(operation.statement, lexis), lexis)
    except ValueError:
        return []  # what is wrong with the statement is said of the statement
    quote = _QUOTES[lexis]
    found = [f"the key {key.name!r} has a {quote} in its name; give it an alias" for key in wanted if quote in key.name]
    if columns is not None:
        known = ", ".join(columns)
        found += [
            f"the key {key.name!r} is no column of the result ({known}); select it, or name another"
            for key in wanted
            if key.name not in columns
        ]
    return found


def page(operation: Operation, lexis: Lexis) -> Statement:
    """The statement that an operation is prepared as: its own, or where it has `order_by`, one page of it."""
    statement = parse(operation.statement or "", lexis)
    if not operation.order_by:
        return statement
    text = "".join(token.text for token in statement.tokens if token.kind is not Kind.END)
    wanted, quote = keys(operation.order_by), _QUOTES[lexis]
    columns = [f"{quote}{key.name}{quote}" for key in wanted]
    ways = [" DESC" if key.descending else "" for key in wanted]
    order = ", ".join(column + way for column, way in zip(columns, ways, strict=True))
    rows = f"ORDER BY {order} LIMIT {operation.page_rows + 1}"
    # The statement and the names of its keys are the operator's own; values are bound. On lines of its own, since it
    # may end with a comment.
    inner = f"SELECT * FROM (\n{text}\n) AS penstock_rows"  # noqa: S608
    if operation.behind:
        return parse(f"{inner} WHERE {_behind(wanted, columns, lexis)} {rows}", lexis)
    missing = " OR ".join(f"{column} IS NULL" for column in columns)
    return parse(
        f"SELECT * FROM ({inner} WHERE {missing} LIMIT 1) AS penstock_without_keys\n"  # noqa: S608
        f"UNION ALL SELECT * FROM ({inner} {rows}) AS penstock_page",
        lexis,
    )


def selected(statement: Statement, lexis: Lexis) -> list[str] | None:
    """The names of a SELECT's columns, where they can be seen. None: only the backend knows them."""
    items = _select_list(statement.significant)
    names = [_name(item, folds=lexis.postgres) for item in items]
    return None if not names or None in names else [name for name in names if name is not None]


def _behind(wanted: Sequence[Key], columns: Sequence[str], lexis: Lexis) -> str:
    """The condition that a row stands behind the given one."""
    places = [f":{ARGUMENT}{number}" for number in range(1, len(wanted) + 1)]
    signs = ["<" if key.descending else ">" for key in wanted]
    if lexis in _ROW_COMPARED and len(set(signs)) == 1:
        return f"({', '.join(columns)}) {signs[0]} ({', '.join(places)})"
    alternatives = []
    for last in range(len(wanted)):
        same = [f"{column} = {place}" for column, place in zip(columns[:last], places, strict=False)]
        alternatives.append("(" + " AND ".join([*same, f"{columns[last]} {signs[last]} {places[last]}"]) + ")")
    return "(" + " OR ".join(alternatives) + ")"


def _select_list(tokens: Sequence[Token]) -> list[list[Token]]:
    """What stands between SELECT and FROM, cut at its commas. Empty when the statement is no plain SELECT."""
    if not tokens or tokens[0].text.upper() != "SELECT":
        return []
    items: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[1:]:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.kind is Kind.WORD and token.text.upper() in _BEHIND_THE_LIST:
            break
        if depth == 0 and token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    return items


def _name(item: Sequence[Token], folds: bool) -> str | None:
    """What the column of a select list's item is called: its alias, or the column that it is. None: not to be seen."""
    words = [token for token in item if token.text.upper() not in ("DISTINCT", "ALL")]
    if not words or words[-1].kind not in (Kind.WORD, Kind.IDENTIFIER):
        return None
    aliased = len(words) > 1 and words[-2].text.upper() == "AS"
    plain = all(token.text == "." for token in words[1::2]) and len(words) % 2 == 1  # `id`, `o.id`, `shop.o.id`
    if not aliased and not plain:
        return None
    if words[-1].kind is Kind.IDENTIFIER:
        return words[-1].text[1:-1]
    return words[-1].text.lower() if folds else words[-1].text
