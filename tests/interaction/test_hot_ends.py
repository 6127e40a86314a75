"""How calls end on the short way when they do not just end: a client vanishes, a server stops, a call takes long."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import mcp.server._streamable_http_modern as modern_sdk
import pytest
from sse_starlette.sse import EventSourceResponse
from uvicorn.server import ServerState

from frontend.hot import protocol
from frontend.pooler_client import client
from tests.interaction.differential.case import ERAS, STATELESS_ERAS, Case
from tests.interaction.differential.likeness import unlike
from tests.interaction.differential.pair import Pair, compared, pairs
from tests.interaction.differential.raw_client import hear
from tests.interaction.differential.request import filled
from tests.interaction.line import SIMULATED, eventually

pytestmark = pytest.mark.anyio

VANISHING = 10_000
AT_ONCE = 40
CONNECTIONS_OF_ONE_CALL = 2 * 1 + 64
"""What a frontend that carries one call takes, as it says to its server."""

CONFIGURATION: dict[str, Any] = {
    "backends": {"sim": {**SIMULATED["backends"]["sim"], "streams": 2}},
    "operations": {
        **SIMULATED["operations"],
        "shared": {**SIMULATED["operations"]["work"], "share": True},
        "brief": {**SIMULATED["operations"]["work"], "timeout_seconds": 0.05},
    },
}
ALIKE: dict[str, dict[str, Any]] = {"open": {}}
NARROW: dict[str, dict[str, Any]] = {"narrow": {"calls_max": 1}}


@pytest.fixture(params=sorted(STATELESS_ERAS))
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pairs(tmp_path, CONFIGURATION, ALIKE) as made:
        yield made["open"]


def call(both: Pair, era: str, name: str, arguments: dict[str, Any], **headers: str) -> bytes:
    """A call as bytes, for the short way."""
    request = STATELESS_ERAS[era](name, arguments)
    for header, value in headers.items():
        request = request.and_header(header, value)
    return filled(request.raw(), both.hot.places)


def _has_connections(state: ServerState, count: int) -> bool:
    return len(state.connections) == count


async def connected(both: Pair) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = both.hot.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def under_way(both: Pair) -> int:
    """How many calls the short way's frontend has on its hands, whoever carries them."""
    return len(both.hot.server.frontend.watch)


async def nothing_left(both: Pair) -> None:
    """Waits until nobody remembers a caller: neither the frontend, nor its way, nor the pool, nor the system."""
    server = both.hot.server
    line = both.hot.line
    await eventually(lambda: not (server.server_state.connections or server.server_state.tasks))
    await eventually(lambda: under_way(both) == server.frontend._pooler.under_way == 0)
    await eventually(lambda: line.system().counts().busy == 0)
    await eventually(lambda: len(line.pooler._drivers["sim"].pool.queue) == 0)


@pytest.mark.promise(37)
@pytest.mark.parametrize("vanish", ["reset", "close"])
async def test_a_client_that_vanishes_in_mid_call_stops_the_work_behind_it(both: Pair, era: str, vanish: str) -> None:
    _, writer = await connected(both)
    writer.write(call(both, era, "work", {"seconds": 120}))
    await eventually(lambda: both.hot.line.system().counts().busy == 1)
    assert under_way(both) == 1
    if vanish == "reset":
        writer.transport.abort()
    else:
        writer.close()
    await nothing_left(both)
    assert both.hot.line.system().counts().open == 1


@pytest.mark.promise(38)
@pytest.mark.promise(5)
async def test_ten_thousand_clients_that_vanish_at_any_moment_leave_nothing_behind(both: Pair) -> None:
    chance = random.Random(5)
    requests = [
        call(both, era, name, arguments)
        for era in STATELESS_ERAS
        for name, arguments in (("work", {"seconds": 60}), ("echo", {"value": "x"}), ("rows", {"count": 300}))
    ]

    async def vanish() -> None:
        for _ in range(VANISHING // AT_ONCE):
            _, writer = await connected(both)
            raw = chance.choice(requests)
            writer.write(raw if chance.random() < 0.8 else raw[: chance.randrange(len(raw))])
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            writer.transport.abort()

    await asyncio.gather(*[vanish() for _ in range(AT_ONCE)])
    await nothing_left(both)
    # The whole cap can be had at once.
    writers = [(await connected(both))[1] for _ in range(2)]
    for each in writers:
        each.write(call(both, "modern", "work", {"seconds": 60}))
    await eventually(lambda: both.hot.line.system().counts().busy == 2)
    for each in writers:
        each.transport.abort()
    await nothing_left(both)


@pytest.mark.promise(31)
async def test_a_server_that_stops_answers_what_is_under_way_and_closes(both: Pair, era: str) -> None:
    idle, _ = await connected(both)
    answered = asyncio.create_task(hear(both.hot.address, [call(both, era, "work", {"seconds": 0.3})]))
    await eventually(lambda: both.hot.line.system().counts().busy == 1)
    server = both.hot.server
    before = server.frontend.desk.answered
    server.should_exit = True
    heard = await answered
    assert [answer.code for answer in heard.answers] == [200]
    assert b'"done"' in heard.answers[0].body
    assert not heard.kept
    assert server.frontend.desk.answered == before + 1
    assert await idle.read() == b""


async def test_an_answer_is_the_last_one_of_a_connection_that_asked_for_it(both: Pair, era: str) -> None:
    case = Case(
        "the last one", (STATELESS_ERAS[era]("work", {"seconds": 0.1}).and_header("connection", "close").raw(),)
    )
    hot, slow = await both.send(case)
    assert compared(hot, slow) == []
    assert not hot.heard.kept


async def test_a_call_that_lasts_becomes_a_stream_with_signs_of_life_on_both_ways(
    both: Pair, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PING_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(modern_sdk, "_SSE_PING_INTERVAL", 0.3)
    monkeypatch.setattr(EventSourceResponse, "DEFAULT_PING_INTERVAL", 0.3)
    hot, slow = await both.send(Case("lasting", (STATELESS_ERAS[era]("work", {"seconds": 1.5}).raw(),)))
    assert compared(hot, slow) == []
    assert hot.hot == 1
    for outcome in (hot, slow):
        (answer,) = outcome.heard.answers
        assert answer.header(b"content-type").startswith(b"text/event-stream")
        assert b": ping" in answer.body
        assert answer.body.index(b": ping") < answer.body.index(b"data: ")


async def test_a_stream_whose_client_vanishes_between_two_signs_of_life_stops_the_work(
    both: Pair, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PING_SECONDS", 0.2)
    reader, writer = await connected(both)
    writer.write(call(both, era, "work", {"seconds": 120}))
    assert b": ping" in await reader.readuntil(b": ping")
    writer.transport.abort()
    await nothing_left(both)


async def test_a_call_in_a_conversation_that_takes_its_time_becomes_one_that_can_be_gone_on_with(both: Pair) -> None:
    """What was begun as a plain call is taken back, and begun again as a run: a read may be."""
    hot, slow = await both.send(Case("shared", (ERAS["conversation"]("shared", {"seconds": 1}).raw(),)))
    assert compared(hot, slow)[0].startswith("how many, kept, calls")
    assert (hot.hot, hot.calls, slow.calls) == (0, {"sim": 2}, {"sim": 1})
    (answer,), (other,) = hot.heard.answers, slow.heard.answers
    assert (unlike(answer, other), hot.heard.kept, slow.heard.kept) == ([], True, True)
    assert answer.body.startswith(b"id: ")
    assert both.hot.line.system().counts().busy == 0


async def test_a_client_that_leaves_a_plain_call_in_a_conversation_stops_the_work(both: Pair) -> None:
    raw = filled(ERAS["conversation"]("shared", {"seconds": 0.4}).raw(), both.hot.places)
    _, writer = await connected(both)
    writer.write(raw)
    await eventually(lambda: both.hot.line.system().counts().busy == 1)
    writer.transport.abort()
    await nothing_left(both)


async def test_what_goes_wrong_behind_the_frontend_is_told_alike(both: Pair, era: str) -> None:
    late = Case("too slow", (STATELESS_ERAS[era]("brief", {"seconds": 30}).raw(),))
    hot, slow = await both.send(late)
    assert compared(hot, slow) == []
    assert (hot.hot, b"WORK_TIMEOUT" in hot.heard.answers[0].body) == (1, True)


async def test_a_backend_that_is_down_is_told_alike(both: Pair, era: str) -> None:
    system = both.hot.line.system()
    system.behave(refuse="closed for the night")
    for session in list(system.sessions):
        system.kill(session)
    hot, slow = await both.send(Case("down", (STATELESS_ERAS[era]("echo", {"value": "x"}).raw(),)))
    assert compared(hot, slow) == []
    assert (hot.hot, b"closed for the night" in hot.heard.answers[0].body) == (1, True)


async def test_a_pooler_that_cannot_be_reached_is_told_alike(
    both: Pair, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "OPEN_SECONDS", 0.5)
    await both.hot.line.relay.cut()
    hot, slow = await both.send(Case("away", (STATELESS_ERAS[era]("echo", {"value": "x"}).raw(),)))
    assert compared(hot, slow) == []
    assert (hot.hot, b"POOLER_AWAY" in hot.heard.answers[0].body) == (1, True)


async def test_a_call_too_many_is_refused_alike(tmp_path: Path, era: str) -> None:
    async with pairs(tmp_path, CONFIGURATION, NARROW) as made:
        narrow = made["narrow"]
        occupied = []
        for way in (narrow.hot, narrow.slow):
            host, _, port = way.address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(filled(STATELESS_ERAS["modern"]("work", {"seconds": 60}).raw(), way.places))
            occupied.append(writer)
        await eventually(lambda: narrow.hot.line.system().counts().busy == 2)
        raw = STATELESS_ERAS[era]("echo", {"value": "x"}).raw()
        heard = [await hear(way.address, [filled(raw, way.places)]) for way in (narrow.hot, narrow.slow)]
        for writer in occupied:
            writer.transport.abort()
    (hot,), (slow,) = (each.answers for each in heard)
    assert b"TOO_MANY_CALLS" in hot.body
    assert unlike(hot, slow) == []


async def test_a_connection_too_many_is_refused_alike(tmp_path: Path, era: str) -> None:
    async with pairs(tmp_path, CONFIGURATION, NARROW) as made:
        narrow = made["narrow"]
        heard = []
        for way in (narrow.hot, narrow.slow):
            host, _, port = way.address.rpartition(":")
            state = way.server.server_state
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS_OF_ONE_CALL)]
            await eventually(partial(_has_connections, state, CONNECTIONS_OF_ONE_CALL))
            raw = STATELESS_ERAS[era]("echo", {"value": "x"}).and_header("connection", "close").raw()
            heard.append(await hear(way.address, [filled(raw, way.places)]))
            for _, writer in idle:
                writer.transport.abort()
    (hot,), (slow,) = (each.answers for each in heard)
    assert hot.code == 503
    assert unlike(hot, slow) == []
