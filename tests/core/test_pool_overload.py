"""What a pool does with more calls than it can serve: tenants' limits, calls that come too late, an adaptive limit."""

import pytest

from pooler.core.actions import Offer, Refuse
from pooler.core.fairness import Share
from pooler.core.shedding import HEADROOM, PROBE_EVERY, SAMPLES_MIN
from pooler.core.slots import Waiter
from pooler.errors import Reason
from tests.core.scene import Scene


def caller(scene: Scene, tenant: str = "default", leaves_after: float = 3600.0) -> Waiter:
    return Waiter(scene.now, scene.now + 3600, deadline=scene.now + leaves_after, tenant=tenant, operation="find")


def teach(scene: Scene, seconds: float, times: int = SAMPLES_MIN) -> None:
    """Lets so many calls of the operation run to their end."""
    for _ in range(times):
        waiter, _ = scene.ask(caller(scene))
        assert scene.pool.accept(waiter)
        scene.later(seconds)
        scene.finish(waiter)


def busy(scene: Scene) -> Waiter:
    waiter, _ = scene.ask(caller(scene))
    assert scene.pool.accept(waiter)
    return waiter


@pytest.mark.promise(24)
def test_a_call_that_cannot_end_in_time_is_refused_at_its_turn_while_others_wait():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0)
    running = busy(scene)
    hopeless, _ = scene.ask(caller(scene, leaves_after=1.0))
    hopeful, _ = scene.ask(caller(scene))
    assert scene.finish(running) == [Offer(hopeful), Refuse(hopeless, Reason.SHED)]


@pytest.mark.promise(24)
def test_a_call_that_would_end_only_just_in_time_gives_way_to_one_with_time_to_spare():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0)
    running = busy(scene)
    scene.later(2.0)
    tight, _ = scene.ask(caller(scene, leaves_after=2.0 * HEADROOM - 0.01))
    spacious, _ = scene.ask(caller(scene, leaves_after=2.0 * HEADROOM + 0.01))
    scene.ask(caller(scene))
    assert scene.finish(running) == [Offer(spacious), Refuse(tight, Reason.SHED)]


def test_nobody_is_refused_as_too_late_while_nobody_else_waits():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0)
    running = busy(scene)
    alone, _ = scene.ask(caller(scene, leaves_after=1.0))
    assert scene.finish(running) == [Offer(alone)]


def test_nobody_is_refused_as_too_late_before_anything_is_known():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0, times=SAMPLES_MIN - 2)
    running = busy(scene)
    first, _ = scene.ask(caller(scene, leaves_after=0.1))
    scene.ask(caller(scene))
    assert scene.finish(running) == [Offer(first)]


def test_one_in_twenty_goes_through_as_a_probe():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0, times=PROBE_EVERY)
    running = busy(scene)
    judged = [scene.ask(caller(scene, leaves_after=1.0))[0] for _ in range(PROBE_EVERY + 5)]
    actions = scene.finish(running)
    assert actions == [
        Offer(judged[PROBE_EVERY - 1]),
        *(Refuse(waiter, Reason.SHED) for waiter in judged[: PROBE_EVERY - 1]),
    ]


@pytest.mark.promise(24)
def test_where_most_calls_come_too_late_the_probes_are_few_beside_those_in_time():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0, times=PROBE_EVERY)
    running, late = busy(scene), 0
    for _ in range(2 * PROBE_EVERY):
        scene.later(2.0)
        for _ in range(PROBE_EVERY + 5):
            scene.ask(caller(scene, leaves_after=1.0))
        scene.ask(caller(scene))
        (offer,) = [action for action in scene.finish(running) if isinstance(action, Offer)]
        running = offer.waiter
        assert scene.pool.accept(running)
        late += running.deadline - scene.now < 2.0
    assert 1 <= late <= 3


def test_an_operation_that_only_probes_still_serve_goes_on_being_probed():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 2.0, times=PROBE_EVERY)
    running = busy(scene)
    other = Waiter(scene.now, scene.now + 3600, operation="other")
    for _ in range(3):
        judged = [scene.ask(caller(scene, leaves_after=1.0))[0] for _ in range(PROBE_EVERY)]
        scene.ask(other)
        assert scene.finish(running)[0] == Offer(judged[-1])
        running = judged[-1]
        assert scene.pool.accept(running)
        assert scene.pool.queue.clear() == [other]


@pytest.mark.promise(24)
def test_calls_that_were_cut_short_past_the_bound_raise_it():
    scene = Scene(cap=1)
    scene.connect()
    teach(scene, 1.0)
    for _ in range(SAMPLES_MIN):
        running = busy(scene)
        scene.later(10.0)
        scene.pool.leave(running, scene.now)
        scene.finish(running)
    running = busy(scene)
    hopeless, _ = scene.ask(caller(scene, leaves_after=2.0))
    hopeful, _ = scene.ask(caller(scene))
    assert set(scene.finish(running)) == {Refuse(hopeless, Reason.SHED), Offer(hopeful)}


def test_what_was_cut_short_before_anything_is_known_teaches_nothing():
    scene = Scene(cap=1)
    scene.connect()
    for _ in range(SAMPLES_MIN):
        running = busy(scene)
        scene.later(50.0)
        scene.pool.leave(running, scene.now)
        scene.finish(running)
    assert scene.pool.judge.expected("find") == 0.0


def test_a_tenants_own_limits_refuse_only_its_own_calls():
    scene = Scene(cap=3, shares={"a": Share(queue_max=1, connections_max=1)})
    scene.connect(3)
    held, actions = scene.ask(caller(scene, "a"))
    assert actions == [Offer(held)]
    queued, actions = scene.ask(caller(scene, "a"))
    assert actions == []
    _, (refused,) = scene.ask(caller(scene, "a"))
    assert isinstance(refused, Refuse)
    assert refused.reason is Reason.QUEUE_FULL
    other, actions = scene.ask(caller(scene, "b"))
    assert actions == [Offer(other)]
    assert scene.pool.accept(held)
    assert scene.finish(held) == [Offer(queued)]


@pytest.mark.promise(22)
def test_a_full_queue_makes_room_for_a_tenant_who_takes_up_less_of_it_than_another():
    scene = Scene(cap=1, queue_max=3)
    scene.connect()
    busy(scene)
    first, second, third = [scene.ask(caller(scene, "greedy"))[0] for _ in range(3)]
    modest, (refused,) = scene.ask(caller(scene, "modest"))
    assert isinstance(refused, Refuse)
    assert (refused.waiter, refused.reason) == (third, Reason.QUEUE_FULL)
    newcomer, (refused,) = scene.ask(caller(scene, "modest"))
    assert refused.waiter is newcomer  # with two of each, one more would only change places
    assert [waiter in scene.pool.queue for waiter in (first, second, third, modest)] == [True, True, False, True]


@pytest.mark.promise(23)
def test_the_queue_is_bounded_for_a_tenant_at_its_limit_although_connections_are_idle():
    scene = Scene(cap=3, queue_max=2, shares={"a": Share(connections_max=1)})
    scene.connect(3)
    for _ in range(3):
        scene.ask(caller(scene, "a"))
    _, (refused,) = scene.ask(caller(scene, "a"))
    assert refused.reason is Reason.QUEUE_FULL
    other, actions = scene.ask(caller(scene, "b"))
    assert actions == [Offer(other)]


def test_a_tenants_limit_causes_no_start_that_could_serve_nobody():
    scene = Scene(cap=3, shares={"a": Share(connections_max=1)})
    scene.connect(1)
    scene.ask(caller(scene, "a"))
    _, actions = scene.ask(caller(scene, "a"))
    assert actions == []


def test_an_adaptive_limit_leaves_connections_unused_while_the_backend_slows_down():
    scene = Scene(cap=2, adaptive=True)
    scene.connect(2)
    adaptive = scene.pool.adaptive
    assert adaptive is not None
    adaptive.limit = 1.0
    first, actions = scene.ask()
    assert actions == [Offer(first)]
    second, actions = scene.ask()
    assert actions == []
    scene.pool.accept(first)
    assert scene.finish(first) == [Offer(second)]
