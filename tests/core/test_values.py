"""The JSON form of database values: each row of the table in `values.py`, and what holds for every value there is."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.backends.values import INTEGER_MAX, duration, encode


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: Any
    y: Any


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


FORMS = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (42, "42"),
    (INTEGER_MAX, "9007199254740991"),
    (-INTEGER_MAX, "-9007199254740991"),
    (INTEGER_MAX + 1, '"9007199254740992"'),
    (-INTEGER_MAX - 1, '"-9007199254740992"'),
    (2**64, '"18446744073709551616"'),
    (10**40, '"1' + "0" * 40 + '"'),
    (Decimal("1234.50"), '"1234.50"'),
    (Decimal("1E+3"), '"1000"'),
    (Decimal("0E-10"), '"0.0000000000"'),
    (Decimal("-0.001"), '"-0.001"'),
    (Decimal("NaN"), '"NaN"'),
    (Decimal("-Infinity"), '"-Infinity"'),
    (Decimal("1E-99999"), '"1E-99999"'),
    (0.1, "0.1"),
    (1.0, "1.0"),
    (1e300, "1e+300"),
    (float("nan"), '"NaN"'),
    (float("inf"), '"Infinity"'),
    (float("-inf"), '"-Infinity"'),
    (time(0, 0, 0, 10_000), '"00:00:00.010000"'),
    (datetime(1850, 1, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32))), '"1850-01-01T00:00:00+00:19:32"'),
    (date(2026, 1, 31), '"2026-01-31"'),
    (date(1, 1, 1), '"0001-01-01"'),
    (time(10, 30), '"10:30:00"'),
    (time(10, 30, 0, 250_000), '"10:30:00.250000"'),
    (time(10, 30, tzinfo=UTC), '"10:30:00+00:00"'),
    (datetime(2026, 1, 31, 10, 30), '"2026-01-31T10:30:00"'),  # noqa: DTZ001 - databases have such timestamps
    (datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1))), '"2026-01-31T10:30:00+01:00"'),
    (datetime(2026, 1, 31, 10, 30, 0, 5, UTC), '"2026-01-31T10:30:00.000005+00:00"'),
    (timedelta(), '"PT0S"'),
    (timedelta(days=1, hours=2, minutes=3, seconds=4.5), '"P1DT2H3M4.5S"'),
    (timedelta(hours=-1), '"-PT1H"'),
    (timedelta(days=400), '"P400D"'),
    (b"\x00\x01\xff", '"AAH/"'),
    (bytearray(b"ab"), '"YWI="'),
    (memoryview(b"abc"), '"YWJj"'),
    (b"", '""'),
    (UUID("5F0C1D9E-0000-4000-8000-00000000000A"), '"5f0c1d9e-0000-4000-8000-00000000000a"'),
    ({"a": [1, 2]}, '{"a":[1,2]}'),
    (orjson.Fragment(b'{"as": "it is"}'), '{"as": "it is"}'),
    ([1, None, [2.5, "x"]], '[1,null,[2.5,"x"]]'),
    ((1, 2), "[1,2]"),
    (Point(1, Decimal("2.0")), '[1,"2.0"]'),
    ({7}, "[7]"),
    ("plain", '"plain"'),
    ("żółw \U0001f422", '"żółw \U0001f422"'),
    ("half a \ud800 pair", '"half a ? pair"'),
    (Colour.RED, '"red"'),
    (IPv4Address("10.0.0.1"), '"10.0.0.1"'),
    (Rude(), '"<Rude>"'),
]


@pytest.mark.parametrize(("value", "form"), FORMS, ids=[f"{type(value).__name__} {form[:40]}" for value, form in FORMS])
def test_a_value_has_its_form_whatever_stands_beside_it(value: Any, form: str) -> None:
    assert encode([value]).decode() == f"[{form}]"
    assert encode([[value, None]]).decode() == f"[[{form},null]]"
    # A big integer makes the whole answer take the careful way.
    assert encode([value, 2**60]).decode() == f'[{form},"1152921504606846976"]'


def test_a_float_that_is_no_number_is_found_beside_nulls_and_deep_inside() -> None:
    rows = [[1, None], [2, {"deep": [None, [float("inf")]]}]]
    assert encode(rows) == b'[[1,null],[2,{"deep":[null,["Infinity"]]}]]'


def test_a_key_that_is_no_text_becomes_text() -> None:
    assert encode([{1: "a", None: "b"}]) == b'[{"1":"a","None":"b"}]'


def test_what_is_nested_too_deep_becomes_text() -> None:
    deep: Any = "core"
    for _ in range(1_000):
        deep = [deep]
    assert orjson.loads(encode([deep, 2**60]))[1] == str(2**60)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner))


@given(anything)
def test_every_value_has_a_form_and_both_ways_to_it_agree(value: Any) -> None:
    alone = orjson.loads(encode([value]))[0]
    careful = orjson.loads(encode([value, 2**60]))[0]
    assert alone == careful


@given(st.integers())
def test_an_integer_is_never_rounded(value: int) -> None:
    (form,) = orjson.loads(encode([value]))
    assert int(form) == value
    assert isinstance(form, str) == (abs(value) > INTEGER_MAX)


@given(st.decimals(allow_nan=False))
def test_a_decimal_is_never_rounded(value: Decimal) -> None:
    (form,) = orjson.loads(encode([value]))
    assert isinstance(form, str)
    assert Decimal(form) == value


@given(st.lists(st.lists(st.none() | st.floats() | st.text()), min_size=1))
def test_nulls_and_floats_keep_apart(rows: list[list[Any]]) -> None:
    forms = orjson.loads(encode(rows))
    for row, formed in zip(rows, forms, strict=True):
        for value, form in zip(row, formed, strict=True):
            assert (form is None) == (value is None)
            if isinstance(value, float) and isfinite(value):
                assert form == value


@given(st.timedeltas())
def test_a_duration_says_its_sign_once_and_keeps_every_microsecond(value: timedelta) -> None:
    text = duration(value)
    assert text.startswith("-") == (value < timedelta())
    body = text.removeprefix("-").removeprefix("P")
    days, _, clock = body.partition("T")
    total = timedelta(days=int(days.removesuffix("D") or 0))
    for part, unit in (("H", "hours"), ("M", "minutes"), ("S", "seconds")):
        number, found, rest = clock.partition(part)
        if found:
            total += timedelta(**{unit: float(Decimal(number)) if unit == "seconds" else int(number)})
            clock = rest
    assert total == abs(value)
