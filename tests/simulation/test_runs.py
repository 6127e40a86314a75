"""Runs under virtual time: who hears what, what becomes of a run that nobody follows, and what is left of it."""

import asyncio
import random
from itertools import pairwise
from typing import ClassVar

import orjson
import pytest

from pooler.backends.base import Answer, Work
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.errors import Fault, Reason
from pooler.runtime.runs import RunBounds
from pooler.runtime.runs.happenings import Accepted, Asked, Done, Page, Progress, Queued, Starting, Working
from pooler.runtime.runs.live import AGAIN_SECONDS
from pooler.runtime.runs.log import LogBounds
from pooler.runtime.runs.state import RunStatus
from tests.simulation import virtual
from tests.simulation.rig import until
from tests.simulation.runs import Ear, Scene

SEEDS = range(25)


def kinds(ear: Ear) -> list[str]:
    return [type(what).__name__ for what in ear.events]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_follower_hears_each_event_once_however_they_come_and_go(seed: int) -> None:
    async def scene() -> None:
        chance = random.Random(seed)
        rig = Scene({"cap": 1}, seed=seed, start_seconds=3)
        await rig.start("work", seconds=chance.uniform(0, 20), GRACE=None)
        run = await rig.start("report", seconds=60, steps=chance.randrange(5, 300), GRACE=None)
        faithful, fickle = Ear(run), [Ear(run) for _ in range(4)]
        while not run.ended:
            ear = chance.choice(fickle)
            await ear.leave()
            await asyncio.sleep(chance.choice([0, 0.001, 0.3, chance.uniform(0, 10)]))
            ear.listen()
        for ear in [faithful, *fickle]:
            assert (await ear.end()).fault is None
        assert faithful.numbers == list(range(1, run.log.last_seq + 1))
        for ear in fickle:
            assert [event for _, event in ear.heard] == [event for _, event in faithful.heard]
        assert isinstance(faithful.events[0], Accepted)
        assert kinds(faithful)[-2:] == ["Page", "Done"]
        assert kinds(faithful).count("Working") == 1

    virtual.run(scene())


@pytest.mark.parametrize(("grace", "ends_after"), [(0.0, 0.0), (10.0, 10.0)])
def test_a_run_is_cancelled_in_the_backend_when_nobody_has_followed_it_for_its_grace(
    grace: float, ends_after: float
) -> None:
    async def scene() -> None:
        rig = Scene()
        run = await rig.start("work", seconds=1000, GRACE=grace)
        ear = Ear(run)
        await asyncio.sleep(5)
        await ear.leave()
        left = rig.now
        await until(lambda: rig.busy() == 0)
        assert rig.now - left == pytest.approx(ends_after, abs=0.02)
        assert run.state().status is RunStatus.CANCELLED

    virtual.run(scene())


def test_a_run_that_nobody_ever_followed_has_its_grace_from_its_start() -> None:
    async def scene() -> None:
        rig = Scene()
        began = rig.now
        run = await rig.start("work", seconds=1000, GRACE=10)
        await until(lambda: run.ended)
        assert rig.now - began == pytest.approx(10, abs=0.02)
        await until(lambda: rig.busy() == 0, 1)

    virtual.run(scene())


def test_a_follower_who_comes_back_within_the_grace_keeps_the_run_alive() -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("work", seconds=100, GRACE=10))
        for _ in range(9):
            await asyncio.sleep(1)
            await ear.leave()
            await asyncio.sleep(9)
            ear.listen()
        assert (await ear.end()).fault is None

    virtual.run(scene())


def test_a_run_without_end_to_its_grace_ends_by_itself_and_is_kept_for_a_while() -> None:
    async def scene() -> None:
        rig = Scene(bounds=RunBounds(keep_seconds=60))
        run = await rig.start("work", seconds=50, GRACE=None, NOTE=b"mine")
        await asyncio.sleep(50 + 59)
        state = await rig.runs.state(run.id)
        assert (state.status, state.note, state.page.answer.body) == (
            RunStatus.COMPLETED,
            b"mine",
            b'{"result":"done"}',
        )
        await asyncio.sleep(2)
        with pytest.raises(Fault) as caught:
            await rig.runs.find(run.id)
        assert caught.value.reason is Reason.HANDLE_EXPIRED

    virtual.run(scene())


def test_a_run_that_ends_with_its_caller_is_forgotten_as_soon_as_its_end_has_been_read() -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("work", seconds=5))
        assert (await rig.runs.state(ear.run.id)).status is RunStatus.WORKING
        await ear.end()
        with pytest.raises(Fault):
            await rig.runs.find(ear.run.id)
        assert repr(rig.runs) == "<0 runs of 0 tenants>"

    virtual.run(scene())


@pytest.mark.promise(6)
@pytest.mark.parametrize("seed", SEEDS)
def test_cancels_at_any_instant_leave_nothing_running_and_lose_no_slot(seed: int) -> None:
    async def scene() -> None:
        chance, loop = random.Random(seed), asyncio.get_running_loop()
        rig = Scene({"cap": 3}, seed=seed, start_seconds=0.5, spread=0.5)
        ears = []
        for _ in range(60):
            operation = chance.choice(["work", "write", "report", "ask"])
            ear = Ear(
                await rig.start(
                    operation,
                    timeout=100,
                    seconds=chance.uniform(0, 3),
                    steps=5,
                    question="?",
                    GRACE=chance.choice([0.0, 1.0, None]),
                    AWAIT=True,
                )
            )
            ears.append(ear)
            leaving = ear.run.cancel if chance.random() < 0.5 else ear.go
            loop.call_later(chance.choice([0, 0.5, 0.501, chance.uniform(0, 8)]), leaving)
            await asyncio.sleep(chance.choice([0, 0.1]))
        await until(lambda: all(ear.run.ended for ear in ears))
        assert {len([what for what in ear.run.log.events if isinstance(what.what, Done)]) for ear in ears} == {1}
        assert RunStatus.CANCELLED in {ear.run.state().status for ear in ears}
        assert rig.dispatcher.under_way == 0
        await rig.at_rest()

    virtual.run(scene())


def test_a_worker_that_reports_without_pause_is_told_of_a_few_times_a_second_and_last_of_all_its_last() -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("report", seconds=40, steps=20_000))
        await ear.end()
        told = [(at, what) for at, what in zip([at for at, _ in ear.heard], ear.events, strict=True)]
        progress = [(at, what) for at, what in told if isinstance(what, Progress)]
        assert 100 < len(progress) <= 40 * 4 + 2
        assert progress[-1][1].progress == 20_000
        assert all(one[1].progress < other[1].progress for one, other in pairwise(progress))

    virtual.run(scene())


def test_a_run_of_a_day_tells_of_its_progress_ever_more_rarely() -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("report", timeout=86_400, seconds=86_000, steps=50_000))
        await ear.end()
        assert 500 < kinds(ear).count("Progress") < 2000

    virtual.run(scene())


def test_a_log_past_its_bounds_lets_progress_go_and_nothing_that_matters() -> None:
    async def scene() -> None:
        rig = Scene(bounds=RunBounds(log=LogBounds(events_max=30)))
        run = await rig.start("report", seconds=400, steps=5000, GRACE=None)
        await until(lambda: run.ended)
        assert len(run.log.events) == 30
        slow = Ear(run)
        await slow.end()
        assert kinds(slow)[0] == "Accepted"
        assert kinds(slow)[-2:] == ["Page", "Done"]
        assert slow.numbers == sorted(set(slow.numbers))
        assert slow.numbers[-1] == run.log.last_seq > 300

    virtual.run(scene())


def test_those_who_wait_are_told_their_place_as_it_changes_and_only_while_they_listen() -> None:
    async def scene() -> None:
        rig = Scene({"cap": 1})
        await rig.start("work", seconds=10, GRACE=None)
        await until(lambda: rig.busy() == 1)
        runs = [await rig.start("work", seconds=10, GRACE=None) for _ in range(4)]
        ear = Ear(runs[-1])
        await asyncio.sleep(15)
        await ear.leave()
        await asyncio.sleep(10)
        silent = [what for what in runs[-2].log.events if isinstance(what.what, Queued)]
        ear.listen()
        await ear.end()
        assert [what for what in ear.events if isinstance(what, Queued)] == [
            Queued(4, 4),
            Queued(3, 3),
            Queued(2, 2),
            Queued(1, 1),
        ]
        assert silent == []
        assert kinds(ear)[-3:] == ["Working", "Page", "Done"]

    virtual.run(scene())


def test_who_waits_for_a_start_is_told_how_long_starts_have_taken() -> None:
    async def scene() -> None:
        rig = Scene({"cap": 1, "idle_seconds": 1}, start_seconds=12)
        rig.driver.run()
        first = Ear(await rig.start("work", seconds=1))
        await first.end()
        assert next(what for what in first.events if isinstance(what, Starting)) == Starting(0)  # nobody knew
        await until(lambda: not rig.system.sessions)
        second = Ear(await rig.start("work", seconds=1))
        await second.end()
        told = [
            (at, what.remaining_seconds)
            for at, what in zip([at for at, _ in second.heard], second.events, strict=True)
            if isinstance(what, Starting)
        ]
        assert [seconds for _, seconds in told] == pytest.approx([12, 7, 2], abs=0.3)
        assert [at + seconds for at, seconds in told] == [pytest.approx(told[0][0] + 12)] * 3

    virtual.run(scene())


def test_a_run_that_asks_gives_its_connection_back_until_it_is_answered() -> None:
    async def scene() -> None:
        rig = Scene({"cap": 1})
        asking = Ear(await rig.start("ask", question="Really?", AWAIT=True))
        await until(lambda: asking.run.state().status is RunStatus.INPUT_REQUIRED)
        assert (await Ear(await rig.start("work", seconds=1)).end()).fault is None
        asking.run.answer(b'{"unheard of": {"action": "accept"}}')
        assert asking.run.state().status is RunStatus.INPUT_REQUIRED
        asking.run.answer(b'{"answer": {"action": "accept", "content": {}}}')
        assert (await asking.end()).fault is None
        (page,) = [what for what in asking.events if isinstance(what, Page)]
        assert orjson.loads(page.answer.body) == {
            "said": {"action": "accept", "content": {}},
            "state": "asked Really?",
        }
        (asked,) = [what for what in asking.events if isinstance(what, Asked)]
        assert orjson.loads(asked.requests)["answer"]["params"]["message"] == "Really?"

    virtual.run(scene())


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_what_its_user_does_not_confirm_is_not_begun(action: str) -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("erase", value="everything", AWAIT=True))
        await until(lambda: ear.run.state().status is RunStatus.INPUT_REQUIRED)
        requests = orjson.loads(ear.run.state().requests)
        assert requests["confirm"]["params"]["message"] == "Erase everything?"
        ear.run.answer(orjson.dumps({"confirm": {"action": action}}))
        assert (await ear.end()).fault.reason is Reason.INPUT_DECLINED
        assert rig.system.requests_total == 0

    virtual.run(scene())


def test_who_does_not_answer_in_his_time_is_waited_for_no_longer() -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("ask", timeout=90, question="Anybody?", AWAIT=True))
        began = rig.now
        assert (await ear.end()).fault.reason is Reason.INPUT_DECLINED
        assert rig.now - began == pytest.approx(90)
        ear.run.answer(b'{"answer": {"action": "accept"}}')  # too late, and harmless
        assert rig.system.requests_total == 1

    virtual.run(scene())


def test_without_a_wait_for_input_what_to_ask_is_the_outcome() -> None:
    async def scene() -> None:
        rig = Scene()
        ear = Ear(await rig.start("ask", question="Really?"))
        assert (await ear.end()).fault is None
        (page,) = [what for what in ear.events if isinstance(what, Page)]
        assert page.answer.asks
        assert orjson.loads(page.answer.body)["requestState"].startswith("state.sim.")

    virtual.run(scene())


class Patient(SimulatedAdapter):
    """Wants its caller to come again a few times, and asks its user nothing."""

    visits: ClassVar[list[float]] = []

    async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
        self.visits.append(asyncio.get_running_loop().time())
        if len(self.visits) < 4:
            return Answer(orjson.dumps({"requestState": str(len(self.visits))}), asks=True)
        assert work.input is not None
        return Answer(orjson.dumps({"state": work.input.state}))


def test_a_call_that_asks_for_nothing_but_to_come_again_is_repeated_after_a_pause() -> None:
    async def scene() -> None:
        Patient.visits = []
        rig = Scene(adapter_class=Patient)
        ear = Ear(await rig.start("ask", AWAIT=True))
        assert (await ear.end()).fault is None
        assert [later - earlier for earlier, later in pairwise(Patient.visits)] == pytest.approx([AGAIN_SECONDS] * 3)
        assert "Asked" not in kinds(ear)
        (page,) = [what for what in ear.events if isinstance(what, Page)]
        assert page.answer.body == b'{"state":"3"}'

    virtual.run(scene())


def test_a_call_that_is_cancelled_in_such_a_pause_does_not_come_again() -> None:
    async def scene() -> None:
        Patient.visits = []
        rig = Scene(adapter_class=Patient)
        ear = Ear(await rig.start("ask", AWAIT=True))
        await asyncio.sleep(AGAIN_SECONDS / 2)
        ear.run.cancel()
        assert (await ear.end()).fault.reason is Reason.CANCELLED
        await asyncio.sleep(10)
        assert len(Patient.visits) == 1

    virtual.run(scene())


def test_a_tenant_has_as_many_runs_as_it_may_and_those_whose_end_was_heard_give_way() -> None:
    async def scene() -> None:
        rig = Scene(bounds=RunBounds(tenant_max=3))
        heard = Ear(await rig.start("work", GRACE=None))
        await heard.end()
        unheard = await rig.start("work", GRACE=None)
        await until(lambda: unheard.ended)
        running = [await rig.start("work", seconds=100, GRACE=None) for _ in range(2)]
        with pytest.raises(Fault) as caught:
            await rig.start("work", GRACE=None)
        assert caught.value.reason is Reason.TOO_MANY_CALLS
        assert rig.dispatcher.under_way == 2
        await rig.start("work", tenant="other", GRACE=None)
        assert (await rig.runs.find(unheard.id)) is unheard
        assert [run.state().status for run in running] == [RunStatus.WORKING] * 2
        with pytest.raises(Fault):
            await rig.runs.find(heard.run.id)

    virtual.run(scene())


def test_a_pooler_that_stops_waits_for_no_user() -> None:
    async def scene() -> None:
        rig = Scene()
        asking, working = [Ear(await rig.start(name, question="?", seconds=5, AWAIT=True)) for name in ("ask", "work")]
        await until(lambda: asking.run.state().status is RunStatus.INPUT_REQUIRED)
        rig.runs.drain()
        assert (await asking.end()).fault.reason is Reason.DRAINING
        assert (await working.end()).fault is None

    virtual.run(scene())


def test_what_a_run_that_nobody_follows_waits_for_can_still_be_asked() -> None:
    async def scene() -> None:
        rig = Scene({"cap": 1})
        runs = [await rig.start("work", seconds=10, GRACE=None) for _ in range(3)]
        await asyncio.sleep(1)
        assert [run.state().message for run in runs] == ["", "queued, next in line", "queued, 1 ahead"]
        assert not any(isinstance(event.what, Queued | Working) for run in runs for event in run.log.events)

    virtual.run(scene())
