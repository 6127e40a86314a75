"""Resources that are watched: by one connection that listens, or by asking now and then, however many watch."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pooler.core.states import ConnectionState
from pooler.errors import Fault, Reason
from pooler.runtime.watches.listening import LOOK_SECONDS
from pooler.runtime.watches.room import Rule
from tests.simulation import virtual
from tests.simulation.rig import finished, until
from tests.simulation.watching import BY_ASKING, BY_CHANNEL, EVERY_SECONDS, Watching


async def listens(watching: Watching) -> None:
    """Until there is one session that listens, and everybody has been told what they were owed."""
    await until(lambda: len(watching.listening) == 1)
    await asyncio.sleep(0.01)


async def in_effect(watching: Watching, *values: str, **who: str) -> Any:
    """A watcher of whom nothing is missed."""
    watcher = watching.watch(*values, **who)
    await watcher.watch.in_effect(60)
    await asyncio.sleep(0.01)
    watcher.heard.clear()
    return watcher


# On a channel


def test_whoever_watches_hears_what_is_meant_for_it_and_a_message_without_a_name_is_meant_for_all():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL)
        ann, bob = await in_effect(watching, "1", "2"), await in_effect(watching, "2")
        for payload in ("1", "2", "3", ""):
            watching.say(payload)
            await asyncio.sleep(0.01)
        assert ann.heard == ["1", "2", "1", "2"]
        assert bob.heard == ["2", "2"]

    virtual.run(scene())


@pytest.mark.promise(1, 4)
def test_a_thousand_watchers_share_one_connection_that_counts_and_is_given_back_with_the_last_of_them():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, {"cap": 2})
        watchers = [await in_effect(watching, str(number % 10)) for number in range(1000)]
        assert len(watching.listening) == 1
        assert watching.watches.sources == 10
        calls = [watching.rig.submit(1) for _ in range(4)]
        began = watching.rig.now
        await finished(calls)
        assert watching.rig.now - began == pytest.approx(4, abs=0.1), "one of the two places is taken"
        assert watching.rig.driver.pool.held == 2
        for watcher in watchers[1:]:
            watcher.leave()
        await asyncio.sleep(60)
        assert len(watching.listening) == 1
        watchers[0].leave()
        await until(lambda: not watching.listening, 0.1)
        assert watching.rig.driver.pool.count(ConnectionState.IN_USE) == 0
        assert (len(watching.watches), watching.watches.sources) == (0, 0)
        assert watching.rig.violations == []

    virtual.run(scene())


def test_changes_that_nobody_has_read_yet_are_one_change_each_however_many_there_are():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL)
        slow, quick = await in_effect(watching, "1", "2"), await in_effect(watching, "1", "2")
        slow.stop_reading()
        for number in range(10_000):
            watching.say("2" if number % 2 else "1")
            await asyncio.sleep(0.001)
        slow.go_on_reading()
        await asyncio.sleep(1)
        assert slow.heard == ["1", "2"]
        assert len(quick.heard) == 10_000

    virtual.run(scene())


def test_a_channel_that_is_wanted_again_while_it_is_given_up_misses_nothing():
    async def scene() -> None:
        watching = Watching({"count": BY_CHANNEL["count"], "see_trace": Rule(channel="another")}, work_seconds=1.0)
        other = await in_effect(watching, operation="see_trace")
        first = await in_effect(watching, "1")
        first.leave()
        await asyncio.sleep(0.5)  # and is being given up
        again = watching.watch("1")
        watching.say("1")
        await asyncio.sleep(10)
        assert again.heard == ["1"], "as it was not in effect yet"
        watching.say("1")
        await asyncio.sleep(0.01)
        assert (again.heard, other.heard) == (["1", "1"], [])

    virtual.run(scene())


Interruption = Callable[[Watching], object]
INTERRUPTIONS: dict[str, Interruption] = {
    "killed by the system": Watching.kill_listener,
    "retired": lambda watching: watching.rig.orders.retire(),
    "killed by an administrator": lambda watching: watching.rig.orders.kill_call("penstock listening"),
    "of a configuration that was replaced": lambda watching: watching.rig.replace_adapter(),
}


@pytest.mark.parametrize("interrupt", INTERRUPTIONS.values(), ids=INTERRUPTIONS.keys())
def test_a_listening_connection_that_was_interrupted_is_taken_anew_and_everybody_told_once(interrupt: Interruption):
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, {"cap": 2}, start_seconds=3.0)
        watchers = [await in_effect(watching, "1"), await in_effect(watching, "2", "3")]
        interrupt(watching)
        await until(lambda: watchers[0].heard != [], 20)
        await asyncio.sleep(60)
        assert [watcher.heard for watcher in watchers] == [["1"], ["2", "3"]]
        watching.say("2")
        await asyncio.sleep(0.01)
        assert [watcher.heard for watcher in watchers] == [["1"], ["2", "3", "2"]]
        assert watching.rig.violations == []

    virtual.run(scene())


def test_whoever_watches_before_it_is_in_effect_is_told_once_it_is_and_later_ones_are_not():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, start_seconds=20.0)
        early = watching.watch("1")
        patient = watching.watch("1")
        patient.stop_reading()  # and waits for it, before it believes anything
        await patient.watch.in_effect(60)
        patient.go_on_reading()
        late = watching.watch("1")
        await asyncio.sleep(60)
        assert (early.heard, patient.heard, late.heard) == (["1"], [], [])
        assert early.at == [pytest.approx(virtual.STARTED_AT + 20, abs=0.1)]

    virtual.run(scene())


@pytest.mark.promise(2)
def test_a_cap_of_one_leaves_its_connection_to_the_calls_and_a_larger_one_is_listened_with_again():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, {"cap": 3})
        watcher = await in_effect(watching, "1")
        watching.rig.orders.set_cap(1)
        calls = [watching.rig.submit(1) for _ in range(30)]
        await until(lambda: not watching.listening, 2 * LOOK_SECONDS)
        await finished(calls, 40)
        assert all(call.answered for call in calls)
        assert watching.listening == []
        watching.rig.orders.set_cap(2)
        await until(lambda: watcher.heard == ["1"], 60)
        assert watching.rig.violations == []

    virtual.run(scene())


@pytest.mark.promise(2)
def test_a_smaller_cap_takes_its_connection_from_the_listening_while_calls_hold_all_others():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, {"cap": 3})
        watcher = await in_effect(watching, "1")
        calls = [watching.rig.submit(100) for _ in range(2)]
        await until(lambda: watching.rig.busy() == 2)
        watching.rig.orders.set_cap(2)
        await until(lambda: watching.system.counts().total == 2, 2 * LOOK_SECONDS)
        assert (watching.rig.busy(), watching.listening) == (2, [])
        await finished(calls)
        await until(lambda: watcher.heard == ["1"], 60)

    virtual.run(scene())


@pytest.mark.promise(31)
def test_a_drain_ends_the_listening_at_once_and_a_resume_begins_it_again():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL)
        watcher = await in_effect(watching, "1")
        watching.rig.orders.drain()
        await until(lambda: watching.system.counts().total == 0, 2 * LOOK_SECONDS)
        logins = watching.system.logins_total
        await asyncio.sleep(600)
        assert (watching.system.counts().total, watching.system.logins_total) == (0, logins)
        watching.rig.orders.resume()
        await until(lambda: watcher.heard == ["1"], 60)
        began = watching.rig.now
        await watching.rig.driver.drain(30)
        assert watching.rig.now - began < 2 * LOOK_SECONDS

    virtual.run(scene())


def test_while_the_backend_is_down_it_is_tried_ever_less_often_and_the_watchers_hear_of_its_return_once():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL)
        watcher = await in_effect(watching, "1")
        watching.system.behave(refuse="down for the night")
        watching.kill_listener()
        before = watching.system.logins_total
        await asyncio.sleep(3600)
        assert watching.system.logins_total - before < 300
        watching.system.behave(refuse=None)
        await until(lambda: watcher.heard == ["1"], 120)
        await asyncio.sleep(600)
        assert watcher.heard == ["1"]

    virtual.run(scene())


def test_a_connection_that_says_nothing_is_asked_whether_it_still_lives():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, {"validate_after_seconds": 30.0})
        watcher = await in_effect(watching, "1")
        await asyncio.sleep(300)
        assert watcher.heard == []
        (before,) = watching.listening
        watching.system.behave(silent=True)
        await until(lambda: watching.rig.driver.pool.held != 1 or watching.listening != [before], 60)
        watching.system.behave(silent=False)
        await until(lambda: watcher.heard == ["1"], 120)

    virtual.run(scene())


def test_a_listening_that_lasted_long_gets_its_next_connection_as_quickly_as_its_first():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, {"cap": 2, "queue_max": 1000})
        watcher = await in_effect(watching, "1")
        await asyncio.sleep(10_000)
        calls = [watching.rig.submit(1.0) for _ in range(300)]
        await asyncio.sleep(1)
        watching.kill_listener()
        await until(lambda: watcher.heard == ["1"], 10)
        assert watching.rig.driver.pool.starts.work.seconds < 10, "nothing is learned from how long it lasted"
        for call in calls:
            watching.rig.cancel(call)

    virtual.run(scene())


# By asking


def test_a_resource_is_asked_for_once_for_all_who_may_see_the_same_and_its_changes_are_told():
    async def scene() -> None:
        watching = Watching(BY_ASKING)
        watchers = [await in_effect(watching, "1") for _ in range(100)]
        other = await in_effect(watching, "1", tenant="another")
        assert watching.watches.sources == 2
        before = watching.system.requests_total
        await asyncio.sleep(10 * EVERY_SECONDS)
        assert watching.system.requests_total - before == pytest.approx(20, abs=3)
        assert [watcher.heard for watcher in watchers] == [[]] * 100
        watching.put("1")
        watching.put("2")
        await asyncio.sleep(EVERY_SECONDS)
        assert [watcher.heard for watcher in [*watchers, other]] == [["1"]] * 101
        for watcher in [*watchers, other]:
            watcher.leave()
        before = watching.system.requests_total
        await asyncio.sleep(10 * EVERY_SECONDS)
        assert watching.system.requests_total == before

    virtual.run(scene())


def test_an_outage_is_no_change_and_one_that_happened_meanwhile_is_told_afterwards():
    async def scene() -> None:
        watching = Watching(BY_ASKING)
        changed, unchanged = await in_effect(watching, "1"), await in_effect(watching, "2")
        watching.system.behave(refuse="down")
        for session in list(watching.system.sessions):
            watching.system.kill(session)
        await asyncio.sleep(5 * EVERY_SECONDS)
        watching.put("1")
        watching.system.behave(refuse=None)
        await asyncio.sleep(5 * EVERY_SECONDS)
        assert (changed.heard, unchanged.heard) == (["1"], [])

    virtual.run(scene())


def test_polls_wait_behind_everybody_who_waits_for_an_answer():
    async def scene() -> None:
        watching = Watching(BY_ASKING, {"cap": 1})
        running = watching.rig.submit(1)
        await until(lambda: watching.rig.busy() == 1)
        watcher = watching.watch("1")
        await asyncio.sleep(0.1)
        calls = [watching.rig.submit(0.1) for _ in range(5)]
        await finished([running, *calls])
        assert not any(interest.source.effect.is_set() for interest in watcher.watch.interests if interest.source)
        await watcher.watch.in_effect(1)
        assert all(interest.source.effect.is_set() for interest in watcher.watch.interests if interest.source)

    virtual.run(scene())


# The room


def test_what_cannot_be_watched_is_refused_with_its_reason_and_nothing_begins():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL, watches_max=3)

        def refusal(*values: Any, how: Any = BY_CHANNEL) -> Reason:
            watching.install(how)
            with pytest.raises(Fault) as raised:
                watching.watch(*values)
            return raised.value.reason

        assert refusal("1", how={}) is Reason.INVALID_ARGUMENTS
        assert refusal("1", "2", "3", "4") is Reason.STORE_FULL
        assert (len(watching.watches), watching.watches.sources) == (0, 0)
        await watching.watches.close()
        assert refusal("1") is Reason.DRAINING

    virtual.run(scene())


def test_a_reload_moves_watchers_to_the_new_way_of_watching_and_tells_them_once():
    async def scene() -> None:
        watching = Watching(BY_CHANNEL)
        watcher = await in_effect(watching, "1")
        watching.install(BY_CHANNEL)
        await asyncio.sleep(1)
        assert watcher.heard == [], "nothing has changed"

        watching.install({"count": Rule(every_seconds=5.0)})
        await until(lambda: not watching.listening, 1)
        await asyncio.sleep(60)
        assert watcher.heard == ["1"]
        watching.put("1")
        await asyncio.sleep(6)
        assert watcher.heard == ["1", "1"]

        watching.install({})
        await asyncio.sleep(1)
        assert watcher.heard == ["1", "1", "1"]
        requests = watching.system.requests_total
        await asyncio.sleep(60)
        assert watching.system.requests_total == requests, "nobody asks any more"

        watching.install(BY_CHANNEL)
        await listens(watching)
        watching.say("1")
        await asyncio.sleep(1)
        assert set(watcher.heard) == {"1"}
        assert len(watcher.heard) in (4, 5), "told that it is watched again, and of the change"

    virtual.run(scene())


def test_the_end_of_the_room_ends_every_watch_and_leaves_no_connection_at_work():
    async def scene() -> None:
        watching = Watching({"count": BY_CHANNEL["count"]}, start_seconds=5.0)
        waiting = watching.watch("1")
        await asyncio.sleep(1)
        await watching.watches.close()
        assert [uri async for uri in waiting.watch] == []
        await until(lambda: watching.rig.driver.pool.count(ConnectionState.IN_USE) == 0, 10)
        await asyncio.sleep(60)
        assert watching.listening == []
        assert len(watching.rig.driver.pool.queue) == 0

    virtual.run(scene())
