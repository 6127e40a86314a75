"""One page of a table: cut by rows and by bytes, and honest about it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.backends.base import BackendError, FailureKind
from pooler.backends.tables import (
    BATCH_ROWS,
    Cut,
    Cutter,
    Page,
    affected_answer,
    next_cursor,
    page_body,
    table_answer,
)


def test_a_table_that_fits_is_whole() -> None:
    body = table_answer(["id", "name"], [(1, "a"), (2, None)], rows_max=10, bytes_max=1_000)
    assert body == b'{"columns":["id","name"],"rows":[[1,"a"],[2,null]],"row_count":2}'


def test_an_empty_table_has_its_columns() -> None:
    assert table_answer(["id"], [], rows_max=10, bytes_max=1_000) == b'{"columns":["id"],"rows":[],"row_count":0}'


def test_columns_of_the_same_name_are_all_kept() -> None:
    assert orjson.loads(table_answer(["n", "n"], [(1, 2)], 10, 1_000)) == {
        "columns": ["n", "n"],
        "rows": [[1, 2]],
        "row_count": 1,
    }


def test_one_row_more_than_a_page_holds_is_cut_and_said() -> None:
    body = orjson.loads(table_answer(["n"], [(n,) for n in range(4)], rows_max=3, bytes_max=1_000))
    assert body == {"columns": ["n"], "rows": [[0], [1], [2]], "row_count": 3, "truncated": True}


def test_rows_that_the_backend_kept_back_are_said_too() -> None:
    assert orjson.loads(table_answer(["n"], [(1,)], 10, 1_000, more=True))["truncated"] is True


def test_a_page_full_of_bytes_ends_before_the_row_that_does_not_fit() -> None:
    body = table_answer(["text"], [("x" * 100,) for _ in range(10)], rows_max=10, bytes_max=500)
    table = orjson.loads(body)
    assert len(body) <= 500
    assert (table["row_count"], table["truncated"]) == (4, True)


def test_a_first_row_larger_than_the_page_is_a_failure_that_says_by_how_much() -> None:
    with pytest.raises(BackendError) as raised:
        table_answer(["text"], [("x" * 600,)], rows_max=10, bytes_max=500)
    assert raised.value.failure.kind is FailureKind.TOO_LARGE
    assert "the first row takes 604 bytes, but a page holds 500" in raised.value.failure.message


def test_what_a_write_gives_back_is_cut_and_never_a_failure() -> None:
    page = Page(["text"], rows_max=10, bytes_max=500, strict=False)
    page.add([("x" * 600,)])
    assert orjson.loads(page.body()) == {"columns": ["text"], "rows": [], "row_count": 0, "truncated": True}


def test_column_names_larger_than_the_page_are_a_failure() -> None:
    with pytest.raises(BackendError) as raised:
        Page(["c" * 100] * 10, rows_max=10, bytes_max=500)
    assert raised.value.failure.kind is FailureKind.TOO_LARGE


def test_a_cursor_is_asked_for_no_more_than_one_row_past_the_page() -> None:
    page = Page(["n"], rows_max=BATCH_ROWS + 5, bytes_max=100_000)
    asked = []
    while wanted := page.wanted:
        asked.append(wanted)
        page.add([(1,)] * wanted)
    assert asked == [BATCH_ROWS, 6]
    assert page.truncated


def test_a_write_that_the_backend_does_not_count_changed_nothing_we_know_of() -> None:
    assert (affected_answer(3), affected_answer(-1)) == (b'{"rows_affected":3}', b'{"rows_affected":0}')


cells = st.none() | st.integers() | st.text(max_size=30) | st.floats()


@given(st.lists(st.tuples(cells, cells), max_size=30), st.integers(1, 20), st.integers(120, 800), st.integers(1, 10))
def test_a_page_is_a_prefix_within_its_bounds_however_it_is_fed(
    rows: list[tuple[Any, Any]], rows_max: int, bytes_max: int, batch: int
) -> None:
    page = Page(["a", "b"], rows_max, bytes_max, strict=False)
    for start in range(0, len(rows), batch):
        if page.wanted:
            page.add(rows[start : start + batch])
    body = page.body()
    table = orjson.loads(body)
    whole = orjson.loads(table_answer(["a", "b"], rows, len(rows) + 1, 10**6))["rows"]
    assert len(body) <= bytes_max
    assert table["rows"] == whole[: table["row_count"]]
    assert table["row_count"] <= rows_max
    assert table.get("truncated", False) == (table["row_count"] < len(rows))


def pages_of(cutter: Cutter, rows: list[Any], batch: int) -> list[bytes]:
    cuts = [cut for start in range(0, len(rows), batch) for cut in cutter.add(rows[start : start + batch])]
    return [page_body(cutter.columns, cut) for cut in [*cuts, cutter.rest()]]


@given(st.lists(st.tuples(cells, cells), max_size=60), st.integers(1, 20), st.integers(300, 900), st.integers(1, 25))
def test_pages_have_every_row_once_and_in_order_however_they_are_fed(
    rows: list[tuple[Any, Any]], rows_max: int, bytes_max: int, batch: int
) -> None:
    bodies = pages_of(Cutter(["a", "b"], rows_max, bytes_max, reserve=50), rows, batch)
    tables = [orjson.loads(body) for body in bodies]
    whole = orjson.loads(table_answer(["a", "b"], rows, len(rows) + 1, 10**6))["rows"]
    assert [row for table in tables for row in table["rows"]] == whole
    assert all(len(body) <= bytes_max - 50 for body in bodies)
    assert all(table["row_count"] == len(table["rows"]) <= rows_max for table in tables)
    assert all(table["row_count"] for table in tables) or rows == []
    assert bodies == pages_of(Cutter(["a", "b"], rows_max, bytes_max, reserve=50), rows, 1), "whatever the batches are"


def test_a_page_is_done_only_when_there_is_a_row_behind_it() -> None:
    cutter = Cutter(["n"], rows_max=3, bytes_max=1_000)
    assert list(cutter.add([(n,) for n in range(3)])) == []
    assert list(cutter.add([(3,)])) == [Cut(b"[0],[1],[2]", 3)]
    assert cutter.rest() == Cut(b"[3]", 1)


def test_pages_before_a_row_that_fits_none_are_whole() -> None:
    cutter = Cutter(["text"], rows_max=2, bytes_max=500)
    done: list[Cut] = []
    with pytest.raises(BackendError) as raised:
        done.extend(cutter.add([("a",), ("b",), ("c",), ("x" * 600,), ("d",)]))
    assert done == [Cut(b'["a"],["b"]', 2), Cut(b'["c"]', 1)]
    assert raised.value.failure.kind is FailureKind.TOO_LARGE
    assert "a row takes 604 bytes, but a page holds 500" in raised.value.failure.message


def test_a_page_says_where_it_goes_on() -> None:
    body = page_body(b'["n"]', Cut(b"[1]", 1), next_cursor("cursor.p.x"))
    assert orjson.loads(body) == {"columns": ["n"], "rows": [[1]], "row_count": 1, "next_cursor": "cursor.p.x"}
