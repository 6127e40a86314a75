"""The ledger is whole: each promise that is kept is shown, each mark names a promise, and the page says so."""

from pathlib import Path

import pytest

from tests.behaviours.ledger import PAGE, MarkError, page, shown
from tests.behaviours.promises import PROMISES

KEPT = {promise.number for promise in PROMISES if promise.planned is None}


def test_there_are_forty_promises_in_the_order_of_their_numbers() -> None:
    assert [promise.number for promise in PROMISES] == list(range(1, 41))


def test_no_promise_that_is_kept_is_without_a_test() -> None:
    assert sorted(KEPT - shown().keys()) == []


def test_no_test_names_a_promise_that_is_not_kept_or_not_made() -> None:
    assert {number: tests for number, tests in shown().items() if number not in KEPT} == {}


def test_the_page_is_what_the_marks_say() -> None:
    assert page(shown()) == PAGE.read_text("utf-8"), "the page is out of date: run python -m tests.behaviours"


def test_every_mark_that_pytest_sees_is_in_the_ledger(request: pytest.FixtureRequest) -> None:
    listed = shown()
    for item in request.session.items:
        test, module = item.nodeid.partition("[")[0], item.nodeid.partition("::")[0]
        whole = "::".join(test.split("::")[:2])
        for mark in item.iter_markers("promise"):
            for number in mark.args:
                assert {module, whole} & set(listed.get(number, [])), f"{test} shows promise {number}, unseen"


def test_marks_are_found_on_tests_on_classes_and_on_whole_modules(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_whole.py").write_text("pytestmark = [pytest.mark.anyio, pytest.mark.promise(7)]\n")
    (tmp_path / "tests" / "test_each.py").write_text(
        "@pytest.mark.promise(7, 8)\nasync def test_a(): ...\n@pytest.mark.promise(9)\nclass TestB: ...\n"
    )
    assert shown(tmp_path) == {
        7: ["tests/test_each.py::test_a", "tests/test_whole.py"],
        8: ["tests/test_each.py::test_a"],
        9: ["tests/test_each.py::TestB"],
    }


def test_a_mark_whose_number_is_not_written_out_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text("@pytest.mark.promise(NUMBER)\ndef test_a(): ...\n")
    with pytest.raises(MarkError, match="test_a"):
        shown(tmp_path)
