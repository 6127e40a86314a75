"""Files and functions stay small. What is larger stands here with its size, and may only shrink."""

from statistics import median

import pytest

from tests.house.tree import functions, length, name, parsed, written_modules

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
MEDIAN_LINES_MAX = 10

LARGE_FILES: dict[str, int] = {}
"""Files past the bound, and how long each may be at most: the ratchet. One that has come below it is taken out."""
LONG_FUNCTIONS: dict[str, int] = {}
"""The same for functions, as `file::function`."""


def lines() -> dict[str, int]:
    return {name(path): len(path.read_text("utf-8").splitlines()) for path in written_modules()}


def function_lines() -> dict[str, int]:
    return {
        f"{name(path)}::{function.name}": length(function)
        for path in written_modules()
        for function in functions(parsed(path))
    }


@pytest.mark.parametrize(
    ("measured", "bound", "allowed"),
    [(lines, FILE_LINES_MAX, LARGE_FILES), (function_lines, FUNCTION_LINES_MAX, LONG_FUNCTIONS)],
    ids=["files", "functions"],
)
def test_nothing_is_larger_than_its_bound_but_what_stands_here(measured, bound, allowed):
    past = {what: size for what, size in measured().items() if size > bound}

    assert {what: size for what, size in past.items() if size > allowed.get(what, 0)} == {}
    assert allowed.keys() - past.keys() == set()


def test_the_median_function_is_read_at_a_glance() -> None:
    sizes = [size for what, size in function_lines().items() if not what.startswith("tests/")]

    assert median(sizes) < MEDIAN_LINES_MAX
