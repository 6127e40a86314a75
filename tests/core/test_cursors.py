"""Cursors as they are sealed, and which pages of a result can still be fetched."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.core import cursors
from pooler.core.cursors import ARGUMENTS_BYTES_MAX, Keyed, Progress, Spooled, decode, digest, encode

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
arguments = st.dictionaries(st.text(max_size=10), scalars | st.lists(scalars, max_size=3), max_size=4)


@given(st.binary(min_size=4, max_size=4), st.integers(0, 2**64 - 1), st.integers(2, 2**32 - 1))
def test_a_cursor_to_a_page_comes_back_as_it_was(boot: bytes, result: int, page: int) -> None:
    cursor = Spooled(boot, result, page, digest("find", {}))
    assert decode(encode(cursor)) == cursor


@given(st.text(max_size=10), st.lists(scalars, max_size=3), st.none() | arguments)
def test_a_cursor_behind_a_row_comes_back_as_it_was(operation: str, keys: list[Any], given: Any) -> None:
    cursor = Keyed(digest(operation, given or {}), operation, keys, given)
    assert decode(encode(cursor)) == cursor


@given(arguments)
def test_a_digest_knows_a_call_whatever_order_its_arguments_stand_in(given: dict[str, Any]) -> None:
    backwards = dict(reversed(given.items()))
    assert digest("find", given) == digest("find", backwards)
    assert digest("find", given) != digest("found", given)
    assert digest("find", given) != digest("find", {**given, "one more argument": 1})


def test_a_digest_keeps_every_digit_apart() -> None:
    assert digest("find", {"id": 2**64}) != digest("find", {"id": 2**64 + 1})


def test_only_short_arguments_are_taken_along() -> None:
    assert cursors.taken_along({"customer": "C42"}) == {"customer": "C42"}
    assert cursors.taken_along({"customer": "C" * ARGUMENTS_BYTES_MAX}) is None


def test_the_first_page_is_nowhere_and_the_second_at_the_beginning() -> None:
    progress = Progress()
    assert (progress.offset(1), progress.offset(2), progress.offset(3)) == (None, 0, None)


def test_a_page_can_be_fetched_again_until_the_next_but_one_is_asked_for() -> None:
    progress = Progress()
    for page in (2, 3):
        assert progress.ask(page) == 0
        progress.read(page, page * 100)
    assert progress.offset(2) == 0, "page 3 was fetched, and page 2 still can be"
    assert progress.ask(4) == 200, "whoever asks for page 4 has pages 2 and 3; only the latter is kept"
    assert (progress.offset(2), progress.offset(3), progress.offset(4)) == (None, 200, 300)


def test_to_ask_for_an_older_page_once_more_frees_nothing_and_forgets_nothing() -> None:
    progress = Progress()
    for page in (2, 3, 4):
        progress.ask(page)
        progress.read(page, page * 100)
    assert progress.ask(3) == 200
    assert (progress.asked, progress.offset(4), progress.offset(5)) == (4, 300, 400)


@given(st.lists(st.integers(-1, 1), max_size=40))
def test_whatever_is_asked_for_the_page_before_the_furthest_is_there_and_nothing_older(steps: list[int]) -> None:
    progress, page, furthest, freed = Progress(), 2, 1, 0
    for step in steps:
        page = max(2, furthest - 1, min(page + step, furthest + 1))
        before = progress.ask(page)
        assert before >= freed, "what was freed stays free"
        freed = before
        progress.read(page, (page - 1) * 100)
        furthest = max(furthest, page)
        known = [number for number in range(1, furthest + 3) if progress.offset(number) is not None]
        assert known == list(range(max(2, furthest - 1), furthest + 2))
        assert [progress.offset(number) for number in known] == [(number - 2) * 100 for number in known]


@pytest.mark.parametrize("page", [2, 3])
def test_a_page_that_was_read_after_it_had_gone_brings_nothing_back(page: int) -> None:
    progress = Progress()
    for number in (2, 3, 4, 5):
        progress.ask(number)
        progress.read(number, number * 100)
    progress.read(page, 999)
    assert [number for number in range(1, 9) if progress.offset(number) is not None] == [4, 5, 6]
