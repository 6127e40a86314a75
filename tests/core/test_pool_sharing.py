"""Connections that several calls share: who stands in whose way, what a tenant pays, and how many are wanted."""

import pytest

from pooler.core.actions import Offer, Open
from pooler.core.rules import Fate
from pooler.core.sharing import APART_FIRST_SECONDS, APART_MAX_SECONDS, RARE, Sharing
from pooler.core.slots import Waiter
from pooler.core.states import GrantState
from tests.core.scene import Scene, slot_of, started


def whole(scene: Scene) -> Waiter:
    """A caller who needs a connection for itself."""
    return Waiter(scene.now, scene.now + 3600, whole=True)


def shared_by(scene: Scene, count: int) -> list[Waiter]:
    """So many callers at work, on one connection."""
    callers = [scene.running() for _ in range(count)]
    assert len({slot_of(caller) for caller in callers}) == 1
    return callers


@pytest.mark.promise(21)
def test_those_behind_a_slow_call_go_elsewhere_in_the_order_of_their_coming():
    scene = Scene(cap=1)
    (slot,) = scene.connect(streams=4)
    head, *others = shared_by(scene, 4)
    waiting = scene.queued()
    assert scene.pool.clear_behind(head, scene.now) == []
    assert slot.grants == {head}
    assert [each.grant for each in others] == [None] * 3
    assert scene.finish(head) == [Offer(each) for each in [*others, waiting]]


def test_nobody_joins_a_slow_call_however_much_room_there_is():
    scene = Scene(cap=1)
    (slot,) = scene.connect(streams=4)
    head, _ = shared_by(scene, 2)
    scene.pool.clear_behind(head, scene.now)
    scene.queued()
    assert slot.grants == {head}


def test_who_has_left_behind_a_slow_call_is_not_begun_again():
    scene = Scene(cap=2)
    scene.connect(streams=4)
    head, gone, staying = shared_by(scene, 3)
    scene.pool.leave(gone, scene.now)
    actions = scene.pool.clear_behind(head, scene.now)
    assert gone.grant is GrantState.DONE
    assert len(started(actions)) == 1
    assert list(scene.pool.queue) == [staying]


def test_who_waits_for_a_connection_to_be_empty_does_not_wait_for_the_slow_call():
    scene = Scene(cap=2)
    scene.connect(2, streams=2)
    first, second = scene.running(), scene.running()
    alone, actions = scene.ask(whole(scene))
    assert actions == []
    assert alone.slot is not None  # it was promised one of them
    head, other = (first, second) if slot_of(first) is alone.slot else (second, first)
    third = scene.running()
    assert slot_of(third) is slot_of(other)
    scene.pool.clear_behind(head, scene.now)
    assert slot_of(head).promised is None
    scene.finish(third)
    assert Offer(alone) in scene.finish(other)


def test_a_caller_that_was_moved_may_wait_to_its_deadline():
    scene = Scene(cap=1)
    scene.connect(streams=2)
    head = scene.running()
    moved, _ = scene.ask(Waiter(scene.now, scene.now + 1, deadline=scene.now + 100))
    assert scene.pool.accept(moved)
    scene.later(5)
    scene.pool.clear_behind(head, scene.now)
    assert moved.give_up_at == moved.deadline
    assert scene.finish(head) == [Offer(moved)]


def test_who_needs_a_connection_for_itself_is_worth_a_start_and_those_who_share_one_between_them():
    scene = Scene(cap=8, parallel_starts=8)
    scene.connect(streams=4)
    scene.finish(scene.running())
    scene.pool.starts.took.learn(10.0)
    for _ in range(20):
        scene.pool.starts.work.learn(10.0)
    shared_by(scene, 4)
    sharing = sum(len(started(scene.ask()[1])) for _ in range(4))
    alone = sum(len(started(scene.ask(whole(scene))[1])) for _ in range(4))
    assert (sharing, alone) == (1, 4)


def test_a_pool_whose_calls_all_want_connections_for_themselves_counts_each_as_one_place():
    scene = Scene(cap=4, parallel_starts=4, sharing=False)
    scene.connect(streams=32)
    first, _ = scene.ask(whole(scene))
    assert first.slot is not None
    actions = [action for _ in range(3) for action in scene.ask(whole(scene))[1]]
    assert [type(action) for action in actions] == [Open] * 3


def test_a_tenant_pays_for_a_call_together_with_those_who_share_its_connection_when_it_ends():
    scene = Scene(cap=1)
    scene.connect(streams=4)
    scene.finish(scene.running())
    lane = dict(scene.pool.queue.lanes())["default"]
    before = lane.start
    first, second = shared_by(scene, 2)
    scene.later(10)
    scene.finish(first)
    scene.finish(second)
    assert lane.start - before == pytest.approx(10 / 2 + 10)


def test_an_adaptive_limit_counts_the_calls_that_connections_carry():
    scene = Scene(cap=2, adaptive=True)
    scene.connect(2, streams=8)
    assert [scene.running().grant for _ in range(16)] == [GrantState.RUNNING] * 16


def test_a_connection_whose_head_was_slow_is_reset_when_that_has_ended():
    scene = Scene(cap=1)
    (slot,) = scene.connect(streams=4)
    head, _ = shared_by(scene, 2)
    scene.pool.clear_behind(head, scene.now)
    scene.finish(head, Fate.SOILED)
    assert slot.grants == set()
    assert slot.state.value == "resetting"


# Which operations share


def test_a_call_that_does_not_fit_keeps_its_operation_apart_for_a_moment():
    sharing = Sharing()
    assert not sharing.apart("report", 0.0)
    assert sharing.misfit("report", ended=1, now=0.0) == APART_FIRST_SECONDS
    assert sharing.apart("report", 0.5)
    assert not sharing.apart("point", 0.5)
    assert not sharing.apart("report", APART_FIRST_SECONDS)


def test_one_that_does_not_fit_again_and_again_is_kept_apart_twice_as_long_each_time_up_to_a_minute():
    sharing, now, pauses = Sharing(), 0.0, []
    for ended in range(10):
        pause = sharing.misfit("report", ended, now)
        assert pause is not None
        pauses.append(pause)
        now += pause
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[APART_MAX_SECONDS] * 4]


def test_one_in_many_that_does_not_fit_is_borne():
    sharing = Sharing()
    assert sharing.misfit("report", ended=RARE, now=0.0) is None
    assert sharing.misfit("report", ended=2 * RARE, now=1.0) is None
    assert sharing.misfit("report", ended=2 * RARE + 1, now=2.0) == APART_FIRST_SECONDS
    assert (sharing.misfits_total, sharing.demotions_total) == (3, 1)


def test_several_that_do_not_fit_at_once_count_as_one():
    sharing = Sharing()
    assert [sharing.misfit("report", ended=1, now=0.0) for _ in range(3)] == [1.0, None, None]
    assert sharing.demotions_total == 1


def test_after_a_good_while_a_misfit_is_the_first_again():
    sharing = Sharing()
    sharing.misfit("report", ended=1, now=0.0)
    assert sharing.misfit("report", ended=2, now=100.0) == APART_FIRST_SECONDS
