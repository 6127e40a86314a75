"""One timer for the bounds of all turns: each rings at its own time, once, unless it was taken back."""

import asyncio
from collections.abc import Callable

from pooler.runtime.alarms import LEFTOVERS_MIN, Alarms
from pooler.runtime.turns import Turn
from tests.simulation import virtual


class Bench:
    """Alarms on the running loop, and who was rung, when, in seconds since the beginning."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.rung: list[tuple[str, float]] = []
        self.then: Callable[[Turn], None] = lambda turn: None
        self.alarms = Alarms(self._loop.time, self._ring)

    def turn(self, name: str, after: float) -> Turn:
        turn = Turn(0.0, 0.0, operation=name)
        self.set(turn, after)
        return turn

    def set(self, turn: Turn, after: float) -> None:
        self.alarms.set(turn, self._loop.time() + after)

    def _ring(self, turn: Turn) -> None:
        self.rung.append((turn.operation, round(self._loop.time() - self._began, 6)))
        self.then(turn)


def rung_after(scene: Callable[[Bench], None]) -> list[tuple[str, float]]:
    async def live() -> Bench:
        bench = Bench()
        scene(bench)
        await asyncio.sleep(1000)
        return bench

    bench = virtual.run(live())
    assert len(bench.alarms) == 0
    return bench.rung


def test_each_turn_is_rung_at_its_own_time_whatever_the_order_in_which_they_were_set():
    def scene(bench: Bench) -> None:
        for name, after in (("late", 30), ("soon", 1), ("sooner", 0.5), ("later", 31), ("same", 1)):
            bench.turn(name, after)

    assert rung_after(scene) == [("sooner", 0.5), ("soon", 1), ("same", 1), ("late", 30), ("later", 31)]


def test_a_turn_whose_alarm_was_taken_back_is_not_rung_and_the_next_one_is():
    def scene(bench: Bench) -> None:
        first, _ = bench.turn("first", 1), bench.turn("second", 2)
        bench.alarms.silence(first)
        bench.alarms.silence(first)

    assert rung_after(scene) == [("second", 2)]


def test_an_alarm_that_is_set_again_rings_at_the_new_time_only():
    def scene(bench: Bench) -> None:
        earlier, later = bench.turn("put forward", 5), bench.turn("put off", 5)
        bench.set(earlier, 1)
        bench.set(later, 9)

    assert rung_after(scene) == [("put forward", 1), ("put off", 9)]


def test_whoever_is_rung_may_set_and_silence_alarms():
    def scene(bench: Bench) -> None:
        victim = bench.turn("victim", 2)

        def then(turn: Turn) -> None:
            if turn.operation == "first":
                turn.operation = "again"
                bench.alarms.silence(victim)
                bench.set(turn, 0.25)

        bench.then = then
        bench.turn("first", 1)

    assert rung_after(scene) == [("first", 1), ("again", 1.25)]


def test_a_time_that_is_over_already_rings_at_once():
    assert rung_after(lambda bench: bench.set(Turn(0.0, 0.0, operation="late"), -1)) == [("late", 0)]


def test_what_was_taken_back_does_not_pile_up():
    def scene(bench: Bench) -> None:
        kept = [bench.turn(f"kept {number}", 500 + number) for number in range(10)]
        for _ in range(10_000):
            bench.alarms.silence(bench.turn("gone", 600))
            assert len(bench.alarms._heap) <= 2 * (len(kept) + LEFTOVERS_MIN + 1)

    assert rung_after(scene) == [(f"kept {number}", 500 + number) for number in range(10)]


def test_after_a_stop_nobody_is_rung_but_whoever_comes_then():
    def scene(bench: Bench) -> None:
        stopped = bench.turn("stopped", 1)
        bench.alarms.stop()
        assert stopped.alarm == 0
        bench.turn("new", 2)

    assert rung_after(scene) == [("new", 2)]
