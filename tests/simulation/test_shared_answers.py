"""Answers that are kept: how old one may be, what makes it wrong, and what becomes of it when its backend is down."""

import asyncio

import pytest

from pooler.core.cache import ENTRY_BYTES, Terms
from pooler.core.flights import RETRY_SECONDS
from pooler.errors import Reason
from tests.simulation.rig import until
from tests.simulation.sharing import Sharing
from tests.simulation.test_flights import in_virtual_time

TTL = 30.0


@in_virtual_time
async def test_an_answer_is_given_again_without_asking_anybody():
    sharing = Sharing()
    assert await sharing.get() == 0
    again = sharing.send()

    assert await again.count() == 0
    assert (again.state, sharing.executed, sharing.driver.calls_total) == ("hit", 1, 1)


@pytest.mark.promise(27)
@in_virtual_time
async def test_its_time_counts_from_when_the_backend_began_and_not_from_when_it_answered():
    sharing = Sharing(Terms(TTL))
    sharing.adapter.before = lambda: 20.0
    began = sharing.now
    await sharing.get()
    hit = sharing.send()
    await hit.count()
    assert hit.outcomes[0].reuse is not None
    assert hit.outcomes[0].reuse.age == pytest.approx(20.0)

    await asyncio.sleep(began + TTL - sharing.now - 0.001)
    await sharing.get()
    assert sharing.executed == 1
    await asyncio.sleep(0.002)
    await sharing.get()
    assert sharing.executed == 2


@pytest.mark.promise(36)
@in_virtual_time
async def test_a_flight_that_lasts_longer_than_an_answer_may_be_old_is_not_joined_by_late_comers():
    sharing = Sharing(Terms(5.0))
    sharing.adapter.before = lambda: 20.0
    first = sharing.send()
    await asyncio.sleep(6.0)
    second = sharing.send()
    await first.count()
    await second.count()

    assert (first.state, second.state, sharing.executed) == ("miss", "miss", 2)


# What makes it wrong


@pytest.mark.promise(26, 27)
@in_virtual_time
async def test_a_write_is_seen_by_whoever_reads_after_it_was_acknowledged():
    sharing = Sharing()
    for count in range(5):
        assert await sharing.get() == count
        await sharing.put()
    assert await sharing.get() == 5


@in_virtual_time
async def test_a_write_leaves_alone_what_it_does_not_name():
    sharing = Sharing()
    await sharing.get("x")
    await sharing.get("y")
    await sharing.put("x")
    x, y = sharing.send("get", "x"), sharing.send("get", "y")
    await x.count()
    await y.count()

    assert (x.state, y.state) == ("miss", "hit")


@pytest.mark.promise(26)
@in_virtual_time
async def test_a_strict_read_sees_every_write_to_its_backend_whatever_that_says_of_itself():
    sharing = Sharing(Terms(TTL), strict=True, tags=())
    assert await sharing.get("x") == 0
    await sharing.put("x")
    assert await sharing.get("x") == 1


@pytest.mark.promise(27)
@in_virtual_time
async def test_an_invalidation_beats_an_answer_that_was_begun_before_it():
    sharing = Sharing()
    sharing.adapter.after = lambda: 10.0
    early = sharing.send()
    await sharing.begun()
    sharing.adapter.after = lambda: 0.0
    await sharing.put()
    assert await early.count() == 0

    late = sharing.send()
    assert (await late.count(), late.state) == (1, "miss")


@pytest.mark.promise(26)
@in_virtual_time
async def test_a_write_of_which_nobody_knows_what_became_makes_answers_wrong():
    sharing = Sharing(Terms(3600.0))
    await sharing.get()
    sharing.adapter.after = lambda: 1000.0
    write = sharing.send("put", timeout=5.0)
    assert await write.reason() is Reason.WORK_TIMEOUT
    sharing.adapter.after = lambda: 0.0

    assert await sharing.get() == 1


@pytest.mark.promise(26)
@in_virtual_time
async def test_a_write_that_takes_effect_after_its_caller_gave_it_up_is_not_hidden_by_what_was_read_meanwhile():
    sharing = Sharing(Terms(3600.0))
    await sharing.get()
    sharing.adapter.before = lambda: 1000.0
    sharing.adapter.stopped = lambda: sharing.system.ledger.kept.append("x")  # the stop comes too late
    sharing.adapter.stops_after = 3.0
    write = sharing.send("put", timeout=1.0)
    assert await write.reason() is Reason.WORK_TIMEOUT
    sharing.adapter.before = lambda: 0.0
    assert await sharing.get() == 0
    await until(lambda: len(sharing.system.ledger.kept) == 1)
    await asyncio.sleep(1.0)

    assert await sharing.get() == 1


@in_virtual_time
async def test_a_write_that_was_never_begun_makes_nothing_wrong():
    sharing = Sharing(rules={"cap": 1})
    await sharing.get()
    sharing.rig.orders.pause()
    write = sharing.send("put", timeout=1.0)
    assert await write.reason() is Reason.PAUSED
    sharing.rig.orders.resume()
    again = sharing.send()
    await again.count()

    assert again.state == "hit"


@in_virtual_time
async def test_an_order_says_how_many_answers_it_made_wrong():
    sharing = Sharing()
    for value in "abc":
        await sharing.get(value)

    assert sharing.answers.order(["value:a", "value:nobody"])[0] == 1
    assert sharing.answers.order(operation="get")[0] == 2
    assert sharing.answers.order(everything=True)[0] == 0
    assert await sharing.get("b") == 0
    assert sharing.executed == 4


@in_virtual_time
async def test_another_configuration_of_an_operation_begins_anew():
    sharing = Sharing(Terms(TTL))
    await sharing.get()
    sharing.install(Terms(TTL))
    await sharing.get()
    assert sharing.executed == 1

    sharing.install(Terms(TTL), revision="another statement")
    again = sharing.send()
    await again.count()
    assert (again.state, sharing.executed) == ("miss", 2)
    assert len(sharing.answers.cache) == 1


@pytest.mark.promise(26)
@in_virtual_time
async def test_an_answer_begun_under_another_configuration_is_not_kept():
    sharing = Sharing(Terms(TTL))
    sharing.adapter.after = lambda: 5.0
    early = sharing.send()
    await sharing.begun()
    sharing.install(Terms(TTL), revision="another statement")
    late = sharing.send()
    await early.count()
    await late.count()

    assert (early.state, late.state, sharing.executed) == ("miss", "miss", 2)
    assert len(sharing.answers.cache) == 1


@in_virtual_time
async def test_whoever_gives_answers_again_is_told_before_the_write_is_acknowledged():
    sharing = Sharing(Terms(TTL), near=True)
    told = []
    sharing.answers.listeners.append(lambda tags, everything: told.append((tuple(tags), everything, write.outcomes[:])))
    await sharing.get()
    hit = sharing.send()
    await hit.count()
    assert hit.outcomes[0].reuse is not None
    assert hit.outcomes[0].reuse.tags == ("value:x",)
    assert 0 < hit.outcomes[0].reuse.near <= TTL
    write = sharing.send("put")
    await write.body()

    assert told == [(("value:x",), False, [])]


# Past its time


@pytest.mark.promise(27)
@in_virtual_time
async def test_a_stale_answer_is_given_while_one_caller_has_another_one_made():
    sharing = Sharing(Terms(10.0, stale=100.0))
    sharing.adapter.before = lambda: 2.0
    await sharing.get()
    sharing.system.ledger.kept.append("x")  # behind the pooler's back
    await asyncio.sleep(20.0)
    stale = [sharing.send() for _ in range(50)]
    assert [await each.count() for each in stale] == [0] * 50
    assert {each.state for each in stale} == {"stale"}
    await asyncio.sleep(3.0)

    assert await sharing.get() == 1
    assert sharing.executed == 2
    assert sharing.reading().counts.renewals == 1


@pytest.mark.promise(27)
@in_virtual_time
async def test_it_is_never_older_than_its_time_and_the_time_it_may_be_stale():
    sharing = Sharing(Terms(10.0, stale=20.0))
    await sharing.get()
    await asyncio.sleep(30.1)
    late = sharing.send()
    await late.count()

    assert late.state == "miss"


@pytest.mark.promise(27)
@in_virtual_time
async def test_nothing_is_renewed_ahead_of_time_while_others_wait():
    sharing = Sharing(Terms(10.0, stale=1000.0), rules={"cap": 1})
    await sharing.get()
    await asyncio.sleep(20.0)
    sharing.adapter.before = lambda: 10.0
    busy = [sharing.send("get", value) for value in "abc"]
    assert await sharing.get() == 0
    assert sharing.reading().counts.renewals == 0

    for call in busy:
        await call.count()
    assert await sharing.get() == 0
    assert sharing.reading().counts.renewals == 1


@in_virtual_time
async def test_an_attempt_to_renew_that_fails_is_not_repeated_at_once():
    sharing = Sharing(Terms(10.0, stale=1000.0))
    await sharing.get()
    await asyncio.sleep(20.0)
    sharing.system.behave(die_after=1)
    for _ in range(10):
        assert await sharing.get() == 0
        await asyncio.sleep(0.01)
    assert sharing.reading().counts.renewals == 1
    sharing.system.behave(die_after=None)
    await asyncio.sleep(RETRY_SECONDS)

    assert await sharing.get() == 0
    assert sharing.reading().counts.renewals == 2


@pytest.mark.promise(26, 27)
@in_virtual_time
async def test_nothing_invalidated_is_ever_given_stale():
    sharing = Sharing(Terms(10.0, stale=1000.0, down=1000.0))
    await sharing.get()
    await asyncio.sleep(20.0)
    await sharing.put()
    sharing.system.behave(refuse="down")
    for session in list(sharing.system.sessions):
        sharing.system.kill(session)

    assert await sharing.send(timeout=5.0).reason() in (Reason.START_FAILED, Reason.CONNECTION_LOST)


# While its backend is down


async def old_and_down(terms: Terms) -> Sharing:
    """An answer past its time, and a backend that went away."""
    sharing = Sharing(terms)
    await sharing.get()
    await asyncio.sleep(60.0)
    sharing.system.behave(refuse="down")
    for session in list(sharing.system.sessions):
        sharing.system.kill(session)
    return sharing


@pytest.mark.promise(27)
@in_virtual_time
async def test_an_old_answer_is_given_for_a_backend_that_is_down_where_that_was_asked_for():
    sharing = await old_and_down(Terms(30.0, down=float("inf")))
    call = sharing.send()

    assert (await call.count(), call.state) == (0, "stale")
    assert call.outcomes[0].reuse is not None
    assert call.outcomes[0].reuse.age >= 60.0


@pytest.mark.promise(27)
@in_virtual_time
async def test_it_is_an_error_where_that_was_not_asked_for():
    sharing = await old_and_down(Terms(30.0))

    assert await sharing.send(timeout=5.0).reason() in (Reason.START_FAILED, Reason.CONNECTION_LOST)


@in_virtual_time
async def test_even_then_it_is_not_given_past_what_was_asked_for():
    sharing = await old_and_down(Terms(30.0, down=20.0))

    assert await sharing.send(timeout=5.0).reason() in (Reason.START_FAILED, Reason.CONNECTION_LOST)


@in_virtual_time
async def test_nobody_waits_for_a_paused_backend_whose_old_answer_will_do():
    sharing = Sharing(Terms(30.0, down=3600.0))
    await sharing.get()
    await asyncio.sleep(60.0)
    sharing.rig.orders.pause()
    call = sharing.send()
    asked = sharing.now

    assert (await call.count(), call.state, sharing.now) == (0, "stale", asked)
    assert sharing.executed == 1


@pytest.mark.promise(27)
@in_virtual_time
async def test_a_caller_hears_his_own_errors_whatever_there_is():
    sharing = Sharing(Terms(30.0, down=3600.0))
    await sharing.get()
    await asyncio.sleep(60.0)
    sharing.adapter.before = lambda: 100.0

    assert await sharing.send(timeout=1.0).reason() is Reason.WORK_TIMEOUT


# Room


@pytest.mark.promise(27)
@in_virtual_time
async def test_what_is_kept_never_takes_more_bytes_than_it_may():
    sharing = Sharing(Terms(3600.0), bytes_max=20 * (ENTRY_BYTES + 100))
    for number in range(100):
        await sharing.get(f"{number}")
        assert sharing.answers.cache.bytes <= sharing.answers.cache.bytes_max

    assert 15 <= len(sharing.answers.cache) <= 25
    assert len(sharing.answers.epochs) == len(sharing.answers.cache)
    assert sharing.answers.cache.evictions_total == 100 - len(sharing.answers.cache)
