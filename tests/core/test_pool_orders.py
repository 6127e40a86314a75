"""What an administrator may order: each order acts at once, never breaks the cap, and has its own error."""

from dataclasses import replace

import pytest

from pooler.core.actions import Close, GiveUp, Interrupt, Offer, Open, Refuse
from pooler.core.rules import Fate, StartFailure
from pooler.core.slots import Waiter
from pooler.core.states import ConnectionState
from pooler.errors import Reason
from tests.core.scene import Scene, slot_of, started


@pytest.mark.promise(33)
def test_a_pause_holds_those_who_wait_and_a_resume_serves_them_in_order():
    scene = Scene(cap=2)
    scene.connect(2)
    running = scene.running()
    scene.pool.pause()
    first, second = scene.queued(), scene.queued()
    assert scene.finish(running) == []
    assert scene.pool.resume(scene.now) == [Offer(first), Offer(second)]


def test_a_pause_starts_nothing_for_those_who_wait():
    scene = Scene(cap=2)
    scene.connect(1)
    scene.pool.pause()
    scene.queued()
    assert scene.pool.tick(scene.now) == []


@pytest.mark.promise(23)
def test_the_queue_is_bounded_in_a_pause_although_connections_are_idle():
    scene = Scene(cap=2, queue_max=3)
    scene.connect(2)
    scene.pool.pause()
    waiting = [scene.queued() for _ in range(3)]
    (refused,) = scene.ask()[1]
    assert refused.reason is Reason.QUEUE_FULL
    assert all(waiter in scene.pool.queue for waiter in waiting)


@pytest.mark.promise(33)
def test_a_start_that_fails_in_a_pause_is_nobodys_business():
    scene = Scene(cap=1)
    waiter, (opening,) = scene.ask()
    assert isinstance(opening, Open)
    scene.pool.pause()
    assert scene.pool.start_failed(opening.slot, StartFailure.OTHER, "refused", scene.now) == []
    assert scene.pool.gone(opening.slot, scene.now) == []
    assert waiter in scene.pool.queue
    (refusal,) = scene.pool.resume(scene.now)
    assert isinstance(refusal, Refuse)
    assert refusal.reason is Reason.START_FAILED


@pytest.mark.promise(33)
def test_who_waits_out_a_pause_is_told_so():
    scene = Scene(cap=1)
    scene.connect()
    scene.pool.pause()
    waiter = scene.queued(patience=5)
    scene.later(5)
    assert scene.pool.expire(waiter, scene.now) == [Refuse(waiter, Reason.PAUSED)]


@pytest.mark.promise(33)
def test_a_killed_call_is_told_so_wherever_it_stands():
    scene = Scene(cap=1)
    scene.connect()
    running = scene.running()
    queued = scene.queued()
    assert scene.pool.kill(queued, scene.now) == [Refuse(queued, Reason.KILLED)]
    assert scene.pool.kill(running, scene.now) == [Interrupt(running, Reason.KILLED)]
    assert scene.pool.kill(running, scene.now) == []
    offered, actions = Waiter(scene.now, scene.now + 10), scene.finish(running)
    assert actions == []
    assert scene.pool.ask(offered, scene.now) == [Offer(offered)]
    assert scene.pool.kill(offered, scene.now) == [Refuse(offered, Reason.KILLED)]
    assert not scene.pool.accept(offered)


def test_killing_a_connection_ends_what_runs_on_it_and_then_itself():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    running = scene.running()
    assert scene.pool.kill_connection(slot, scene.now) == [Interrupt(running, Reason.KILLED)]
    assert scene.finish(running, Fate.SOILED) == [Close(slot, force=True)]


def test_killing_an_idle_connection_and_a_start_acts_at_once():
    scene = Scene(cap=2, parallel_starts=2)
    (idle,) = scene.connect()
    assert Close(idle, force=True) in scene.pool.kill_connection(idle, scene.now)
    scene.queued()
    starting = next(s for s in scene.pool.ledger.slots.values() if s.state is ConnectionState.STARTING)
    assert GiveUp(starting) in scene.pool.kill_connection(starting, scene.now)
    assert scene.pool.held == 2


def test_a_drained_backend_takes_calls_again_after_a_resume():
    scene = Scene(cap=1)
    (slot,) = scene.connect()
    assert scene.pool.drain(scene.now) == [Close(slot, force=False)]
    refused, actions = scene.ask()
    assert actions == [Refuse(refused, Reason.DRAINING)]
    scene.pool.gone(slot, scene.now)
    scene.pool.resume(scene.now)
    _, actions = scene.ask()
    assert len(started(actions)) == 1


def test_a_connection_serves_no_more_calls_than_it_may():
    scene = Scene(cap=1, max_uses=2)
    (slot,) = scene.connect()
    assert scene.finish(scene.running()) == []
    assert scene.finish(scene.running()) == [Close(slot, force=False)]


@pytest.mark.promise(17)
def test_calls_that_share_a_connection_are_no_more_than_it_may_serve():
    scene = Scene(cap=1, max_uses=3)
    (slot,) = scene.connect(streams=2)
    first, second = scene.running(), scene.running()
    assert scene.finish(second) == []
    last = scene.running()
    late = scene.queued()  # there is room beside the first, but no use is left
    assert scene.finish(first) == []
    assert scene.finish(last) == [Close(slot, force=False)]
    assert late in scene.pool.queue
    assert slot.uses == 3


def test_a_connection_with_its_last_user_is_on_its_way_out():
    scene = Scene(cap=2, warm=1, max_uses=1)
    (slot,) = scene.connect()
    waiter, actions = scene.ask()
    assert slot_of(waiter) is slot
    assert slot.state is ConnectionState.DRAINING
    assert len(started(actions)) == 1  # the next one is warmed up meanwhile
    assert scene.pool.leave(waiter, scene.now) == [Close(slot, force=False)]  # an offer counts, whoever takes it


@pytest.mark.promise(2)
def test_a_smaller_cap_gives_up_the_latest_starts_and_counts_those_that_are_on_their_way_out():
    scene = Scene(cap=4, parallel_starts=4)
    scene.connect(2)
    running = [scene.running(), scene.running()]
    early, late = (slot for _ in range(2) for slot in started(scene.ask()[1]))
    smaller = replace(scene.pool.rules, cap=3)
    assert scene.pool.reconfigure(smaller, scene.now) == [GiveUp(late)]
    scene.pool.start_failed(late, StartFailure.OTHER, "given up", scene.now)
    scene.pool.gone(late, scene.now)
    scene.pool.retire(scene.now)  # the two at work are on their way out, and so is the start
    assert {slot_of(each).state for each in running} == {ConnectionState.DRAINING}
    scene.pool.start_failed(early, StartFailure.OTHER, "given up", scene.now)
    (fresh,) = started(scene.pool.gone(early, scene.now))
    assert scene.pool.reconfigure(replace(smaller, cap=2), scene.now) == [GiveUp(fresh)]


def whole(scene: Scene) -> Waiter:
    return Waiter(scene.now, scene.now + 3600, whole=True)


def test_a_call_that_needs_its_connection_whole_drains_it_first():
    scene = Scene(cap=1)
    (slot,) = scene.connect(1, streams=3)
    first, second = scene.running(), scene.running()
    alone, actions = scene.ask(whole(scene))
    assert actions == []
    late = scene.queued()  # there is room for a third, but the connection is promised
    assert scene.finish(first) == []
    assert scene.finish(second) == [Offer(alone)]
    assert slot_of(alone) is slot
    assert late in scene.pool.queue
    scene.pool.accept(alone)
    assert scene.finish(alone) == [Offer(late)]


@pytest.mark.promise(31)
def test_who_waits_for_a_connection_to_be_empty_is_served_before_a_drain_closes_everything():
    scene = Scene(cap=2)
    (shared,) = scene.connect(1, streams=3)
    running = scene.running()
    alone, actions = scene.ask(whole(scene))
    (opening,) = started(actions)
    assert scene.pool.drain(scene.now) == []
    assert scene.open(opening, streams=3) == [Offer(alone)]
    assert scene.pool.accept(alone)
    assert scene.finish(alone) == [Close(opening, force=False)]
    assert scene.finish(running) == [Close(shared, force=False)]


def test_a_call_that_leaves_while_a_connection_is_emptied_for_it_takes_the_promise_with_it():
    scene = Scene(cap=1)
    scene.connect(1, streams=2)
    running = scene.running()
    alone, _ = scene.ask(whole(scene))
    other = scene.queued()
    assert scene.pool.leave(alone, scene.now) == [Offer(other)]
    scene.pool.accept(other)
    assert scene.finish(running) == []


def test_a_call_that_was_promised_a_connection_which_then_dies_is_served_by_another():
    scene = Scene(cap=1)
    (slot,) = scene.connect(1, streams=2)
    running = scene.running()
    alone, _ = scene.ask(whole(scene))
    assert Close(slot, force=True) in scene.finish(running, Fate.DEAD)
    actions = scene.pool.gone(slot, scene.now)
    (fresh,) = started(actions)
    assert actions == [Open(fresh)]
    assert Offer(alone) in scene.open(fresh, streams=2)
