"""When a client may be started: the pause after failures, the careful recovery, the ceiling after a LIMIT."""

import pytest

from pooler.core.learned import Mean
from pooler.core.starts import PAUSE_FIRST_SECONDS, PAUSE_MAX_SECONDS, Starts

NOW = 1000.0


def starts(parallel: int = 4, jitter: float = 1.0) -> Starts:
    return Starts(parallel, lambda: jitter)


def fail_probe(policy: Starts, now: float) -> float:
    """The one prober that may go out begins now and fails at once; returns the pause that follows."""
    assert policy.window(now) > 0
    policy.failed(now, now, "connection refused")
    return policy.retry_at - now


def test_while_all_is_well_as_many_start_at_once_as_configured():
    assert starts(parallel=4).window(NOW) == 4


def test_after_a_failure_nothing_starts_for_a_while_and_then_one_prober():
    policy = starts()
    pause = fail_probe(policy, NOW)
    assert policy.window(NOW + pause - 0.001) == 0
    assert policy.window(NOW + pause) == 1


def test_the_pause_doubles_with_each_failure_up_to_a_bound():
    policy, now, pauses = starts(), NOW, []
    for _ in range(10):
        pauses.append(fail_probe(policy, now))
        now = policy.retry_at
    assert pauses[:4] == pytest.approx([PAUSE_FIRST_SECONDS * 2**n for n in range(4)])
    assert pauses[-3:] == pytest.approx([PAUSE_MAX_SECONDS] * 3)


@pytest.mark.promise(14)
def test_the_pause_is_spread_so_that_poolers_do_not_probe_in_step():
    shortest, longest = starts(jitter=0.0), starts(jitter=1.0)
    assert fail_probe(longest, NOW) == pytest.approx(2 * fail_probe(shortest, NOW))


def test_starts_that_were_under_way_together_lengthen_the_pause_once():
    policy = starts(parallel=8)
    for number in range(8):
        policy.failed(NOW, NOW + 5 + number / 10, "connection refused")
    assert policy.retry_at == pytest.approx(NOW + 5 + PAUSE_FIRST_SECONDS)
    assert policy.failures == 8


@pytest.mark.promise(15)
def test_an_outage_of_days_is_followed_by_the_same_short_pauses():
    policy, now = starts(), NOW
    for _ in range(10_000):
        assert fail_probe(policy, now) <= PAUSE_MAX_SECONDS
        now = policy.retry_at
    policy.succeeded(0.1, 1)
    assert fail_probe(policy, now) == pytest.approx(PAUSE_FIRST_SECONDS)


def test_on_recovery_one_two_and_four_start_at_once():
    policy = starts(parallel=6)
    fail_probe(policy, NOW)
    widths = [policy.window(policy.retry_at)]
    for _ in range(3):
        for alive in range(widths[-1]):
            policy.succeeded(0.1, alive)
        widths.append(policy.window(NOW + 60))
    assert widths == [1, 2, 4, 6]


def test_a_success_forgets_the_failures_and_what_was_said():
    policy = starts()
    fail_probe(policy, NOW)
    assert (policy.failures, policy.words) == (1, "connection refused")
    policy.succeeded(0.1, 1)
    assert (policy.failures, policy.words, policy.proven) == (0, "", True)
    assert policy.failed_total == 1


def test_a_limit_is_a_ceiling_and_no_failure():
    policy = starts()
    policy.limited(NOW, NOW, 3, "no licence is free")
    assert policy.limit(8, NOW) == 3
    assert (policy.failures, policy.failed_total) == (0, 0)


def test_below_the_ceiling_starts_go_on_at_once():
    policy = starts(parallel=4)
    policy.limited(NOW, NOW, 3, "no licence is free")
    assert policy.window(NOW) == 4


def test_now_and_then_one_more_than_the_ceiling_is_tried():
    policy = starts()
    policy.limited(NOW, NOW, 3, "no licence is free")
    assert policy.limit(8, NOW + PAUSE_FIRST_SECONDS - 0.001) == 3
    assert policy.limit(8, NOW + PAUSE_FIRST_SECONDS) == 4


def test_each_time_that_is_refused_the_next_try_is_put_off_longer():
    policy, now, pauses = starts(), NOW, []
    for _ in range(8):
        policy.limited(now, now, 3, "no licence is free")
        pause = next(seconds for n in range(12) if policy.limit(8, now + (seconds := PAUSE_FIRST_SECONDS * 2**n)) == 4)
        pauses.append(pause)
        now += pause
    assert pauses[:4] == [PAUSE_FIRST_SECONDS * 2**n for n in range(4)]
    assert pauses[-1] <= 2 * PAUSE_MAX_SECONDS


def test_the_ceiling_never_exceeds_the_cap():
    policy = starts()
    policy.limited(NOW, NOW, 3, "no licence is free")
    assert policy.limit(2, NOW + 60) == 2


def test_the_ceiling_is_lifted_when_more_were_let_in_and_then_carefully():
    policy = starts(parallel=4)
    policy.limited(NOW, NOW, 3, "no licence is free")
    policy.succeeded(0.1, 3)
    assert policy.limit(8, NOW) == 3
    policy.succeeded(0.1, 4)
    assert policy.limit(8, NOW) == 8
    assert policy.window(NOW) == 2


@pytest.mark.promise(11)
def test_one_call_that_seems_slow_brings_hardly_any_start_more():
    policy = starts()
    policy.succeeded(1.0, 1)
    for _ in range(20):
        policy.work.learn(0.02)
    paid_for = policy.worth(200, 1, 1)
    policy.work.learn(0.04)
    assert paid_for <= policy.worth(200, 1, 1) <= 1.1 * paid_for


@pytest.mark.promise(9)
def test_calls_that_have_become_slow_bring_their_starts_within_some_tens_of_them():
    policy = starts()
    policy.succeeded(1.0, 1)
    for _ in range(1000):
        policy.work.learn(0.001)
    assert policy.worth(20, 1, 1) == 0
    for _ in range(40):
        policy.work.learn(1.0)
    assert policy.worth(20, 1, 1) >= 18


def test_a_mean_starts_with_its_first_sample_and_follows_the_newest():
    mean = Mean()
    mean.learn(10.0)
    assert mean.seconds == 10.0
    for _ in range(50):
        mean.learn(2.0)
    assert mean.seconds == pytest.approx(2.0, abs=0.01)
