"""How a pool keeps its connections sound: checks, resets, generations, lifetimes."""

import pytest

from pooler.core.actions import Check, Close, GiveUp, Offer, Open, Reset
from pooler.core.pool import LIFETIME_SPREAD
from pooler.core.rules import Fate
from pooler.core.states import ConnectionState
from tests.core.scene import Scene, slot_of, started


def test_a_connection_that_has_idled_long_is_checked_before_a_caller_gets_it():
    scene = Scene(cap=1, validate_after_seconds=30)
    (slot,) = scene.connect()
    scene.later(30)
    waiter, actions = scene.ask()
    assert actions == [Check(slot)]
    assert scene.pool.checked(slot, True, scene.now) == [Offer(waiter)]


def test_a_connection_that_was_used_lately_is_not_checked():
    scene = Scene(cap=1, validate_after_seconds=30)
    scene.connect()
    scene.later(29.9)
    waiter, actions = scene.ask()
    assert actions == [Offer(waiter)]


def test_a_check_that_went_well_counts_as_a_use():
    scene = Scene(cap=1, validate_after_seconds=30)
    (slot,) = scene.connect()
    scene.later(31)
    waiter, _ = scene.ask()
    scene.pool.leave(waiter, scene.now)
    scene.pool.checked(slot, True, scene.now)
    scene.later(29)
    assert slot_of(scene.running()) is slot


def test_no_more_connections_are_checked_at_once_than_there_are_waiters():
    scene = Scene(cap=4, validate_after_seconds=30)
    scene.connect(4)
    scene.later(31)
    assert [len(scene.ask()[1]) for _ in range(3)] == [1, 1, 1]
    assert scene.pool.count(ConnectionState.VALIDATING) == 3
    assert scene.pool.count(ConnectionState.IDLE) == 1


@pytest.mark.promise(16)
def test_one_failed_check_retires_every_connection_of_the_generation():
    scene = Scene(cap=4, parallel_starts=4, validate_after_seconds=30)
    slots = scene.connect(3)
    scene.later(31)
    waiter, (check,) = scene.ask()
    assert isinstance(check, Check)
    actions = scene.pool.checked(check.slot, False, scene.now)
    others = [slot for slot in slots if slot is not check.slot]
    assert Close(check.slot, force=True) in actions
    assert all(Close(slot, force=False) in actions for slot in others)
    (opening,) = started(actions)
    assert opening.generation == 1
    assert scene.open(opening) == [Offer(waiter)]


def test_a_second_failed_check_of_the_same_generation_retires_nothing_more():
    scene = Scene(cap=2, validate_after_seconds=30)
    scene.connect(2)
    scene.later(31)
    (first,) = scene.ask()[1]
    (second,) = scene.ask()[1]
    scene.pool.checked(first.slot, False, scene.now)
    assert Close(second.slot, force=True) in scene.pool.checked(second.slot, False, scene.now)
    assert scene.pool.generation == 1


@pytest.mark.promise(34)
def test_a_connection_in_a_check_when_its_generation_is_retired_serves_nobody_although_the_check_goes_well():
    scene = Scene(cap=2, validate_after_seconds=30)
    scene.connect(2)
    scene.later(31)
    (first,) = scene.ask()[1]
    (second,) = scene.ask()[1]
    scene.pool.checked(first.slot, False, scene.now)
    assert scene.pool.checked(second.slot, True, scene.now) == [Close(second.slot, force=False)]


@pytest.mark.promise(16)
def test_one_death_in_mid_call_retires_the_generation_once():
    scene = Scene(cap=3)
    scene.connect(3)
    first, second, idle = scene.running(), scene.running(), scene.pool.ledger.idle()
    assert idle is not None
    actions = scene.finish(first, Fate.DEAD)
    assert actions == [Close(idle, force=False), Close(slot_of(first), force=True)]
    assert slot_of(second).state is ConnectionState.DRAINING
    scene.finish(second, Fate.DEAD)
    assert scene.pool.generation == 1


def test_connections_with_a_fate_of_their_own_do_not_die_for_each_other():
    scene = Scene(cap=3, shared_fate=False, validate_after_seconds=30)
    scene.connect(3)
    victim = scene.running()
    assert scene.finish(victim, Fate.DEAD) == [Close(slot_of(victim), force=True)]
    scene.later(31)
    (check,) = scene.ask()[1]
    actions = scene.pool.checked(check.slot, False, scene.now)
    assert actions[0] == Close(check.slot, force=True)
    assert isinstance(actions[1], Check)
    assert scene.pool.generation == 0


def test_an_idle_connection_that_died_by_itself_is_closed_by_force_and_nobody_gets_it():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    assert scene.pool.lost(slot, scene.now) == [Close(slot, force=True)]
    assert scene.pool.lost(slot, scene.now) == []
    scene.queued()


def test_a_death_that_is_noticed_while_the_connection_is_in_use_is_its_users_business():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    assert scene.pool.lost(slot_of(running), scene.now) == []
    assert scene.finish(running, Fate.DEAD) == [Close(slot_of(running), force=True)]


@pytest.mark.promise(17)
def test_a_broken_connection_says_nothing_about_the_others():
    scene = Scene(cap=2)
    scene.connect(2)
    victim = scene.running()
    assert scene.finish(victim, Fate.BROKEN) == [Close(slot_of(victim), force=True)]
    assert scene.pool.generation == 0


@pytest.mark.promise(18)
def test_a_connection_is_reset_only_when_something_was_left_on_it():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    assert scene.finish(scene.running(), Fate.SOUND) == []
    assert scene.finish(scene.running(), Fate.SOILED) == [Reset(slot)]


@pytest.mark.promise(18)
def test_nobody_gets_a_connection_that_is_being_reset():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    scene.finish(scene.running(), Fate.SOILED)
    waiter = scene.queued()
    assert scene.pool.was_reset(slot, True, scene.now) == [Offer(waiter)]


@pytest.mark.promise(17)
def test_a_connection_that_could_not_be_reset_is_replaced_without_a_word_about_the_others():
    scene = Scene(cap=2)
    slots = scene.connect(2)
    running = scene.running()
    scene.finish(running, Fate.SOILED)
    assert scene.pool.was_reset(slot_of(running), False, scene.now) == [Close(slot_of(running), force=True)]
    assert scene.pool.generation == 0
    assert scene.pool.count(ConnectionState.IDLE) == len(slots) - 1


@pytest.mark.promise(34)
def test_a_connection_in_a_reset_when_the_backend_moves_serves_nobody_afterwards():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    scene.finish(scene.running(), Fate.SOILED)
    scene.pool.retire(scene.now)
    scene.queued()
    assert scene.pool.was_reset(slot, True, scene.now) == [Close(slot, force=False)]


@pytest.mark.promise(34)
def test_when_the_backend_has_moved_what_is_idle_is_closed_and_what_is_starting_is_given_up():
    scene = Scene(cap=3, warm=2, parallel_starts=1)
    (idle,) = started(scene.pool.tick(scene.now))
    (starting,) = started(scene.open(idle))
    actions = scene.pool.retire(scene.now)
    assert actions[:2] == [Close(idle, force=False), GiveUp(starting)]
    assert all(slot.generation == 1 for slot in started(actions))


@pytest.mark.promise(34)
def test_a_connection_in_use_when_the_backend_moves_ends_with_its_present_user():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    assert scene.pool.retire(scene.now) == []
    scene.queued()
    assert scene.finish(running) == [Close(slot_of(running), force=False)]


def test_a_connection_past_its_lifetime_ends_with_its_present_user():
    scene = Scene(cap=1, lifetime_seconds=100)
    scene.connect()
    running = scene.running()
    scene.later(100)
    assert scene.pool.tick(scene.now) == []
    scene.queued()
    assert scene.finish(running) == [Close(slot_of(running), force=False)]


def test_an_idle_connection_past_its_lifetime_is_closed_by_the_next_tick():
    scene = Scene(cap=1, lifetime_seconds=100)
    (slot,) = scene.connect()
    scene.later(99)
    assert scene.pool.tick(scene.now) == []
    scene.later(1)
    assert scene.pool.tick(scene.now) == [Close(slot, force=False)]


@pytest.mark.promise(28)
def test_connections_born_together_do_not_die_together():
    ages = []
    for share in (0.0, 0.5, 1.0):
        scene = Scene(jitter=share, lifetime_seconds=100)
        (slot,) = scene.connect()
        ages.append(slot.expires_at - scene.now)
    assert ages == [100, pytest.approx(100 * (1 - LIFETIME_SPREAD / 2)), pytest.approx(100 * (1 - LIFETIME_SPREAD))]


def test_what_has_idled_long_enough_is_closed_but_the_warm_ones_are_kept():
    scene = Scene(cap=4, warm=1, idle_seconds=60, parallel_starts=4)
    slots = scene.connect(3)
    scene.later(59)
    assert scene.pool.tick(scene.now) == []
    scene.later(1)
    actions = scene.pool.tick(scene.now)
    assert actions == [Close(slot, force=False) for slot in slots[:2]]
    assert scene.pool.tick(scene.now) == []


def test_the_warm_connections_are_opened_without_demand_and_replaced():
    scene = Scene(cap=4, warm=2)
    first, second = started(scene.pool.tick(scene.now))
    assert scene.open(first) == []
    assert scene.open(second) == []
    (closing, opening) = scene.finish(scene.running(), Fate.BROKEN)
    assert isinstance(closing, Close)
    assert isinstance(opening, Open)


@pytest.mark.promise(29)
def test_upkeep_that_closes_a_connection_makes_nobody_wait_who_could_be_served():
    scene = Scene(cap=2, lifetime_seconds=100, validate_after_seconds=3600)
    scene.connect()
    scene.later(60)
    running = scene.running()
    second, (opening,) = scene.ask()
    scene.open(opening.slot)
    scene.finish(running)
    scene.pool.leave(second, scene.now)
    scene.later(40)
    assert scene.pool.tick(scene.now) == [Close(slot_of(running), force=False)]
    third, actions = scene.ask()
    assert actions == [Offer(third)]
