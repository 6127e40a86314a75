"""What a pool learns of durations."""

from random import Random

import pytest

from pooler.core.adaptive import DECREASE, Adaptive
from pooler.core.learned import High, Mean, Work


def test_a_mean_follows_what_it_sees():
    mean = Mean()
    for _ in range(10):
        mean.learn(1.0)
    assert mean.seconds == pytest.approx(1.0)
    for _ in range(30):
        mean.learn(5.0)
    assert mean.seconds == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_a_high_rests_where_one_sample_in_twenty_lies_above_it(seed: int):
    random, high = Random(seed), High()
    above = 0
    for number in range(6000):
        sample = random.expovariate(10.0)
        if number >= 1000:
            above += sample > high.seconds
        high.learn(sample)
    assert 0.03 < above / 5000 < 0.07


def test_a_high_follows_a_backend_that_has_become_slower_and_quicker_again():
    random, high = Random(1), High()
    for scale in (0.02, 0.2, 0.02):
        for _ in range(400):
            high.learn(scale * random.uniform(0.5, 1.5))
        assert scale <= high.seconds <= 2 * scale


def test_a_high_does_not_sink_because_the_slow_are_cut_short():
    random, work = Random(1), Work.unknown()
    above = 0
    for number in range(6000):
        sample = random.expovariate(10.0)
        bound = 1.2 * work.high.seconds
        if number < 10 or sample <= bound:
            work.learn(sample)
        else:
            work.outlast(bound)
        above += number >= 1000 and sample > work.high.seconds
    assert above / 5000 < 0.07


def test_a_call_that_was_cut_short_early_says_nothing_about_the_high():
    work = Work.unknown()
    work.outlast(5.0)
    assert work.high.samples == 0
    for seconds in (1.0, 2.0):
        work.learn(seconds)
    known = work.high.seconds
    work.outlast(known / 2)
    assert work.high.seconds == known


def test_an_adaptive_limit_stays_where_it_is_while_answers_come_quickly():
    adaptive = Adaptive(8)
    for second in range(100):
        adaptive.learn("read", 0.01, float(second))
    assert adaptive.grants_max == 8


def test_an_adaptive_limit_shrinks_once_for_calls_that_were_slow_together_and_never_below_one():
    adaptive = Adaptive(8)
    adaptive.learn("read", 0.01, 0.0)
    for _ in range(8):
        adaptive.learn("read", 1.0, 10.0)
    assert adaptive.limit == 8 * DECREASE
    for second in range(20, 170, 5):
        adaptive.learn("read", 5.0, float(second))
    assert adaptive.grants_max == 1


def test_an_adaptive_limit_grows_back_when_the_backend_has_recovered():
    adaptive = Adaptive(4)
    adaptive.learn("read", 0.01, 0.0)
    for second in range(20):
        adaptive.learn("read", 1.0, 10.0 + 2 * second)
    low = adaptive.limit
    for second in range(100):
        adaptive.learn("read", 0.01, 100.0 + second)
    assert low < adaptive.limit == 4
