"""The JSON form of database values, the same whatever backend they come from.

| value | JSON | example |
|---|---|---|
| NULL | `null` | `null` |
| boolean (where the backend has the type) | `true`, `false` | `true` |
| integer within ±(2^53 − 1) | number | `42` |
| integer beyond | string, exact | `"9007199254740993"` |
| decimal, numeric | string, exact, never with an exponent | `"1234.50"` |
| binary float | number, the shortest that reads back the same | `0.1` |
| a float that is no number | `"NaN"`, `"Infinity"`, `"-Infinity"` | `"NaN"` |
| date | string, ISO 8601 | `"2026-01-31"` |
| time, with its offset when it has one | string, ISO 8601 | `"10:30:00.250000"` |
| timestamp, with its offset when it has one | string, ISO 8601 | `"2026-01-31T10:30:00+01:00"` |
| interval | string, ISO 8601 duration | `"P1DT2H3M4.5S"`, `"-PT1H"` |
| bytes | string, base64 with padding | `"AAH/"` |
| UUID | string, lower case with hyphens | `"5f0c…"` |
| JSON (where the backend has the type) | as it is | `{"a": [1, 2]}` |
| array | array of the above, nested where it is | `[1, null, 3]` |
| anything else: enumerations, ranges, network addresses, … | the backend's own text | `"[1,5)"` |

A value never fails to have a form: what nobody foresaw becomes text. This file knows no driver and no SQL.

orjson writes an ordinary value by itself, in C. It refuses a big integer, and it writes a float that is no number as
null; only a value in which one of the two can be is walked in Python. Dates and times are written here, 0.7 µs each:
orjson rounds an offset to the minute, and loses a zero of some times (3.13.0 has 00:00:00.010000 as 00:00:00.10000).
"""

from base64 import b64encode
from collections.abc import Mapping
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum
from itertools import chain
from math import isfinite, isnan
from typing import Any
from uuid import UUID

import orjson

INTEGER_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""

_EXPONENT_MAX = 1000
"""A decimal is written without an exponent up to here; past it the digits would be nothing but zeros."""

_DEPTH_MAX = 200
"""What is nested deeper becomes text; orjson follows nested values to 254."""

_OPTIONS = orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATETIME

_BOXES = frozenset({list, tuple, dict})
"""What orjson looks into by itself."""


def encode(value: Any) -> bytes:
    """Writes a value, most often a list of rows, as compact JSON in UTF-8. Never raises."""
    try:
        body = orjson.dumps(value, default=_plain, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return orjson.dumps(_walk(value))
    if b"null" in body and _hides_non_finite([value]):
        return orjson.dumps(_walk(value))
    return body


def duration(value: timedelta) -> str:
    """An ISO 8601 duration in days, hours, minutes and seconds; a negative one has its sign in front (ISO 8601-2)."""
    span = abs(value)
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{span.microseconds:06}".rstrip("0") if span.microseconds else ""
    days = f"{span.days}D" if span.days else ""
    clock = (
        f"{hours}H" * bool(hours)
        + f"{minutes}M" * bool(minutes)
        + f"{seconds}{fraction}S" * bool(seconds or span.microseconds)
    )
    if not days and not clock:
        return "PT0S"
    return ("-" if value < timedelta() else "") + "P" + days + ("T" + clock if clock else "")


def _decimal(value: Decimal) -> str:
    return format(value, "f") if abs(value.adjusted()) <= _EXPONENT_MAX else str(value)


def _float(value: float) -> float | str:
    if isfinite(value):
        return value
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _plain(value: Any) -> Any:
    """The form of what orjson does not know, or does not write as it should."""
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode("ascii")
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, tuple | set | frozenset | Mapping):
        return _walk(value)
    return _text(value)


def _text(value: Any) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a foreign object's own __str__; the answer must not fail for one cell
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "replace").decode("utf-8")


def _hides_non_finite(value: Any) -> bool:
    """Whether orjson wrote a null where a float stood. Goes level by level, so that C does nearly all of it."""
    level: list[Any] = [value]
    while level:
        cells = list(chain.from_iterable(box.values() if type(box) is dict else box for box in level))
        kinds = set(map(type, cells))
        if float in kinds and not all(map(isfinite, (cell for cell in cells if type(cell) is float))):
            return True
        level = [] if kinds.isdisjoint(_BOXES) else [cell for cell in cells if type(cell) in _BOXES]
    return False


def _walk(value: Any, depth: int = 0) -> Any:
    """The same value built only of what orjson writes without loss."""
    if value is None or isinstance(value, bool | orjson.Fragment):
        return value
    if isinstance(value, Enum):
        return _text(value.value)
    if isinstance(value, int):
        return int(value) if -INTEGER_MAX <= value <= INTEGER_MAX else str(int(value))
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _text(value)
    if depth < _DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
        return [_walk(item, depth + 1) for item in value]
    if depth < _DEPTH_MAX and isinstance(value, Mapping):
        return {_text(key): _walk(item, depth + 1) for key, item in value.items()}
    if isinstance(value, UUID):
        return str(value)
    return _plain(value) if not isinstance(value, tuple | set | frozenset | Mapping) else _text(value)
