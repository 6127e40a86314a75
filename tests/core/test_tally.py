"""What a pool counts of its calls' time: every one of them, however it ended."""

import pytest

from pooler.backends.base import Answer
from pooler.errors import Fault, Reason
from pooler.runtime.tally import BOUNDS, OUTCOMES, TENANTS_MAX, Histogram, Tally
from pooler.runtime.turns import Timing


def test_a_histogram_counts_each_duration_in_every_bound_that_it_fits() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], 0.02, 1e9):
        histogram.add(seconds)
    counts = dict(histogram.cumulative())
    assert counts[BOUNDS[0]] == 2
    assert counts[0.025] == 3
    assert counts[float("inf")] == histogram.count == 4
    assert histogram.sum == pytest.approx(1e9 + BOUNDS[0] + 0.02)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (Reason.QUEUE_TIMEOUT, "timed_out"),
        (Reason.START_TIMEOUT, "timed_out"),
        (Reason.PAUSED, "timed_out"),
        (Reason.CANCELLED, "cancelled"),
        (Reason.KILLED, "cancelled"),
        (Reason.SHED, "shed"),
        (Reason.QUEUE_FULL, "refused"),
        (Reason.START_FAILED, "refused"),
        (Reason.DRAINING, "refused"),
    ],
)
def test_a_wait_that_brought_no_connection_counts_by_how_it_ended(reason: Reason, outcome: str) -> None:
    tally = Tally()
    tally.note(False, Fault(reason, ""), Timing(queue=2.0), "shop")
    assert {name: tally.waits[name].count for name in OUTCOMES if tally.waits[name].count} == {outcome: 1}
    assert tally.waits[outcome].sum == 2.0
    assert tally.work.count == 0


def test_waits_in_vain_are_counted_for_each_tenant_and_old_ones_are_forgotten() -> None:
    tally = Tally()
    for reason in (Reason.SHED, Reason.QUEUE_FULL, Reason.QUEUE_FULL):
        tally.note(False, Fault(reason, ""), Timing(queue=1.0), "shop")
    tally.note(True, Answer(b"{}"), Timing(), "lucky")
    assert tally.in_vain == {"shop": {"shed": 1, "refused": 2}}
    for number in range(TENANTS_MAX):
        tally.note(False, Fault(Reason.SHED, ""), Timing(), f"tenant-{number}")
    assert len(tally.in_vain) == TENANTS_MAX
    assert "shop" not in tally.in_vain


@pytest.mark.parametrize("result", [Answer(b"{}"), Fault(Reason.WORK_TIMEOUT, "")])
def test_a_call_that_had_a_connection_counts_as_granted_whatever_became_of_it(result: Answer | Fault) -> None:
    tally = Tally()
    tally.note(True, result, Timing(queue=1.0, start=2.0, reset=0.5, backend=4.0), "shop")
    assert tally.waits["granted"].sum == 3.5
    assert (tally.starts.sum, tally.resets.sum, tally.work.sum) == (2.0, 0.5, 4.0)


def test_who_waited_for_no_start_and_no_reset_is_not_counted_among_those_who_did() -> None:
    tally = Tally()
    tally.note(True, Answer(b"{}"), Timing(queue=1.0, backend=4.0), "shop")
    assert (tally.starts.count, tally.resets.count) == (0, 0)
