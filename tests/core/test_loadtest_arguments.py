"""How a load test makes the arguments of its calls, and what it says of those that it cannot make."""

from collections import Counter
from random import Random

import pytest

from pooler.loadtest.arguments import maker


def made(given, count=1, seed=1):
    make, chance = maker({"x": given}), Random(seed)
    return [make(chance)["x"] for _ in range(count)]


@pytest.mark.parametrize("given", [7, "text", None, True, [1, 2], 1.5])
def test_a_value_that_is_no_mapping_stands_for_itself(given):
    assert made(given) == [given]


def test_a_mapping_that_is_meant_as_it_stands_says_so():
    assert made({"value": {"range": [1, 2]}}) == [{"range": [1, 2]}]


def test_a_range_of_whole_numbers_has_both_ends_and_one_with_a_fraction_has_fractions():
    assert set(made({"range": [1, 3]}, 200)) == {1, 2, 3}
    assert all(isinstance(value, float) and 1 <= value <= 3 for value in made({"range": [1, 3.0]}, 50))


def test_choices_come_by_their_weights():
    counted = Counter(made({"choice": ["a", "b"], "weights": [3, 1]}, 4000))

    assert counted["a"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_zipf_makes_the_first_as_often_as_its_share_of_the_harmonic_sum():
    counted = Counter(made({"zipf": 100}, 20_000))

    assert counted[1] / 20_000 == pytest.approx(1 / 5.187, rel=0.05)  # H(100) = 5.187
    assert counted[2] / counted[1] == pytest.approx(1 / 2, rel=0.1)
    assert set(counted) <= set(range(1, 101))


def test_a_sequence_counts_and_a_template_has_places_made_in_their_turn():
    given = {"template": "C{n:04}-{kind}", "n": {"sequence": 7}, "kind": {"value": "x"}}

    assert made(given, 3) == ["C0007-x", "C0008-x", "C0009-x"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rnage": [1, 2]}, "did you mean 'range'?"),
        ({"a": 1}, "write {value: …} for a mapping"),
        ({"range": [2, 1]}, "range takes [least, most]"),
        ({"range": 5}, "range takes [least, most]"),
        ({"choice": []}, "a list of values"),
        ({"choice": [1, 2], "weights": [1]}, "weights takes 2 numbers"),
        ({"choice": [1, 2], "wieghts": [1, 1]}, "choice takes no 'wieghts'"),
        ({"zipf": 0}, "zipf takes how many there are"),
        ({"zipf": 5, "exponent": -1}, "a number above 0"),
        ({"template": "{a}"}, "a place 'a' that nothing is said of"),
        ({"template": "x", "a": 1}, "no place 'a'"),
        ({"template": "{a:d}", "a": "text"}, "argument 'x'"),
    ],
)
def test_what_cannot_be_made_is_named_with_its_argument(given, words):
    with pytest.raises(ValueError, match="argument 'x'") as fault:
        maker({"x": given})

    assert words in str(fault.value)
