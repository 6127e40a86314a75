"""The breaks still fit, and each promise that is kept has one; `python -m tests.mutations` says which are noticed."""

import ast

import pytest

from tests.behaviours.ledger import ROOT
from tests.behaviours.promises import PROMISES
from tests.mutations.breaks import BREAKS, Break
from tests.mutations.trial import PatchError, broken


@pytest.mark.parametrize("change", BREAKS, ids=lambda change: f"{change.promise}: {change.what}")
def test_a_break_fits_its_file_and_leaves_it_readable(change: Break) -> None:
    sound = (ROOT / change.file).read_text("utf-8")
    text = broken(sound, change)
    assert text != sound
    ast.parse(text)


def test_every_promise_that_is_kept_can_be_broken() -> None:
    assert {change.promise for change in BREAKS} == {promise.number for promise in PROMISES if promise.planned is None}


def test_a_break_whose_text_is_gone_or_stands_there_twice_is_refused() -> None:
    change = Break(1, "", "x.py", "a = 1\n", "a = 2\n")
    for text in ("b = 1\n", "a = 1\na = 1\n"):
        with pytest.raises(PatchError, match="not once"):
            broken(text, change)
