"""How JSON arguments become PostgreSQL parameters, always as text beside the statement.

| JSON | type sent | so that |
|---|---|---|
| string | none: the server infers it | `placed_on >= :since` takes `"2026-01-01"`, `amount = :a` takes `"12.50"` |
| integer | `int4`, `int8` or `numeric`, by its size | it behaves as the same literal would in SQL |
| number with a fraction | `numeric` | as in SQL: exact against numeric columns, and turned to float where asked |
| true, false | `bool` | |
| null | none | |
| list of scalars (or of such lists) | none, as an array | `id = ANY(:ids)`, `:tags::text[]` |
| object, or a list with objects in it | `jsonb` | |

Bytes are no JSON; they come from the keys of a cursor alone, and are sent in hexadecimal.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from pooler.backends.base import BackendError, Failure, FailureKind

UNKNOWN, BOOL, INT8, INT4, NUMERIC, JSONB = 0, 16, 20, 23, 1700, 3802
"""Object identifiers, which are the same in every PostgreSQL (catalog/pg_type.dat)."""


def encode(values: Sequence[Any]) -> tuple[tuple[int, ...], list[bytes | None]]:
    """The types and the texts of a statement's values."""
    kinds: list[int] = []
    texts: list[bytes | None] = []
    for value in values:
        kind, text = _encode(value)
        kinds.append(kind)
        texts.append(text)
    return tuple(kinds), texts


def _encode(value: Any) -> tuple[int, bytes | None]:
    if value is None:
        return UNKNOWN, None
    if isinstance(value, str):
        return UNKNOWN, _text(value)
    if isinstance(value, bytes):
        return UNKNOWN, b"\\x" + value.hex().encode()
    if isinstance(value, bool):
        return BOOL, b"t" if value else b"f"
    if isinstance(value, int):
        return _integer_type(value), b"%d" % value
    if isinstance(value, float):
        return NUMERIC, repr(value).encode()
    if isinstance(value, list) and _is_array(value):
        return UNKNOWN, _text(_array(value))
    return JSONB, orjson.dumps(value)


def _integer_type(value: int) -> int:
    if -(2**31) <= value < 2**31:
        return INT4
    return INT8 if -(2**63) <= value < 2**63 else NUMERIC


def _text(value: str) -> bytes:
    if "\0" in value:
        words = "a text holds the character U+0000, which PostgreSQL cannot store: remove it"
        raise BackendError(Failure(FailureKind.USER_ERROR, words))
    try:
        return value.encode()
    except UnicodeEncodeError:
        words = "a text holds half a surrogate pair, which is no character: correct it"
        raise BackendError(Failure(FailureKind.USER_ERROR, words)) from None


def _is_array(value: list[Any]) -> bool:
    return all(_is_array(item) if isinstance(item, list) else not isinstance(item, dict) for item in value)


def _array(value: list[Any]) -> str:
    return "{" + ",".join(_item(item) for item in value) + "}"


def _item(item: Any) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return _array(item)
    if isinstance(item, bool):
        return "t" if item else "f"
    if isinstance(item, str):
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(item)
