r"""A configured SQL statement: its named places, and its text as a driver wants it.

A place is `:name`. It becomes a bound parameter, never text. Places are found by reading the statement as the backend
would: nothing inside a string, a quoted identifier, a comment or dollar quotes is a place, nor is a `::cast`, a slice
`[1:n]`, an assignment `:=` or an escaped `\:name` (which loses its backslash). This file knows no driver, sends
nothing, and does not judge what a statement leaves behind (see `traces.py`).

Dialects of SQL differ in what opens a string, so a `Lexis` says which rules hold; all else is common, and every SQL
backend reads the same text alike.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

from pooler.backends.base import Operation

Paramstyle = Literal["qmark", "format", "pyformat", "named", "numeric", "numeric_dollar"]
"""The spellings of PEP 249, and PostgreSQL's own `$1`."""

_TRANSACTION_VERBS = frozenset(
    "ABORT BEGIN COMMIT END PREPARE RELEASE ROLLBACK SAVEPOINT START XA LOCK UNLOCK".split()  # noqa: SIM905
)


class Kind(StrEnum):
    """What a piece of a statement is."""

    PLACE = "PLACE"
    WORD = "WORD"
    NUMBER = "NUMBER"
    STRING = "STRING"
    IDENTIFIER = "IDENTIFIER"
    COMMENT = "COMMENT"
    SPACE = "SPACE"
    END = "END"
    """A semicolon."""
    ESCAPED = "ESCAPED"
    r"""`\:`, which stands for a colon."""
    UNCLOSED = "UNCLOSED"
    """An opening quote or comment without its end."""
    SYMBOL = "SYMBOL"


_SILENT = frozenset({Kind.SPACE, Kind.COMMENT, Kind.END})


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Lexis:
    """The rules that dialects differ in."""

    backslashes: bool = False
    """A backslash escapes in every string (MySQL, MariaDB); PostgreSQL has that in E'…' only."""
    double_quoted_strings: bool = False
    """Double quotes hold a string, with its escapes (MySQL, MariaDB)."""
    backticks: bool = False
    """`identifier` (MySQL, MariaDB, SQLite)."""
    brackets: bool = False
    """[identifier] (SQLite, SQL Server); elsewhere brackets index an array."""
    postgres: bool = False
    """Dollar quotes, E'…' strings, and comments that nest."""
    mysql_comments: bool = False
    """`#` opens a comment, and `--` only before white space."""


ANSI = Lexis()
POSTGRES = Lexis(postgres=True)
MYSQL = Lexis(backslashes=True, double_quoted_strings=True, backticks=True, mysql_comments=True)
SQLITE = Lexis(backticks=True, brackets=True)
SQL_SERVER = Lexis(brackets=True)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A statement in a driver's own spelling."""

    sql: str
    names: tuple[str, ...]
    """The names in the order in which their values are sent; one that is used twice stands twice in positional styles
    without numbers, and once in all others."""
    by_name: bool

    def bind(self, arguments: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        """The values for the driver; an argument that the caller left out is NULL."""
        if self.by_name:
            return {name: arguments.get(name) for name in self.names}
        return tuple(arguments.get(name) for name in self.names)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, read once."""

    tokens: tuple[Token, ...]
    names: tuple[str, ...]
    """Every name that is used, once, in the order of first use."""

    @property
    def significant(self) -> list[Token]:
        """The tokens without white space, comments and the closing semicolon."""
        return [token for token in self.tokens if token.kind not in _SILENT]

    @property
    def verb(self) -> str:
        """The first word, in upper case: SELECT, INSERT, …"""
        return next((token.text.upper() for token in self.significant if token.kind is Kind.WORD), "")

    def render(self, style: Paramstyle) -> Rendered:
        """The same statement with its places in a driver's spelling."""
        pieces: list[str] = []
        order: list[str] = []
        for token in self.tokens:
            if token.kind is Kind.PLACE:
                name = token.text[1:]
                order.append(name)
                pieces.append(_place(style, name, self.names.index(name) + 1))
            elif token.kind is not Kind.END:
                pieces.append(":" if token.kind is Kind.ESCAPED else token.text)
                if style in ("format", "pyformat"):
                    pieces[-1] = pieces[-1].replace("%", "%%")
        names = tuple(order) if style in ("qmark", "format") else self.names
        return Rendered("".join(pieces).strip(), names, by_name=style in ("named", "pyformat"))


def parse(sql: str, lexis: Lexis = ANSI) -> Statement:
    """Reads a statement. Raises ValueError with a sentence when it is not exactly one, or when a quote never ends."""
    tokens = tuple(_tokens(sql, lexis))
    for token in tokens:
        if token.kind is Kind.UNCLOSED:
            raise ValueError(f"the statement's {token.text} at character {token.start + 1} is never closed")
    count = _count(tokens)
    if count != 1:
        raise ValueError(f"one statement is needed, not {count or 'none'}: give each its own operation")
    names = dict.fromkeys(token.text[1:] for token in tokens if token.kind is Kind.PLACE)
    return Statement(tokens, tuple(names))


def faults(operation: Operation, lexis: Lexis) -> list[str]:
    """Why an operation cannot be served as a SQL statement, as sentences; empty when it can."""
    if operation.method is not None:
        return ["`method` belongs to workers: a SQL operation has a `statement`"]
    if operation.statement is None:
        return ["a SQL operation needs a `statement`"]
    found = ["a SQL statement cannot return MCP content"] if operation.returns == "content" else []
    try:
        statement = parse(operation.statement, lexis)
    except ValueError as error:
        return [*found, str(error)]
    if statement.verb in _TRANSACTION_VERBS:
        found.append(f"{statement.verb} would reach into the transaction or the locks that the pool itself keeps")
    found += [
        f"the statement's place :{name} has no argument: declare it under `arguments`"
        for name in statement.names
        if name not in operation.arguments
    ]
    found += [
        f"the argument {name!r} has no place :{name} in the statement"
        for name in operation.arguments
        if name not in statement.names
    ]
    return found


def _place(style: Paramstyle, name: str, number: int) -> str:
    return {
        "qmark": "?",
        "format": "%s",
        "pyformat": f"%({name})s",
        "named": f":{name}",
        "numeric": f":{number}",
        "numeric_dollar": f"${number}",
    }[style]


def _count(tokens: tuple[Token, ...]) -> int:
    """How many statements stand between the semicolons; an empty one is none."""
    count, open_ = 0, False
    for token in tokens:
        if token.kind is Kind.END:
            open_ = False
        elif token.kind not in _SILENT and not open_:
            count, open_ = count + 1, True
    return count


def _tokens(sql: str, lexis: Lexis) -> Iterator[Token]:
    pattern = _pattern(lexis)
    position = 0
    while match := pattern.match(sql, position):
        kind = Kind(match.lastgroup or "SYMBOL")
        end = match.end()
        if kind is Kind.COMMENT and lexis.postgres and match.group().startswith("/*"):
            end = _end_of_nested(sql, position)
            kind = Kind.COMMENT if end else Kind.UNCLOSED
        end = end or match.end()
        yield Token(kind, sql[position:end], position)
        position = end


def _end_of_nested(sql: str, start: int) -> int:
    """Where a comment ends that may hold comments; 0 when it does not."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return 0


@lru_cache(maxsize=16)
def _pattern(lexis: Lexis) -> re.Pattern[str]:
    """One alternative per kind of token; the first that matches wins, so whole quotes stand before their openings."""
    strings, identifiers = _quotes(lexis)
    comments = [r"/\*" if lexis.postgres else r"/\*.*?\*/"]
    comments += [r"\#[^\n]*", r"--(?=\s|\Z)[^\n]*"] if lexis.mysql_comments else [r"--[^\n]*"]
    openings = ["'", '"', r"/\*"] + ["`"] * lexis.backticks + [r"\["] * lexis.brackets
    if lexis.postgres:
        openings.append(r"(?<![\w$])\$(?:[^\W\d]\w*)?\$")
    parts = {
        Kind.COMMENT: "|".join(comments),
        Kind.STRING: "|".join(strings),
        Kind.IDENTIFIER: "|".join(identifiers),
        Kind.UNCLOSED: "|".join(openings),
        Kind.ESCAPED: r"\\:",
        Kind.PLACE: r"(?<![:\w]):[^\W\d]\w*",
        Kind.WORD: r"[^\W\d][\w$]*",
        Kind.NUMBER: r"\d[\w.]*",
        Kind.SPACE: r"\s+",
        Kind.END: ";",
        Kind.SYMBOL: "::|.",
    }
    return re.compile("|".join(f"(?P<{kind}>{part})" for kind, part in parts.items()), re.DOTALL)


def _quotes(lexis: Lexis) -> tuple[list[str], list[str]]:
    """The patterns of whole strings and of whole quoted identifiers."""
    inside = r"(?:\\.|{0}{0}|[^{0}\\])*" if lexis.backslashes else "(?:{0}{0}|[^{0}])*"
    strings = ["'" + inside.format("'") + "'"]
    identifiers: list[str] = []
    double = '"' + inside.format('"') + '"'
    (strings if lexis.double_quoted_strings else identifiers).append(double)
    if lexis.backticks:
        identifiers.append("`(?:``|[^`])*`")
    if lexis.brackets:
        identifiers.append(r"\[[^\]]*\]")
    if lexis.postgres:
        strings.append(r"(?<![\w$])[eE]'(?:\\.|''|[^'\\])*'")
        strings.append(r"(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$")
    return strings, identifiers
