"""Which steps a load test makes: its plan's, or those of a search for the rate that still holds."""

import pytest

from pooler.loadtest.plan import Step
from pooler.loadtest.rounds import PRECISION, PROBES_MAX, Planned, Search
from pooler.loadtest.tally import Tally


def searched(capacity, first=10.0):
    """The rates that a search tries against a system that holds up to a capacity, and the search."""
    tally = Tally(10)
    search = Search(Step(rate=first, seconds=1), lambda step: step.rate <= capacity)
    begins = 0.0
    while steps := search.next(tally.steps()):
        for step in steps:
            tally.step(step, begins)
            begins += step.seconds
    return tally.steps(), search


@pytest.mark.parametrize("capacity", [10, 37, 40, 192, 5000])
def test_a_search_ends_close_below_the_rate_that_no_longer_holds(capacity):
    steps, search = searched(capacity)
    (found,) = search.judged(steps)

    assert found.rate <= capacity
    assert found.rate >= capacity * (1 - PRECISION) * 0.99
    assert len(steps) <= PROBES_MAX
    assert "the limits hold up to" in search.said()[0]


def test_a_search_that_fails_at_its_first_rate_looks_below_it():
    steps, search = searched(3)

    assert steps[1].rate == 5.0
    assert search.judged(steps)[0].rate <= 3


def test_a_search_for_what_never_holds_ends_and_says_so():
    steps, search = searched(0)

    assert len(steps) == PROBES_MAX
    assert "at no rate" in search.said()[0]
    assert search.judged(steps) == [steps[-1]]


def test_a_search_that_always_holds_ends_and_says_so():
    steps, search = searched(float("inf"))

    assert len(steps) == PROBES_MAX
    assert "the highest rate that was tried" in search.said()[0]


def test_a_plans_steps_are_one_round():
    planned = Planned((Step(rate=1, seconds=2), Step(rate=2, seconds=3)))
    tally = Tally(5)
    tally.step(Step(rate=1, seconds=2), 0.0)

    assert [len(planned.next(done)) for done in ([], tally.steps())] == [2, 0]
    assert planned.seconds == 5
