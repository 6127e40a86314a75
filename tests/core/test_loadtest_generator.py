"""The open loop under virtual time, against a system whose waits queueing theory knows. Minutes pass in a moment.

The system is a queue of its own, first come, first served, with a known number of servers and a known service time:
what the generator measures of it must be what the theory says, and a stall must show in every call that was due in it.
"""

import asyncio
from collections.abc import Iterator

import pytest

from pooler.loadtest.calls import Arrival, arrivals
from pooler.loadtest.generator import Generator, Overflow
from pooler.loadtest.plan import CallSpec, Plan, Step, Vanish
from pooler.loadtest.result import StepResult
from pooler.loadtest.run import lateness_faults
from pooler.loadtest.tally import Tally
from pooler.service.load import Done, Leave, LoadAnswer, LoadCall, LoadWay
from tests.simulation import virtual

SERVICE = 0.02
CALLS = 8000


class Servers(LoadWay):
    """So many servers, each of which takes the same time for a call; calls wait for the first that is free.

    `stall`: from when to when nobody is served. `slow_seconds`: what sending a call costs the generator itself.
    """

    def __init__(self, servers: int, stall: tuple[float, float] = (0.0, 0.0), slow_seconds: float = 0.0) -> None:
        self._free = [0.0] * servers
        self._stall = stall
        self._slow_seconds = slow_seconds
        self.left = 0
        self.timeouts: list[int] = []

    async def open(self) -> None:
        self.began = asyncio.get_running_loop().time()

    async def close(self) -> None:
        pass

    def begin(self, call: LoadCall, done: Done) -> Leave:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.now += self._slow_seconds
        self.timeouts.append(call.timeout_ms)
        now = loop.time() - self.began
        begins = max(now, min(self._free))
        if self._stall[0] <= begins < self._stall[1]:
            begins = self._stall[1]
        self._free[self._free.index(min(self._free))] = begins + SERVICE
        answer = LoadAnswer("GOOD", begins - now, 0.0, 0.0, SERVICE, timed=True)
        timer = loop.call_later(begins + SERVICE - now, done, answer)

        def leave() -> None:
            self.left += 1
            timer.cancel()

        return leave


def plan_of(*steps: Step, **changes: object) -> Plan:
    call = CallSpec(operation="work")
    return Plan.model_validate({"steps": steps, "calls": [call], "timeout_seconds": 1000, **changes})


def measured(way: Servers, plan: Plan, in_flight_max: int = 100_000) -> Tally:
    """What a generator measures of it."""

    async def run() -> Tally:
        await way.open()
        tally, loop = Tally(plan.seconds), asyncio.get_running_loop()
        begins = 0.0
        for step in plan.steps:
            tally.step(step, begins)
            begins += step.seconds
        generator = Generator(way, tally, loop.time, loop.time(), in_flight_max)
        await generator.send(arrivals(plan, plan.steps))
        await generator.settle()
        return tally

    return virtual.run(run())


def only(tally: Tally) -> StepResult:
    (step,) = tally.steps()
    return step


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_the_mean_wait_at_one_server_is_what_the_pollaczek_khinchine_formula_says(load):
    step = only(measured(Servers(1), plan_of(Step(rate=load / SERVICE, seconds=CALLS * SERVICE / load))))

    waits = load * SERVICE / (2 * (1 - load))
    assert step.parts["queue"].mean_ms == pytest.approx(waits * 1000, rel=0.1)
    assert step.all.latency is not None
    assert step.all.latency.mean_ms == pytest.approx((waits + SERVICE) * 1000, rel=0.1)
    assert step.all.goodput == 1.0


def test_even_calls_below_the_capacity_never_wait():
    step = only(measured(Servers(4), plan_of(Step(rate=190, seconds=20), arrivals="even")))

    assert step.all.latency is not None
    assert step.all.latency.max_ms == pytest.approx(SERVICE * 1000, rel=0.002)


def test_past_the_capacity_answers_come_at_the_capacity_and_latency_grows_by_the_backlog():
    step = only(measured(Servers(4), plan_of(Step(rate=600, seconds=10), arrivals="even")))

    assert step.all.good_per_second == pytest.approx(4 / SERVICE, rel=0.01)
    assert step.all.latency is not None
    assert step.all.latency.max_ms == pytest.approx((600 - 200) * 10 / 200 * 1000, rel=0.01)


def test_a_stall_shows_in_every_call_that_was_due_in_it():
    """A closed loop would have sent one call in that second, and called it an outlier of one in a hundred."""
    step = only(measured(Servers(4, stall=(5.0, 6.0)), plan_of(Step(rate=100, seconds=10), arrivals="even")))

    assert step.all.calls == 1000
    assert step.all.latency is not None
    # A tenth of the calls was due in that second, evenly spread over it; then as many again wait for the backlog.
    assert step.all.latency.p50_ms == pytest.approx(20, rel=0.01)
    assert 400 < step.all.latency.p90_ms < 600
    assert step.all.latency.p99_ms > 900


def test_a_generator_that_is_too_slow_for_its_plan_says_so_and_its_latencies_have_its_lateness_in_them():
    step = only(measured(Servers(100, slow_seconds=0.02), plan_of(Step(rate=100, seconds=10), arrivals="even")))

    assert step.all.calls == 1000  # none is left out
    assert step.lateness is not None
    assert step.all.latency is not None
    assert step.lateness.max_ms == pytest.approx(10_000, rel=0.02)  # 1000 calls of 20 ms take twice the step's time
    assert step.all.latency.max_ms >= step.lateness.max_ms
    (fault,) = lateness_faults([step], 50)
    assert "the generator was late in step 1" in fault
    assert lateness_faults([only(measured(Servers(100), plan_of(Step(rate=100, seconds=10))))], 50) == []


def test_a_late_call_has_only_the_rest_of_its_callers_time():
    way = Servers(100, slow_seconds=0.02)
    measured(way, plan_of(Step(rate=100, seconds=1), arrivals="even", timeout_seconds=10))

    assert way.timeouts[0] == pytest.approx(10_000, abs=25)
    assert way.timeouts[-1] == pytest.approx(9_000, abs=50)


def test_callers_who_vanish_leave_when_they_said_and_are_answered_no_more():
    way = Servers(1)
    vanish = Vanish(share=0.5, after_ms=(5, 5))
    step = only(measured(way, plan_of(Step(rate=20, seconds=50), arrivals="even", vanish=vanish)))

    assert step.all.vanished == way.left
    assert step.all.vanished / step.all.calls == pytest.approx(0.5, abs=0.05)
    assert step.all.vanished + step.all.good == step.all.calls


def test_a_call_whose_answer_never_comes_is_given_up_a_while_after_its_time():
    way = Servers(1, stall=(0.0, 1e6))
    tally = measured(way, plan_of(Step(rate=10, seconds=1), arrivals="even", timeout_seconds=3))

    assert only(tally).all.outcomes == {"NO_ANSWER": 10}
    assert (tally.under_way, way.left) == (0, 10)


def test_more_calls_without_an_answer_than_may_be_end_the_run():
    with pytest.raises(Overflow, match="50 calls had no answer at 0"):
        measured(Servers(1, stall=(0.0, 1e6)), plan_of(Step(rate=1000, seconds=10)), in_flight_max=50)


def test_calls_that_are_due_together_let_answers_pass_between_them():
    """A generator that is behind must not starve what it measures."""
    way, tally = Servers(1000), Tally(10)
    tally.step(Step(rate=1, seconds=10), 0.0)

    async def run() -> list[int]:
        await way.open()
        loop, seen = asyncio.get_running_loop(), []

        def due_at_once() -> Iterator[Arrival]:
            for _ in range(200):
                seen.append(tally.outcomes["GOOD"])
                yield Arrival(0.0, 0, "work", b"{}", "", False, 100.0)
                assert isinstance(loop, virtual.VirtualLoop)
                loop.now += 0.001

        await Generator(way, tally, loop.time, loop.time(), 1000).send(due_at_once())
        return seen

    assert virtual.run(run())[-1] > 50
