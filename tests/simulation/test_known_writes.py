"""Writes that are sent again: each is carried out once, and everybody who asks is told how it ended. Virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema_rs
import orjson
import pytest

from pooler.backends.base import Operation
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.errors import Fault, Reason
from pooler.runtime.dispatch import Dispatcher
from pooler.runtime.requests import Request
from pooler.runtime.routes import Route
from pooler.runtime.turns import Outcome
from pooler.service import writes
from pooler.service.writes import MARGIN_SECONDS, REJOIN_SECONDS, REMEMBERED_SECONDS, UnderWay, Writes
from tests.simulation import virtual
from tests.simulation.rig import Rig, until

SOON = 1.0
BEGUN = 0.1


class Asked:
    """A caller of a call, and what it was told."""

    def __init__(self) -> None:
        self.told: list[Outcome] = []
        self.under_way: UnderWay | None = None

    @property
    def words(self) -> str:
        """How it ended: `answered`, or the reason why not; empty: not yet."""
        if not self.told:
            return ""
        (outcome,) = self.told
        return outcome.result.reason.value if isinstance(outcome.result, Fault) else "answered"


class Writing:
    """A pool with room for one, and operations `write` and `work`, which take so many seconds."""

    def __init__(self, **rules: Any) -> None:
        loop = asyncio.get_running_loop()
        self.rig = Rig({"cap": 1, **rules})
        adapter = self.rig.stand_in(SimulatedAdapter)
        operations = [Operation("write", "write", method="work"), Operation("work", "read", method="work")]
        kit = {operation.name: adapter.prepare(operation) for operation in operations}
        self.rig.driver.kit = replace(self.rig.driver.kit, prepared=kit)
        anything = jsonschema_rs.Draft202012Validator({})
        routes = {
            name: Route(name, self.rig.driver, name == "work", True, 600.0, 600.0, anything)
            for name in ("write", "work")
        }
        self.writes = Writes(Dispatcher(1000, routes, clock=loop.time), clock=loop.time)

    @property
    def carried_out(self) -> int:
        """How many requests the backend has had, by its own count."""
        return self.rig.system.requests_total

    def send(
        self, request_id: str = "a", seconds: float = 2.0, ago: float = 0.0, operation: str = "write", who: str = "ann"
    ) -> Asked:
        """A call, first sent so long ago. Raises Fault."""
        asked = Asked()
        body = orjson.dumps({"seconds": seconds})
        request = Request(operation, body, 300.0, principal=who, request_id=request_id)
        asked.under_way = self.writes.send(request, ago, asked.told.append)
        return asked

    def lose(self, asked: Asked) -> None:
        """The way to a caller breaks."""
        assert asked.under_way is not None
        self.writes.lose(asked.under_way)


def scene(play: Callable[[Writing], Any], **rules: Any) -> None:
    """Plays it from the moment at which the pool has its connection."""

    async def run() -> None:
        writing = Writing(**rules)
        await until(lambda: writing.rig.system.counts().open == 1 or not writing.rig.driver.pool.rules.warm, 60)
        await play(writing)

    virtual.run(run())


def refusal(writing: Writing, **sent: Any) -> Reason:
    with pytest.raises(Fault) as caught:
        writing.send(**sent)
    return caught.value.reason


def test_a_write_that_is_sent_again_while_it_is_under_way_is_carried_out_once_and_told_to_both():
    async def play(writing: Writing) -> None:
        first = writing.send()
        await asyncio.sleep(BEGUN)
        second = writing.send(ago=BEGUN)
        await until(lambda: bool(first.told and second.told), 60)
        assert (first.words, second.words, writing.carried_out) == ("answered", "answered", 1)

    scene(play)


def test_a_write_that_has_ended_is_answered_as_it_ended_and_never_before_send_returns():
    async def play(writing: Writing) -> None:
        first = writing.send()
        await until(lambda: bool(first.told), 60)
        again = writing.send(ago=SOON)
        assert again.told == []
        await until(lambda: bool(again.told), SOON)
        assert again.told == first.told
        assert writing.carried_out == 1

    scene(play)


def test_a_write_whose_way_broke_goes_on_and_is_there_for_whoever_comes_back():
    async def play(writing: Writing) -> None:
        first = writing.send(seconds=REJOIN_SECONDS + 3)
        await until(lambda: writing.rig.busy() == 1, 60)
        writing.lose(first)
        await asyncio.sleep(REJOIN_SECONDS - 1)
        second = writing.send(seconds=REJOIN_SECONDS + 3, ago=REJOIN_SECONDS)
        await until(lambda: bool(second.told), 60)
        assert (first.words, second.words, writing.carried_out) == ("", "answered", 1)

    scene(play)


def test_a_write_that_nobody_comes_back_for_is_stopped_and_its_outcome_called_unknown():
    async def play(writing: Writing) -> None:
        first = writing.send(seconds=60)
        await until(lambda: writing.rig.busy() == 1, 60)
        writing.lose(first)
        await until(lambda: writing.rig.busy() == 0, REJOIN_SECONDS + 1)
        late = writing.send(seconds=60, ago=REJOIN_SECONDS + 1)
        await until(lambda: bool(late.told), SOON)
        assert (late.words, writing.carried_out) == ("OUTCOME_UNKNOWN", 1)

    scene(play)


@pytest.mark.promise(38)
def test_a_write_that_waits_when_its_way_breaks_frees_its_place_at_once_and_may_be_sent_anew():
    async def play(writing: Writing) -> None:
        hog = writing.send("hog", seconds=5)
        await until(lambda: writing.rig.busy() == 1, 60)
        waiting = writing.send("b")
        assert len(writing.rig.driver.pool.queue) == 1
        writing.lose(waiting)
        assert len(writing.rig.driver.pool.queue) == 0
        anew = writing.send("b", ago=SOON)
        await until(lambda: bool(hog.told and anew.told), 60)
        assert (hog.words, waiting.words, anew.words, writing.carried_out) == ("answered", "", "answered", 2)

    scene(play)


def test_one_of_two_callers_that_leaves_is_told_so_and_stops_nothing_and_the_last_one_stops_it():
    async def play(writing: Writing) -> None:
        first, second = writing.send(seconds=60), writing.send(seconds=60)
        await until(lambda: writing.rig.busy() == 1, 60)
        first.under_way.leave()
        await until(lambda: bool(first.told), SOON)
        assert (first.words, writing.rig.busy()) == ("CANCELLED", 1)
        second.under_way.leave()
        await until(lambda: writing.rig.busy() == 0, SOON)
        assert (second.words, writing.carried_out) == ("CANCELLED", 1)

    scene(play)


def test_what_was_refused_before_any_work_is_not_remembered():
    async def play(writing: Writing) -> None:
        hogs = [writing.send("hog", seconds=5)]
        await until(lambda: writing.rig.busy() == 1, 60)
        hogs.append(writing.send("next", seconds=5))
        refused = writing.send("c")
        await until(lambda: bool(refused.told), SOON)
        assert refused.words == "QUEUE_FULL"
        await until(lambda: all(hog.told for hog in hogs), 60)
        again = writing.send("c", ago=SOON)
        await until(lambda: bool(again.told), 60)
        assert (again.words, writing.carried_out) == ("answered", 3)

    scene(play, queue_max=1)


def test_a_request_id_belongs_to_one_principal_and_one_call():
    async def play(writing: Writing) -> None:
        calls = [writing.send(), writing.send(who="bob")]
        assert refusal(writing, seconds=3.0) is Reason.INVALID_ARGUMENTS
        await until(lambda: all(call.told for call in calls), 60)
        assert refusal(writing, seconds=3.0) is Reason.INVALID_ARGUMENTS
        assert writing.carried_out == 2

    scene(play)


def test_reads_are_carried_out_as_often_as_they_are_sent():
    async def play(writing: Writing) -> None:
        calls = [writing.send(operation="work"), writing.send(operation="work")]
        await until(lambda: all(call.told for call in calls), 60)
        assert writing.carried_out == 2

    scene(play)


def test_writes_without_a_request_id_are_nobody_elses():
    async def play(writing: Writing) -> None:
        calls = [writing.send(""), writing.send("")]
        await until(lambda: all(call.told for call in calls), 60)
        assert writing.carried_out == 2

    scene(play)


def test_an_outcome_that_is_forgotten_is_unknown_to_whoever_sends_again_and_a_newer_write_is_not():
    async def play(writing: Writing) -> None:
        first = writing.send("old")
        await until(lambda: bool(first.told), 60)
        ended_at = writing.rig.now
        await asyncio.sleep(REMEMBERED_SECONDS + 60)
        writing.send("new")  # with which the old one is forgotten
        ago = writing.rig.now - ended_at
        assert refusal(writing, request_id="old", ago=ago + 2) is Reason.OUTCOME_UNKNOWN
        # One that was first sent after that would be remembered, had it arrived.
        unarrived = writing.send("lost", ago=ago - MARGIN_SECONDS - 2)
        await until(lambda: bool(unarrived.told), 60)
        assert unarrived.words == "answered"

    scene(play)


def test_what_is_remembered_is_bounded_and_never_at_the_price_of_a_second_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writes, "REMEMBERED_BYTES", 10 * writes.ENTRY_BYTES)

    async def play(writing: Writing) -> None:
        for number in range(50):
            call = writing.send(str(number), seconds=0.01)
            await until(lambda call=call: bool(call.told), 60)
            assert len(writing.writes._known) <= 10
        assert writing.carried_out == 50
        assert refusal(writing, request_id="0", seconds=0.01, ago=10.0) is Reason.OUTCOME_UNKNOWN
        known = writing.send("49", seconds=0.01, ago=SOON)
        await until(lambda: bool(known.told), SOON)
        assert (known.words, writing.carried_out) == ("answered", 50)

    scene(play)


def test_an_answer_too_large_to_be_kept_is_told_once_and_never_made_twice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writes, "OUTCOME_BYTES_MAX", 5)

    async def play(writing: Writing) -> None:
        first = writing.send()
        await until(lambda: bool(first.told), 60)
        again = writing.send(ago=SOON)
        await until(lambda: bool(again.told), SOON)
        assert (first.words, again.words, writing.carried_out) == ("answered", "OUTCOME_UNKNOWN", 1)
        assert "was carried out" in again.told[0].result.message

    scene(play)
