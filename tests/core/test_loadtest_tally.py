"""What a load test counts: each call once, in the step in which it was due; each answer when it came."""

from random import Random

import pytest
from hdrh.histogram import HdrHistogram

from pooler.loadtest.calls import Arrival
from pooler.loadtest.histograms import Times, restored
from pooler.loadtest.plan import Step
from pooler.loadtest.tally import Tally
from pooler.service.load import LoadAnswer

GOOD = LoadAnswer("GOOD", 0.02, 0.01, 0.0, 0.05, timed=True)


def call(at, step=0, timeout=1.0):
    return Arrival(at, step, "work", b"{}", "", False, timeout)


def tally_of(*steps: Step) -> Tally:
    tally, begins = Tally(sum(step.seconds for step in steps)), 0.0
    for step in steps:
        tally.step(step, begins)
        begins += step.seconds
    return tally


def test_latency_counts_from_when_a_call_was_due_and_not_from_when_it_left():
    tally = tally_of(Step(rate=1, seconds=10))
    tally.sent(call(1.0), late=0.4)
    tally.answered(call(1.0), GOOD, 1.5)

    (step,) = tally.steps()
    assert step.all.latency.p50_ms == pytest.approx(500, rel=0.002)
    assert step.lateness.p50_ms == pytest.approx(400, rel=0.002)


def test_a_good_answer_after_its_callers_time_is_late_and_not_good():
    tally = tally_of(Step(rate=1, seconds=10))
    tally.sent(call(1.0, timeout=0.3), 0.0)
    tally.answered(call(1.0, timeout=0.3), GOOD, 1.301)

    (step,) = tally.steps()
    assert (step.all.outcomes, step.all.goodput, step.all.latency) == ({"LATE": 1}, 0.0, None)
    assert step.all.failing.count == 1


def test_callers_who_left_on_purpose_count_neither_way():
    tally = tally_of(Step(rate=4, seconds=1))
    for _ in range(4):
        tally.sent(call(0.5), 0.0)
    for _ in range(3):
        tally.vanished(call(0.5), 0.6)
    tally.answered(call(0.5), GOOD, 0.7)

    (step,) = tally.steps()
    assert (step.all.calls, step.all.vanished, step.all.good, step.all.goodput) == (4, 3, 1, 1.0)


def test_a_call_belongs_to_its_own_step_and_the_rate_of_answers_to_the_time_in_which_they_came():
    tally = tally_of(Step(rate=10, seconds=1), Step(rate=1, seconds=1))
    for _ in range(10):
        tally.sent(call(0.9), 0.0)
    for number in range(10):
        tally.answered(call(0.9), GOOD, 0.95 if number < 4 else 1.5)

    first, second = tally.steps()
    assert (first.all.good, first.all.good_per_second) == (10, 4.0)
    assert (second.all.calls, second.all.good_per_second) == (0, 6.0)


def test_whose_answers_they_were_is_counted_where_they_are_shared():
    tally = tally_of(Step(rate=4, seconds=1))
    for shared in ("hit", "hit", "miss", ""):
        tally.sent(call(0.5), 0.0)
        tally.answered(call(0.5), GOOD._replace(shared=shared), 0.6)

    assert tally.steps()[0].all.shared == {"hit": 2, "miss": 1}


def test_the_parts_of_a_latency_add_up_to_it():
    tally = tally_of(Step(rate=1, seconds=10))
    tally.sent(call(1.0), 0.0)
    tally.answered(call(1.0), GOOD, 1.1)

    parts = tally.steps()[0].parts
    assert {name: round(part.mean_ms) for name, part in parts.items()} == {
        "queue": 20, "start": 10, "reset": 0, "work": 50, "elsewhere": 20,
    }  # fmt: skip


def test_moments_cover_the_run_without_gaps_and_add_up_to_its_calls():
    tally, chance = tally_of(Step(rate=100, seconds=10)), Random(3)
    for _ in range(1000):
        one = call(chance.uniform(0, 9.99))
        tally.sent(one, 0.0)
        tally.answered(one, GOOD if chance.random() < 0.8 else LoadAnswer("SHED"), one.at + 0.3)

    moments = tally.moments()
    assert [moment.at_s for moment in moments] == [index * 0.25 for index in range(len(moments))]
    assert sum(moment.due for moment in moments) == 1000
    assert sum(moment.good for moment in moments) == tally.steps()[0].all.good
    assert moments[-1].under_way == 0
    assert max(moment.under_way for moment in moments) == pytest.approx(30, abs=15)  # Little's law: 100/s for 0.3 s


def test_percentiles_of_many_cells_are_those_of_all_their_calls_together():
    parts, whole = [Times(), Times()], Times()
    for number in range(1, 1001):
        parts[number % 2].record(number / 1000)
    for part in parts:
        whole.add(part)

    told = whole.distribution()
    assert (told.count, told.p50_ms, told.p99_ms) == (
        1000,
        pytest.approx(500, rel=0.002),
        pytest.approx(990, rel=0.002),
    )
    assert told.spectrum[-1] == (100.0, told.max_ms)
    assert [value for _, value in told.spectrum] == sorted(value for _, value in told.spectrum)


def test_a_kept_histogram_is_read_back_whole_by_any_library():
    times = Times()
    for number in range(1, 201):
        times.record(number / 1000)
    told = times.distribution()

    assert told is not None
    assert HdrHistogram.decode(told.hdr).get_total_count() == 200
    assert restored(told).at(90) == told.p90_ms
    assert restored(told).within(50) == 50
    assert Times().distribution() is None
