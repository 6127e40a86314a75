"""One page of a statement by key: how it ends, and what it makes of the keys of its last row."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from pooler.backends.base import BackendError, FailureKind
from pooler.core.cursors import ARGUMENTS_BYTES_MAX, Keyed, decode, encode
from pooler.runtime import keyed
from pooler.runtime.handles import KEY_BYTES, Sealer
from pooler.runtime.keyed import KeyedPage

pytestmark = pytest.mark.anyio

SECOND = timezone(timedelta(hours=1))


class Cursors:
    """Keeps what a cursor was to be made of."""

    def __init__(self) -> None:
        self.keys: Sequence[Any] | None = None

    def __call__(self, keys: Sequence[Any]) -> str:
        self.keys = keys
        return "cursor.p.x"


def page(*names: str, rows_max: int = 3, bytes_max: int = 4096) -> tuple[KeyedPage, Cursors]:
    cursors = Cursors()
    return KeyedPage("find", names, rows_max, bytes_max, cursors), cursors


async def test_a_page_goes_on_behind_its_last_row_and_not_behind_the_one_that_came_too_much() -> None:
    window, cursors = page("id")
    window.open(["text", "id"])
    window.add([("a", 1), ("b", 2)])
    assert await window.room()
    window.add([("c", 3), ("d", 4)])
    assert not await window.room()
    body = orjson.loads(window.close(more=True))
    assert (body["rows"], body["next_cursor"]) == ([["a", 1], ["b", 2], ["c", 3]], "cursor.p.x")
    assert cursors.keys == [3]


async def test_a_page_that_is_full_of_bytes_goes_on_behind_the_row_that_still_fitted() -> None:
    window, cursors = page("id", rows_max=100, bytes_max=keyed.CURSOR_BYTES + 400)
    window.open(["id", "text"])
    window.add([(n, "x" * 90) for n in range(10)])
    body = orjson.loads(window.close(more=True))
    assert 1 <= body["row_count"] <= 3
    assert cursors.keys == [body["row_count"] - 1]


@pytest.mark.parametrize("more", [False, True])
async def test_the_last_page_has_no_cursor_and_says_when_it_was_cut_by_somebody_else(more: bool) -> None:
    window, cursors = page("id")
    window.open(["id"])
    window.add([(1,), (2,)])
    body = orjson.loads(window.close(more))
    assert (body.get("truncated", False), "next_cursor" in body, cursors.keys) == (more, False, None)


async def test_work_that_is_begun_anew_begins_with_nothing() -> None:
    window, _ = page("id")
    for _ in range(2):
        window.open(["id"])
        window.add([(1,), (2,)])
    assert orjson.loads(window.close())["rows"] == [[1], [2]]


@pytest.mark.parametrize(
    "key",
    [
        7,
        2**70,
        1.5,
        True,
        "żółw",
        Decimal("12.50"),
        date(2026, 1, 31),
        datetime(2026, 1, 31, 10, 30, 0, 250_000, SECOND),
        time(10, 30),
        b"\x00\xff",
        UUID(int=5),
    ],
    ids=repr,
)
def test_a_key_comes_back_from_its_cursor_as_it_was(key: Any) -> None:
    window, cursors = page("k", "n", rows_max=1)
    window.open(["k", "n"])
    window.add([(key, 1), (key, 2)])
    window.close()
    assert cursors.keys is not None
    cursor = decode(encode(Keyed(bytes(8), "find", cursors.keys, None)))
    assert isinstance(cursor, Keyed)
    bound = keyed.arguments(cursor.keys)
    assert bound == {"penstock_key_1": key, "penstock_key_2": 1}
    assert type(bound["penstock_key_1"]) is type(key)
    assert keyed.without_keys({**bound, "customer": "C42"}) == {"customer": "C42"}


def written(rows: list[Any]) -> bytes:
    window, _ = page("id", "text", rows_max=1)
    window.open(["id", "text"])
    window.add(rows)
    return window.close()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1, "a"), (1, "a")], "two rows have the same keys"),
        ([(1, "a"), (1, None)], "'text' is NULL in one of the rows"),
        ([(1, "x" * 200), (1, "y")], "'text' is too long in one of the rows"),
        ([(1, timedelta(1)), (2, timedelta(1))], "'text' is a timedelta, by which nobody can page"),
    ],
)
def test_a_row_that_pages_would_lose_is_an_error_that_names_the_column(rows: list[Any], words: str) -> None:
    with pytest.raises(BackendError) as raised:
        written(rows)
    assert raised.value.failure.kind is FailureKind.USER_ERROR
    assert "find cannot be paged by its `order_by`" in raised.value.failure.message
    assert words in raised.value.failure.message


@pytest.mark.parametrize(("columns", "words"), [(["id"], "none of its columns (id)"), (["n", "n"], "2 of its columns")])
def test_a_key_must_be_one_column(columns: list[str], words: str) -> None:
    window, _ = page("n")
    with pytest.raises(BackendError) as raised:
        window.open(columns)
    assert words in raised.value.failure.message


async def test_the_longest_cursor_fits_what_a_page_keeps_free_for_it() -> None:
    arguments = {"a": "x" * (ARGUMENTS_BYTES_MAX - 8)}
    keys = ["k" * (keyed.KEYS_BYTES_MAX // 4)] * 4
    payload = encode(Keyed(bytes(8), "o" * 128, keys, arguments))
    handle = Sealer("0123abcd", [bytes(KEY_BYTES)], lambda: 0.0).seal("cursor", payload, "t", "p", 1.0)
    assert len(f',"next_cursor":"{handle}"') <= keyed.CURSOR_BYTES
