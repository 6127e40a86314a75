"""How a pool changes its size and comes to its end: the cap holds all the while, and nobody's call is broken for it."""

from dataclasses import replace

import pytest

from pooler.core.actions import Close, GiveUp, Interrupt, Offer, Refuse
from pooler.core.states import ConnectionState
from pooler.errors import Reason
from tests.core.scene import Scene, slot_of, started


def resize(scene: Scene, cap: int):
    return scene.pool.reconfigure(replace(scene.pool.rules, cap=cap), scene.now)


def test_a_larger_cap_serves_those_who_wait_at_once():
    scene = Scene(cap=1, parallel_starts=4)
    scene.connect()
    scene.running(), scene.queued(), scene.queued()
    assert len(started(resize(scene, 4))) == 2


def test_more_parallel_starts_take_effect_at_once():
    scene = Scene(cap=8, parallel_starts=1)
    for _ in range(8):
        scene.queued()
    assert len(started(scene.pool.reconfigure(replace(scene.pool.rules, parallel_starts=5), scene.now))) == 4


def test_a_smaller_cap_closes_idle_connections_first():
    scene = Scene(cap=3)
    scene.connect(3)
    running = scene.running()
    actions = resize(scene, 1)
    assert len(actions) == 2
    assert all(isinstance(action, Close) and not action.force for action in actions)
    assert slot_of(running).state is ConnectionState.IN_USE


def test_a_smaller_cap_gives_up_starts_before_it_touches_a_connection_in_use():
    scene = Scene(cap=3, parallel_starts=3)
    callers = [scene.ask() for _ in range(3)]
    slow, *others = [started(actions)[0] for _, actions in callers]
    for slot in others:
        scene.open(slot)
    assert resize(scene, 2) == [GiveUp(slow)]
    assert scene.pool.count(ConnectionState.IN_USE) == 2


def test_a_smaller_cap_gives_up_no_more_starts_than_it_must():
    scene = Scene(cap=4, parallel_starts=4)
    for _ in range(4):
        scene.queued()
    actions = resize(scene, 3)
    assert len([action for action in actions if isinstance(action, GiveUp)]) == 1
    assert scene.pool.count(ConnectionState.STARTING) == 3


@pytest.mark.promise(2)
def test_a_smaller_cap_lets_present_users_finish_and_then_holds():
    scene = Scene(cap=3)
    scene.connect(3)
    callers = [scene.running() for _ in range(3)]
    waiter = scene.queued()
    assert resize(scene, 1) == []
    draining = [caller for caller in callers if slot_of(caller).state is ConnectionState.DRAINING]
    assert len(draining) == 2
    for caller in draining:
        assert scene.finish(caller) == [Close(slot_of(caller), force=False)]
        assert scene.pool.gone(slot_of(caller), scene.now) == []
    (last,) = [caller for caller in callers if caller not in draining]
    assert scene.finish(last) == [Offer(waiter)]
    assert scene.pool.held == 1


@pytest.mark.promise(2)
def test_a_cap_that_grows_again_while_the_surplus_is_leaving_starts_only_what_fits():
    scene = Scene(cap=3)
    scene.connect(3)
    callers = [scene.running() for _ in range(3)]
    scene.queued(), scene.queued()
    resize(scene, 1)
    assert resize(scene, 3) == []
    for caller in callers:
        scene.finish(caller)
    assert scene.pool.held == 3


@pytest.mark.promise(31)
def test_a_draining_pool_refuses_who_comes_and_serves_who_waits():
    scene = Scene(cap=1)
    scene.connect()
    running, waiter = scene.running(), scene.queued()
    assert scene.pool.drain(scene.now) == []
    refused, actions = scene.ask()
    assert actions == [Refuse(refused, Reason.DRAINING)]
    assert scene.finish(running) == [Offer(waiter)]
    scene.pool.accept(waiter)
    assert scene.finish(waiter) == [Close(slot_of(waiter), force=False)]
    assert scene.pool.gone(slot_of(waiter), scene.now) == []
    assert scene.pool.held == 0


def test_a_draining_pool_still_starts_a_client_for_those_who_wait():
    scene = Scene(cap=1)
    waiter, actions = scene.ask()
    assert scene.pool.drain(scene.now) == []
    assert scene.open(started(actions)[0]) == [Offer(waiter)]


def test_a_draining_pool_closes_what_is_idle_and_gives_up_starts_that_nobody_waits_for():
    scene = Scene(cap=3, warm=2, parallel_starts=1)
    (idle,) = started(scene.pool.tick(scene.now))
    (starting,) = started(scene.open(idle))
    assert scene.pool.drain(scene.now) == [Close(idle, force=False), GiveUp(starting)]
    scene.open(starting)
    scene.pool.gone(idle, scene.now)
    scene.pool.gone(starting, scene.now)
    assert (scene.pool.tick(scene.now), scene.pool.held) == ([], 0)


def test_a_draining_pool_gives_up_a_start_when_the_last_one_who_waited_for_it_leaves():
    scene = Scene(cap=1)
    waiter, actions = scene.ask()
    scene.pool.drain(scene.now)
    assert scene.pool.leave(waiter, scene.now) == [GiveUp(started(actions)[0])]


def test_a_draining_pool_gives_up_a_start_when_the_time_of_the_last_one_is_over():
    scene = Scene(cap=1)
    waiter, actions = scene.ask(scene.waiter(patience=5))
    scene.pool.drain(scene.now)
    scene.later(5)
    assert scene.pool.expire(waiter, scene.now) == [
        Refuse(waiter, Reason.START_TIMEOUT),
        GiveUp(started(actions)[0]),
    ]


@pytest.mark.promise(31)
def test_at_the_end_of_patience_waiters_are_refused_and_work_is_stopped():
    scene = Scene(cap=2)
    scene.connect(2)
    running, offered = scene.running(), scene.ask()[0]
    waiting = scene.queued()
    actions = scene.pool.abort(scene.now)
    assert Refuse(waiting, Reason.DRAINING) in actions
    assert Interrupt(running) in actions
    assert Close(slot_of(offered), force=False) in actions
    assert scene.pool.accept(offered) is False
    assert scene.finish(running) == [Close(slot_of(running), force=False)]
