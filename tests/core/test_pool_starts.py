"""When a pool starts clients: slots are taken before and freed after, a start belongs to nobody, failures are borne."""

import pytest

from pooler.core.actions import Close, GiveUp, Offer, Open, Refuse
from pooler.core.rules import Fate, StartFailure
from pooler.core.slots import Slot, Waiter
from pooler.core.states import ConnectionState
from pooler.errors import Reason
from tests.core.scene import Scene, slot_of, started


def fail(scene: Scene, slot: Slot, failure: StartFailure = StartFailure.OTHER, words: str = "refused"):
    """A start fails, and nothing of it is left."""
    return scene.pool.start_failed(slot, failure, words, scene.now) + scene.pool.gone(slot, scene.now)


@pytest.mark.promise(1)
def test_the_first_caller_has_a_client_started_in_a_slot_that_is_taken_at_once():
    scene = Scene()
    _, actions = scene.ask()
    (slot,) = started(actions)
    assert actions == [Open(slot)]
    assert (slot.state, scene.pool.held) == (ConnectionState.STARTING, 1)


@pytest.mark.promise(1)
def test_a_slot_is_free_only_when_the_death_of_its_connection_is_confirmed():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    assert scene.pool.retire(scene.now) == [Close(slot, force=False)]
    scene.queued()
    assert scene.pool.tick(scene.now) == []
    assert scene.pool.held == 1
    (opening,) = scene.pool.gone(slot, scene.now)
    assert isinstance(opening, Open)
    assert opening.slot is not slot


@pytest.mark.promise(1)
def test_no_more_starts_than_the_cap_whatever_the_demand():
    scene = Scene(cap=3, parallel_starts=10)
    for _ in range(50):
        scene.queued()
    assert scene.pool.count(ConnectionState.STARTING) == 3


@pytest.mark.promise(4)
def test_the_reserve_lies_inside_the_cap():
    scene = Scene(cap=3, reserve=1, parallel_starts=10)
    for _ in range(50):
        scene.queued()
    assert scene.pool.count(ConnectionState.STARTING) == 2


@pytest.mark.promise(9)
def test_starts_run_in_parallel_up_to_their_bound_and_the_next_follows_at_once():
    scene = Scene(cap=5, parallel_starts=2)
    for _ in range(9):
        scene.queued()
    assert scene.pool.count(ConnectionState.STARTING) == 2
    slot = next(iter(scene.pool.ledger.slots.values()))
    assert len(started(scene.open(slot))) == 1
    assert scene.pool.count(ConnectionState.STARTING) == 2


def test_a_caller_causes_no_start_while_one_is_coming_for_it():
    scene = Scene(cap=4, parallel_starts=4)
    assert len(started(scene.ask()[1])) == 1
    assert len(started(scene.ask()[1])) == 1
    assert scene.pool.tick(scene.now) == []


def test_fewer_starts_are_needed_where_a_connection_takes_several_calls():
    scene = Scene(cap=4, parallel_starts=4)
    scene.connect(streams=3)
    for _ in range(3):
        scene.running()
    assert [len(started(scene.ask()[1])) for _ in range(4)] == [1, 0, 0, 1]


def learned(streams: int) -> Scene:
    """A pool with one connection and room for another, that knows what starts (1 s) and calls (0.1 s) take."""
    scene = Scene(cap=2)
    (slot,) = started(scene.ask(waiter := scene.waiter())[1])
    scene.later(1)
    assert scene.open(slot, streams) == [Offer(waiter)]
    scene.pool.accept(waiter)
    scene.later(0.1)
    scene.finish(waiter)
    return scene


def long_ago(scene: Scene, whole: bool = False) -> Waiter:
    """A call that has been at work for much longer than any before it."""
    waiter, _ = scene.ask(Waiter(scene.now, scene.now + 3600, whole=whole))
    assert scene.pool.accept(waiter)
    scene.later(60)
    assert scene.pool.tick(scene.now) == []
    return waiter


@pytest.mark.promise(9)
def test_nobody_waits_for_a_long_call_that_has_a_connection_whole_while_another_could_be_started():
    scene = learned(streams=3)
    long_ago(scene, whole=True)
    assert len(started(scene.ask()[1])) == 1


@pytest.mark.promise(9)
def test_nobody_waits_for_a_connection_to_be_empty_while_a_long_call_keeps_it_and_another_could_be_started():
    scene = learned(streams=3)
    long_ago(scene)
    alone, actions = scene.ask(Waiter(scene.now, scene.now + 3600, whole=True))
    (slot,) = started(actions)
    assert scene.open(slot, 3) == [Offer(alone)]
    assert slot_of(alone) is slot


@pytest.mark.promise(9)
def test_nobody_waits_beside_what_a_long_call_has_soiled_while_another_could_be_started():
    scene = learned(streams=2)
    soiler = scene.running()
    long_ago(scene)
    scene.finish(soiler, Fate.SOILED)
    assert len(started(scene.ask()[1])) == 1


def test_who_shares_a_connection_with_a_long_call_brings_no_start_while_there_is_room():
    scene = learned(streams=3)
    long_ago(scene)
    waiter, actions = scene.ask()
    assert actions == [Offer(waiter)]


@pytest.mark.promise(10)
def test_a_waiter_takes_whatever_comes_first_a_returned_connection_or_the_new_one():
    scene = Scene(cap=2)
    scene.connect()
    running = scene.running()
    first, actions = scene.ask()
    second = scene.queued()
    assert scene.finish(running) == [Offer(first)]
    assert Offer(second) in scene.open(started(actions)[0])


@pytest.mark.promise(12)
def test_a_start_survives_the_caller_that_asked_for_it():
    scene = Scene(cap=1)
    impatient, actions = scene.ask()
    assert scene.pool.leave(impatient, scene.now) == []
    (slot,) = started(actions)
    assert scene.open(slot) == []
    assert slot_of(scene.running()) is slot


@pytest.mark.promise(11)
def test_starts_whose_demand_has_gone_before_they_began_are_never_made():
    scene = Scene(cap=8, parallel_starts=1)
    _, actions = scene.ask()
    spike = [scene.queued() for _ in range(20)]
    for waiter in spike:
        scene.pool.leave(waiter, scene.now)
    scene.open(started(actions)[0])
    assert scene.pool.starts.total == 1


@pytest.mark.promise(13)
def test_waiters_hear_the_backends_own_words_when_nothing_is_open_or_on_its_way():
    scene = Scene(cap=1)
    first, actions = scene.ask()
    second = scene.queued()
    told = scene.pool.start_failed(started(actions)[0], StartFailure.OTHER, "password wrong", scene.now)
    seconds = scene.pool.starts.retry_at - scene.now
    assert told == [Refuse(who, Reason.START_FAILED, seconds, "password wrong") for who in (first, second)]


def test_while_another_start_is_under_way_a_failed_one_is_nobodys_business():
    scene = Scene(cap=2)
    first, one = scene.ask()
    _, other = scene.ask()
    assert fail(scene, started(one)[0]) == []
    assert scene.open(started(other)[0])[0] == Offer(first)


def test_while_a_connection_works_a_failed_start_is_nobodys_business():
    scene = Scene(cap=2)
    scene.connect()
    running = scene.running()
    waiter, actions = scene.ask()
    assert fail(scene, started(actions)[0]) == []
    assert scene.finish(running) == [Offer(waiter)]


def test_while_a_connection_is_being_reset_a_failed_start_is_nobodys_business():
    scene = Scene(cap=2)
    (slot,) = scene.connect()
    running = scene.running()
    waiter, actions = scene.ask()
    scene.finish(running, Fate.SOILED)
    assert fail(scene, started(actions)[0]) == []
    assert scene.pool.was_reset(slot, True, scene.now) == [Offer(waiter)]


@pytest.mark.promise(13)
def test_after_a_failure_callers_are_told_at_once_until_the_pause_is_over():
    scene = Scene(cap=1)
    fail(scene, started(scene.ask()[1])[0], words="connection refused")
    waiter, actions = scene.ask()
    (refusal,) = actions
    assert isinstance(refusal, Refuse)
    assert (refusal.waiter, refusal.reason, refusal.words) == (waiter, Reason.START_FAILED, "connection refused")
    scene.now = scene.pool.starts.retry_at
    assert len(started(scene.ask()[1])) == 1


@pytest.mark.promise(14)
def test_a_backend_that_is_away_is_probed_by_one_start_at_a_time_without_demand():
    scene = Scene(cap=8, parallel_starts=8)
    (slot,) = started(scene.pool.tick(scene.now))
    for _ in range(20):
        fail(scene, slot)
        assert scene.pool.tick(scene.now) == []
        scene.now = scene.pool.starts.retry_at
        (slot,) = started(scene.pool.tick(scene.now))
    assert scene.open(slot) == []
    assert scene.pool.serving


@pytest.mark.promise(14)
def test_on_recovery_the_waiters_bring_one_then_two_then_four_starts():
    scene = Scene(cap=16, parallel_starts=8)
    fail(scene, started(scene.ask()[1])[0])
    scene.now = scene.pool.starts.retry_at
    for _ in range(16):
        scene.queued()
    widths = []
    while scene.pool.held < 15:
        slots = [s for s in scene.pool.ledger.slots.values() if s.state is ConnectionState.STARTING]
        widths.append(len(slots))
        for slot in slots:
            scene.open(slot)
    assert widths[:3] == [1, 2, 4]


@pytest.mark.promise(13)
def test_ten_thousand_failed_starts_leave_no_slot_behind():
    scene = Scene(cap=4, parallel_starts=4)
    for _ in range(10_000):
        _, actions = scene.ask()
        for slot in started(actions):
            fail(scene, slot)
        scene.now = scene.pool.starts.retry_at
    assert (scene.pool.held, scene.pool.starts.failed_total) == (0, 10_000)


def test_a_limit_tells_nobody_and_the_waiters_wait_on():
    scene = Scene(cap=4, parallel_starts=4)
    running = [scene.running() for _ in scene.connect(2)]
    waiter, actions = scene.ask()
    assert fail(scene, started(actions)[0], StartFailure.LIMIT) == []
    assert scene.pool.serving
    assert scene.finish(running[0]) == [Offer(waiter)]


def test_a_limit_on_the_very_first_start_tells_nobody_either():
    scene = Scene(cap=4)
    waiter, actions = scene.ask()
    assert fail(scene, started(actions)[0], StartFailure.LIMIT) == []
    scene.later(1)
    (slot,) = started(scene.pool.tick(scene.now))
    assert scene.open(slot) == [Offer(waiter)]


def test_after_a_limit_what_a_lost_connection_gave_back_is_taken_again_at_once():
    scene = Scene(cap=4, parallel_starts=4, shared_fate=False)
    scene.connect(2)
    victim, _ = scene.running(), scene.running()
    _, actions = scene.ask()
    for _ in range(8):  # the limit is well known by now: the next try beyond it is far away
        fail(scene, started(actions)[0], StartFailure.LIMIT)
        while not started(actions := scene.pool.tick(scene.now)):
            scene.later(1)
    fail(scene, started(actions)[0], StartFailure.LIMIT)
    scene.finish(victim, Fate.DEAD)
    assert len(started(scene.pool.gone(slot_of(victim), scene.now))) == 1


def test_a_draining_connection_counts_when_more_than_the_ceiling_are_let_in():
    scene = Scene(cap=4, parallel_starts=4)
    scene.connect()
    running = scene.running()
    _, actions = scene.ask()
    fail(scene, started(actions)[0], StartFailure.LIMIT)
    scene.pool.retire(scene.now)
    scene.later(1)
    (probe,) = started(scene.pool.tick(scene.now))
    assert slot_of(running).state is ConnectionState.DRAINING
    scene.open(probe)
    scene.queued(), scene.queued()
    assert scene.pool.held == 4


def test_a_start_that_nobody_may_use_any_more_is_given_up():
    scene = Scene(cap=1)
    _, actions = scene.ask()
    (slot,) = started(actions)
    assert scene.pool.retire(scene.now) == [GiveUp(slot)]
    assert scene.pool.retire(scene.now) == []


def test_a_start_that_was_given_up_and_fails_proves_nothing():
    scene = Scene(cap=1)
    waiter, actions = scene.ask()
    (slot,) = started(actions)
    scene.pool.retire(scene.now)
    (opening,) = fail(scene, slot)
    assert scene.pool.starts.failures == 0
    assert scene.open(opening.slot) == [Offer(waiter)]


@pytest.mark.promise(34)
def test_a_start_that_was_given_up_and_succeeds_all_the_same_serves_nobody():
    scene = Scene(cap=1)
    waiter, actions = scene.ask()
    (slot,) = started(actions)
    scene.pool.retire(scene.now)
    assert scene.open(slot) == [Close(slot, force=False)]
    assert waiter in scene.pool.queue


def test_nobody_waits_for_a_start_that_was_given_up_while_another_slot_is_free():
    scene = Scene(cap=2, parallel_starts=2)
    scene.ask()
    (opening,) = [action for action in scene.pool.retire(scene.now) if isinstance(action, Open)]
    assert scene.pool.held == 2
    assert opening.slot.generation == scene.pool.generation


def test_a_start_that_was_given_up_counts_among_the_parallel_ones_until_it_has_ended():
    scene = Scene(cap=3, parallel_starts=1)
    _, actions = scene.ask()
    assert started(scene.pool.retire(scene.now)) == []
    (opening,) = fail(scene, started(actions)[0])
    assert isinstance(opening, Open)


@pytest.mark.promise(40)
def test_it_does_not_say_that_it_serves_before_a_first_start_has_proved_it():
    scene = Scene()
    assert not scene.pool.serving
    (slot,) = started(scene.pool.tick(scene.now))
    assert not scene.pool.serving
    scene.open(slot)
    assert scene.pool.serving


def test_it_says_that_it_does_not_serve_when_starts_fail_and_nothing_is_open():
    scene = Scene(cap=2)
    (slot,) = scene.connect()
    scene.running()
    fail(scene, started(scene.ask()[1])[0])
    assert scene.pool.serving
    scene.pool.retire(scene.now)
    assert slot.state is ConnectionState.DRAINING
    assert not scene.pool.serving
