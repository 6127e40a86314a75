"""What runs are made of, by plain calls: happenings as bytes, places in a queue, and a log's numbers."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.backends.base import Answer
from pooler.core.fairness import Queue, Share
from pooler.core.slots import Priority, Waiter
from pooler.errors import Fault, Reason
from pooler.runtime.runs.happenings import (
    Accepted,
    Asked,
    Done,
    Happening,
    Line,
    Page,
    Progress,
    Queued,
    Starting,
    Working,
    pack,
    unpack,
)
from pooler.runtime.runs.log import LogBounds, RunLog
from pooler.runtime.runs.state import RunStatus, status, words
from pooler.runtime.turns import Timing

pytestmark = pytest.mark.anyio

JSON = st.sampled_from([b"{}", b'{"a":"\\n"}', b'"line"', '{"ä": 1}'.encode()])
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
TIMING = st.builds(Timing, *[st.floats(0, 1e6)] * 4)
FAULT = st.builds(Fault, st.sampled_from(Reason), st.text(), st.dictionaries(st.text(), st.text()))
HAPPENING: st.SearchStrategy[Any] = st.one_of(
    st.builds(Accepted, st.text(), st.text(), st.binary()),
    st.builds(Queued, st.integers(1, 10**6), st.integers(1, 10**6)),
    st.builds(Starting, st.floats(0, 1e6)),
    st.just(Working()),
    st.builds(Progress, NUMBER, st.none() | NUMBER, st.text()),
    st.builds(Line, st.text(), st.text(), JSON),
    st.builds(Asked, JSON),
    st.builds(Page, st.builds(Answer, JSON, st.booleans(), st.booleans()), TIMING),
    st.builds(Done, st.none() | FAULT, TIMING),
)


def facts(what: Happening) -> Any:
    """A happening in a form that can be compared: a fault is an exception, and equal to itself alone."""
    return (repr(what.fault), what.timing) if isinstance(what, Done) else what


@given(HAPPENING)
def test_a_happening_survives_the_store(what: Happening) -> None:
    data = pack(what)
    assert data  # empty bytes stand for what was let go
    assert facts(unpack(data)) == facts(what)


def waiter(tenant: str = "a", at: float = 0.0, priority: Priority = Priority.INTERACTIVE) -> Waiter:
    return Waiter(at, 1e9, tenant=tenant, expected_seconds=1.0, priority=priority)


def served(queue: Queue) -> list[Waiter]:
    """Everybody, in the order in which they are served one after the other."""
    order = []
    while len(queue):
        one = queue.pop()
        queue.granted(one)
        queue.returned(one, 1.0)
        order.append(one)
    return order


def test_a_place_in_a_queue_of_one_tenant_is_exact() -> None:
    queue = Queue()
    everybody = [waiter(at=n, priority=Priority.BATCH if n % 3 == 0 else Priority.INTERACTIVE) for n in range(30)]
    for one in everybody:
        queue.push(one)
    places = queue.places(set(everybody))
    assert sorted(places.values()) == list(range(1, 31))
    assert [places[one] for one in served(queue)] == list(range(1, 31))


def test_a_place_among_several_tenants_follows_their_weights() -> None:
    queue = Queue({"a": Share(weight=3.0)})
    for one in [waiter(tenant) for _ in range(30) for tenant in ("a", "b")]:
        queue.push(one)
    for _ in range(16):  # what both had to the good is used up
        one = queue.pop()
        queue.granted(one)
        queue.returned(one, 1.0)
    estimated = queue.places(set(queue))
    order = served(queue)
    off = [abs(estimated[one] - place) for place, one in enumerate(order, 1)]
    assert max(off) <= 4


def test_who_does_not_wait_has_no_place() -> None:
    queue = Queue()
    inside, outside = waiter(), waiter("b")
    queue.push(inside)
    assert queue.places({inside, outside}) == {inside: 1}


async def test_a_log_gives_every_number_once_and_each_reader_reads_at_its_own_pace() -> None:
    log = RunLog("r", LogBounds())
    log.add(Working())
    quick = asyncio.ensure_future(log.next(1))
    await asyncio.sleep(0)
    assert not quick.done()
    log.add(Progress(1, None, ""))
    assert (await quick).seq == 2
    log.add(Done(None, Timing()))
    assert [(await log.next(n)).seq for n in range(3)] == [1, 2, 3]
    assert not log.heard
    assert await log.next(3) is None
    assert log.heard


@pytest.mark.parametrize("bounds", [LogBounds(events_max=10), LogBounds(bytes_max=2000)])
async def test_a_log_that_grows_too_long_lets_go_of_progress_before_lines_and_never_of_what_was_asked(
    bounds: LogBounds,
) -> None:
    log = RunLog("r", bounds)
    log.add(Accepted("run", "", b""))
    log.add(Asked(b"{}"))
    for n in range(5):
        log.add(Line("info", "", b'"line"'))
        log.add(Progress(n, None, ""))
    kept = [type(event.what) for event in log.events]
    assert kept.count(Line) == 5
    assert kept.count(Progress) < 5
    for _ in range(50):
        log.add(Line("info", "", b'"line"'))
    log.add(Page(Answer(bytes(10_000)), Timing()))
    log.add(Done(None, Timing()))
    kept = [type(event.what) for event in log.events]
    assert kept[:2] == [Accepted, Asked]
    assert kept[-2:] == [Page, Done]
    assert Progress not in kept
    assert Line in kept
    assert len(kept) <= 10
    assert log.last_seq == 64


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (None, ""),
        (Queued(1, 3), "queued, next in line"),
        (Queued(3, 3), "queued, 2 ahead"),
        (Starting(12.3), "starting a client, about 12 s"),
        (Starting(0), "starting a client"),
        (Progress(4000, 10_000, ""), "4000 of 10000"),
        (Progress(0.5, None, ""), "0.5"),
        (Progress(1, 2, "halfway"), "halfway"),
        (Asked(b"{}"), "waiting for input"),
        (Done(Fault(Reason.REFUSED, "It said no."), Timing()), "It said no."),
        (Done(None, Timing()), ""),
    ],
)
def test_how_a_run_stands_is_said_in_a_few_words(what: Happening | None, said: str) -> None:
    assert words(what) == said


def test_a_run_is_cancelled_failed_or_completed_by_how_it_ended() -> None:
    ended = [
        Done(None, Timing()),
        Done(Fault(Reason.CANCELLED, ""), Timing()),
        Done(Fault(Reason.KILLED, ""), Timing()),
    ]
    assert [status(done, False) for done in ended] == [RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.FAILED]
    assert [status(None, asking) for asking in (True, False)] == [RunStatus.INPUT_REQUIRED, RunStatus.WORKING]
