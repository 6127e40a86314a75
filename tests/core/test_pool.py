"""What a pool does for its callers: who gets a place, when, who is refused, and what becomes of one who leaves."""

import pytest

from pooler.core.actions import Interrupt, Offer, Open, Refuse, Reset
from pooler.core.rules import Fate
from pooler.core.slots import Priority
from pooler.core.states import ConnectionState, GrantState, ImpossibleTransitionError
from pooler.errors import Reason
from tests.core.scene import Scene, slot_of, started


@pytest.mark.promise(8)
def test_a_caller_is_offered_an_idle_connection_in_the_step_in_which_it_asks():
    scene = Scene()
    (slot,) = scene.connect()
    waiter, actions = scene.ask()
    assert actions == [Offer(waiter)]
    assert waiter.slot is slot
    assert waiter.grant is GrantState.OFFERED


@pytest.mark.promise(8, 21)
def test_a_returned_connection_goes_to_whoever_has_waited_longest():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    first, second = scene.queued(), scene.queued()
    assert scene.finish(running) == [Offer(first)]
    scene.pool.accept(first)
    assert scene.finish(first) == [Offer(second)]


def test_the_connection_used_last_is_used_next_so_that_the_others_can_age_out():
    scene = Scene(cap=3)
    scene.connect(3)
    callers = [scene.running() for _ in range(3)]
    for caller in callers:
        scene.finish(caller)
    assert slot_of(scene.running()) is slot_of(callers[-1])


def test_a_batch_call_waits_behind_a_person_who_came_a_little_later():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    scene.queued(priority=Priority.BATCH)
    scene.later(5)
    person = scene.queued()
    assert scene.finish(running) == [Offer(person)]


@pytest.mark.promise(21)
def test_a_batch_call_that_has_waited_long_enough_goes_before_a_person():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    batch = scene.queued(priority=Priority.BATCH)
    scene.later(11)
    scene.queued()
    assert scene.finish(running) == [Offer(batch)]


@pytest.mark.promise(23)
def test_a_full_queue_refuses_at_once_and_says_when_to_come_again():
    scene = Scene(cap=1, queue_max=2)
    scene.connect()
    running = scene.running()
    waiting = [scene.queued(), scene.queued()]
    refused, actions = scene.ask()
    (refusal,) = actions
    assert isinstance(refusal, Refuse)
    assert (refusal.waiter, refusal.reason) == (refused, Reason.QUEUE_FULL)
    assert refusal.retry_after_seconds is not None
    assert refusal.retry_after_seconds > 0
    assert scene.finish(running) == [Offer(waiting[0])]


@pytest.mark.promise(23)
def test_the_retry_hint_is_about_what_it_takes_until_a_place_in_the_queue_is_free():
    scene = Scene(cap=2, queue_max=1, validate_after_seconds=3600)
    scene.connect(2)
    for _ in range(50):
        running = scene.running()
        scene.later(8)
        scene.finish(running)
    scene.running(), scene.running(), scene.queued()
    _, (refusal,) = scene.ask()
    assert refusal.retry_after_seconds == pytest.approx(4, rel=0.05)


def test_while_nothing_is_open_the_retry_hint_is_what_a_start_takes():
    scene = Scene(cap=1, queue_max=1)
    _, actions = scene.ask(scene.waiter())
    scene.later(40)
    scene.open(started(actions)[0])
    scene.pool.retire(scene.now)
    scene.queued()
    _, (refusal,) = scene.ask()
    assert (refusal.reason, refusal.retry_after_seconds) == (Reason.QUEUE_FULL, pytest.approx(40))


def test_a_full_queue_still_admits_a_caller_who_can_be_served_without_waiting():
    scene = Scene(cap=2, queue_max=1, validate_after_seconds=30)
    scene.connect(2)
    scene.later(31)
    scene.queued()
    waiter, actions = scene.ask()
    assert waiter in scene.pool.queue
    assert not any(isinstance(action, Refuse) for action in actions)


@pytest.mark.promise(7)
def test_a_waiter_whose_time_is_over_gets_no_place_and_the_next_one_does():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    late, next_one = scene.queued(patience=5), scene.queued()
    scene.later(5)
    assert scene.finish(running) == [Offer(next_one), Refuse(late, Reason.QUEUE_TIMEOUT)]


@pytest.mark.promise(7)
def test_a_caller_whose_time_is_over_already_gets_no_idle_connection():
    scene = Scene()
    scene.connect()
    late, actions = scene.ask(scene.waiter(patience=0))
    assert actions == [Refuse(late, Reason.QUEUE_TIMEOUT)]


def test_waiting_for_a_place_and_waiting_for_a_start_are_told_apart():
    scene = Scene(cap=1)
    waiter = scene.queued(patience=5)
    (slot,) = scene.pool.ledger.slots.values()
    scene.later(5)
    (refusal,) = scene.pool.expire(waiter, scene.now)
    assert refusal == Refuse(waiter, Reason.START_TIMEOUT)
    scene.open(slot)
    scene.running()
    waiter = scene.queued(patience=5)
    scene.later(5)
    assert scene.pool.expire(waiter, scene.now) == [Refuse(waiter, Reason.QUEUE_TIMEOUT)]


def test_a_time_out_that_comes_after_the_offer_changes_nothing():
    scene = Scene()
    scene.connect()
    waiter = scene.running()
    assert scene.pool.expire(waiter, scene.now) == []
    assert scene.finish(waiter) == []


@pytest.mark.promise(38)
def test_a_caller_who_leaves_the_queue_frees_its_place_there():
    scene = Scene(cap=1, queue_max=1)
    scene.connect()
    scene.running()
    ghost = scene.queued()
    assert scene.pool.leave(ghost, scene.now) == []
    assert scene.queued() in scene.pool.queue


@pytest.mark.promise(5)
def test_an_offer_that_nobody_took_comes_straight_back_and_goes_to_the_next():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    ghost, next_one = scene.queued(), scene.queued()
    scene.finish(running)
    assert ghost.grant is GrantState.OFFERED
    assert scene.pool.leave(ghost, scene.now) == [Offer(next_one)]
    assert scene.pool.accept(ghost) is False


@pytest.mark.promise(6)
def test_a_caller_who_leaves_its_running_work_has_it_stopped_and_the_connection_stays_taken():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    assert scene.pool.leave(running, scene.now) == [Interrupt(running)]
    waiter = scene.queued()
    assert scene.finish(running, Fate.SOILED) == [Reset(slot_of(running))]
    assert scene.pool.was_reset(slot_of(running), True, scene.now) == [Offer(waiter)]


def test_leaving_twice_or_after_the_end_changes_nothing():
    scene = Scene()
    scene.connect()
    running = scene.running()
    scene.pool.leave(running, scene.now)
    assert scene.pool.leave(running, scene.now) == []
    scene.finish(running)
    assert scene.pool.leave(running, scene.now) == []
    assert scene.pool.count(ConnectionState.IDLE) == 1


def test_work_that_is_stopped_by_its_own_bound_is_not_interrupted_again():
    scene = Scene()
    scene.connect()
    running = scene.running()
    scene.pool.stopping(running)
    scene.pool.stopping(running)
    assert scene.pool.leave(running, scene.now) == []
    assert scene.finish(running) == []


def test_a_grant_that_ends_twice_is_a_bug_of_ours():
    scene = Scene()
    scene.connect()
    running = scene.running()
    scene.finish(running)
    with pytest.raises(ImpossibleTransitionError, match="FINISHED while DONE"):
        scene.pool.finish(running, Fate.SOUND, scene.now)


def test_who_lost_its_connection_through_no_fault_of_its_own_is_served_next():
    scene = Scene(cap=1)
    scene.connect()
    victim = scene.running()
    scene.queued()
    scene.finish(victim, Fate.DEAD)
    scene.ask(victim, again=True)
    (slot,) = scene.pool.ledger.slots.values()
    (opening,) = started(scene.pool.gone(slot, scene.now))
    assert scene.open(opening) == [Offer(victim)]


def test_it_is_served_even_when_the_queue_is_full_or_the_pool_is_draining():
    scene = Scene(cap=1, queue_max=1)
    scene.connect()
    victim = scene.running()
    scene.queued()
    scene.pool.drain(scene.now)
    scene.finish(victim, Fate.DEAD)
    _, actions = scene.ask(victim, again=True)
    assert not any(isinstance(action, Refuse) for action in actions)
    assert victim in scene.pool.queue


def test_a_connection_with_several_streams_serves_so_many_at_once_and_no_more():
    scene = Scene(cap=1)
    (slot,) = scene.connect(streams=3)
    assert {slot_of(scene.running()) for _ in range(3)} == {slot}
    scene.queued()


def test_calls_that_share_connections_are_spread_over_them():
    scene = Scene(cap=2)
    scene.connect(2, streams=2)
    first = [slot_of(scene.running()) for _ in range(2)]
    assert first[0] is not first[1]


def test_a_shared_connection_that_was_soiled_takes_nobody_until_it_is_empty_and_reset():
    scene = Scene(cap=1)
    (slot,) = scene.connect(streams=2)
    soiler, other = scene.running(), scene.running()
    waiter = scene.queued()
    assert scene.finish(soiler, Fate.SOILED) == []
    assert scene.finish(other) == [Reset(slot)]
    assert scene.pool.was_reset(slot, True, scene.now) == [Offer(waiter)]


def test_a_shared_connection_that_broke_takes_nobody_and_lets_the_others_finish():
    scene = Scene(cap=1, shared_fate=False)
    (slot,) = scene.connect(streams=2)
    victim, other = scene.running(), scene.running()
    scene.finish(victim, Fate.BROKEN)
    assert slot.state is ConnectionState.DRAINING
    scene.queued()
    scene.finish(other)
    assert slot.state is ConnectionState.CLOSING


def test_a_free_stream_is_used_while_idle_connections_are_being_checked():
    scene = Scene(cap=3, validate_after_seconds=30)
    scene.connect(3, streams=2)
    scene.later(29)
    busy = scene.running()
    scene.later(2)
    waiter, actions = scene.ask()
    assert Offer(waiter) in actions
    assert waiter.slot is busy.slot


def test_streams_are_used_although_a_later_connection_allows_fewer():
    scene = Scene(cap=2)
    scene.connect(streams=2)
    first, _ = scene.running(), scene.running()
    third, (opening,) = scene.ask()
    assert isinstance(opening, Open)
    assert scene.open(opening.slot, streams=1) == [Offer(third)]
    fourth = scene.queued()
    assert scene.finish(first) == [Offer(fourth)]


def test_who_needs_a_connection_whole_takes_another_one_that_is_free_before_its_own_is_empty():
    scene = Scene(cap=2)
    scene.connect(streams=3)
    scene.running()
    whole = scene.waiter()
    whole.whole = True
    _, (opening,) = scene.ask(whole)
    assert isinstance(opening, Open)
    late = scene.queued()
    assert scene.open(opening.slot, streams=3) == [Offer(whole), Offer(late)]  # the first is open to all again


def test_of_two_who_need_connections_whole_the_first_to_come_is_the_first_served():
    scene = Scene(cap=3)
    scene.connect(2, streams=2)
    scene.running(), scene.running()
    first, second = scene.waiter(), scene.waiter()
    first.whole = second.whole = True
    _, actions = scene.ask(first)
    scene.ask(second)
    _, more = scene.ask()
    (opening,) = started(actions + more)
    assert scene.open(opening)[0] == Offer(first)
    assert second.grant is None


def test_the_parts_of_a_wait_for_a_start_add_up():
    scene = Scene(cap=1)
    _, actions = scene.ask()
    scene.later(2)
    scene.pool.leave(next(iter(scene.pool.queue.clear())), scene.now)
    waiter, _ = scene.ask()
    scene.later(5)
    scene.open(started(actions)[0])
    assert (waiter.queue_seconds, waiter.start_seconds, waiter.reset_seconds) == (0, 5, 0)


def test_the_parts_of_a_wait_for_a_place_and_a_reset_add_up():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    waiter = scene.queued()
    scene.later(4)
    scene.finish(running, Fate.SOILED)
    scene.later(3)
    scene.pool.was_reset(slot_of(running), True, scene.now)
    assert (waiter.queue_seconds, waiter.start_seconds, waiter.reset_seconds) == (4, 0, 3)


def test_a_reset_that_was_over_before_the_caller_came_is_no_part_of_its_wait():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    scene.finish(scene.running(), Fate.SOILED)
    scene.later(3)
    scene.pool.was_reset(slot, True, scene.now)
    scene.later(1)
    waiter, _ = scene.ask()
    assert (waiter.queue_seconds, waiter.start_seconds, waiter.reset_seconds) == (0, 0, 0)


def test_everything_shows_its_state():
    scene = Scene(cap=2)
    waiter, (opening,) = scene.ask()
    assert isinstance(opening, Open)
    assert repr(scene.pool) == "<pool cap=2 held=1 starting=1 queue=1 g0>"
    assert repr(opening.slot) == "<slot 1 STARTING g0 uses=0 grants=0>"
    assert repr(waiter) == "<waiter default QUEUED>"
    scene.open(opening.slot)
    assert repr(waiter) == "<waiter default OFFERED on <slot 1 IN_USE g0 uses=1 grants=1>>"
