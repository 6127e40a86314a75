"""What a pool does with a caller that keeps its connection for as long as it likes: it counts, and teaches nothing."""

from pooler.core.actions import Offer, Open
from pooler.core.slots import Waiter
from tests.core.scene import Scene


class Keeper(Waiter):
    """Keeps its connection while its caller thinks."""

    teaches = False


def held_for(scene: Scene, seconds: float, waiter: Waiter) -> None:
    scene.ask(waiter)
    assert scene.pool.accept(waiter)
    scene.later(seconds)
    scene.finish(waiter)


def test_how_long_a_connection_was_kept_says_nothing_about_what_calls_take() -> None:
    scene = Scene(cap=1, adaptive=True)
    scene.connect()
    for seconds in (0.01, 300.0, 0.01, 100.0):
        held_for(scene, seconds, Keeper(scene.now, scene.now + 1, operation="begin"))
    assert scene.pool.starts.work.samples == 0
    assert scene.pool.judge.expected("begin") == 0.0
    assert scene.pool.adaptive is not None
    assert scene.pool.adaptive.grants_max == 1
    held_for(scene, 0.5, Waiter(scene.now, scene.now + 1, operation="find"))
    assert scene.pool.judge.expected("find") == 0.5


def test_a_tenant_pays_for_the_time_that_it_keeps_a_connection() -> None:
    scene = Scene(cap=1)
    scene.connect()
    keeper = Keeper(scene.now, scene.now + 1, tenant="keeps")
    scene.ask(keeper)
    assert scene.pool.accept(keeper)
    waiting = [Waiter(scene.now, scene.now + 3600, tenant=tenant) for tenant in ("keeps", "other")]
    for waiter in waiting:
        scene.ask(waiter)
    scene.later(60)
    assert Offer(waiting[1]) in scene.finish(keeper)


def test_a_kept_connection_counts_in_the_cap() -> None:
    scene = Scene(cap=1)
    scene.connect()
    keeper = Keeper(scene.now, scene.now + 1, whole=True)
    scene.ask(keeper)
    assert scene.pool.accept(keeper)
    _, actions = scene.ask()
    assert not [action for action in actions if isinstance(action, Open | Offer)]
    assert scene.pool.held == 1
