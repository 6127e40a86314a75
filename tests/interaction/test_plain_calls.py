"""Plain calls on the short way, beside what they have in common with the long one: what is theirs alone.

A short read of a conversation, a process that has no catalogue yet, and a host that is not our own server.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from frontend.app import Frontend
from frontend.config import Settings
from frontend.errors import REQUEST_CANCELLED
from frontend.hot import asgi, protocol, watch
from tests.interaction.line import SIMULATED, Line, eventually, legacy, modern
from tests.interaction.talker import Talker, request

pytestmark = pytest.mark.anyio

SHORT: dict[str, Any] = {
    "backends": {"sim": {**SIMULATED["backends"]["sim"], "streams": 4}},
    "operations": {
        **SIMULATED["operations"],
        "nap": {**SIMULATED["operations"]["work"], "share": True},
    },
}

ECHO = {"name": "echo", "arguments": {"value": "x"}}


@pytest.fixture
async def short_line(bare_line: Line) -> Line:
    await bare_line.start_pooler(SHORT)
    await bare_line.start_frontend()
    return bare_line


@pytest.fixture
async def talker(short_line: Line, http: httpx.AsyncClient) -> Talker:
    talking = Talker(http, short_line.url)
    await talking.open()
    return talking


def nap(number: int, seconds: float, **params: Any) -> dict[str, Any]:
    return request(number, "tools/call", {"name": "nap", "arguments": {"seconds": seconds}, **params})


def hot_answers(line: Line) -> int:
    return line.frontends[0].frontend.desk.answered


# In a conversation


async def test_a_short_read_of_a_conversation_is_answered_at_once_and_as_plain_json(
    short_line: Line, talker: Talker
) -> None:
    answer = await talker.post(nap(1, 0))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["result"]["structuredContent"] == {"result": "done"}
    assert (answer.json()["id"], hot_answers(short_line)) == (1, 1)


async def test_a_short_read_that_lasts_becomes_a_run_that_can_be_gone_on_with(short_line: Line, talker: Talker) -> None:
    async with talker.stream(nap(1, 120)) as events:
        opening = await anext(events)
    assert opening.id
    assert hot_answers(short_line) == 0
    # Its client has left the stream, and the call goes on; whoever cancels it reaches it through any frontend.
    assert short_line.system().counts().busy == 1
    await talker.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    await eventually(lambda: short_line.system().counts().busy == 0)


@pytest.mark.promise(6)
async def test_a_short_read_is_cancelled_by_its_own_conversation_alone_before_it_is_a_run(
    short_line: Line, talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PATIENCE_SECONDS", 3600)
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    call = asyncio.create_task(talker.post(nap(1, 120)))
    await eventually(lambda: short_line.system().counts().busy == 1)
    async with short_line.http() as http:
        neighbour = Talker(http, short_line.url)
        await neighbour.open()
        for stranger, message in ((neighbour, cancelled), (talker, cancelled | {"params": {"requestId": "1"}})):
            assert (await stranger.post(message)).status_code == 202
    assert not call.done()
    assert (await talker.post(cancelled)).status_code == 202
    answer = (await call).json()
    assert (answer["id"], answer["error"]["code"]) == (1, REQUEST_CANCELLED)
    await eventually(lambda: short_line.system().counts().busy == 0)
    # The connection is kept, and its next call has its own answer.
    assert (await talker.post(nap(2, 0))).json()["id"] == 2


async def test_what_is_not_declared_short_is_a_run_in_a_conversation(short_line: Line, talker: Talker) -> None:
    call = request(1, "tools/call", {"name": "echo", "arguments": {"value": "x"}})
    answer = await talker.post(call)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert hot_answers(short_line) == 0


async def test_a_conversation_that_has_ended_is_not_found_on_the_short_way_either(
    short_line: Line, talker: Talker
) -> None:
    handle = talker.handle
    await talker.delete()
    talker.handle = handle
    answer = await talker.post(nap(1, 0))
    assert (answer.status_code, hot_answers(short_line)) == (404, 0)


async def test_a_wish_for_progress_makes_a_run_of_a_short_read(short_line: Line, talker: Talker) -> None:
    answer = await talker.post(nap(1, 0, _meta={"progressToken": 1}))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert hot_answers(short_line) == 0


# While there is no catalogue


async def test_a_cold_process_lets_its_first_calls_wait_for_a_catalogue(bare_line: Line) -> None:
    await bare_line.start_frontend()
    frontend = bare_line.frontends[0].frontend
    async with bare_line.http() as http:
        first = asyncio.create_task(http.post(bare_line.url, **modern("tools/call", ECHO, "echo")))
        second = asyncio.create_task(http.post(bare_line.url, **legacy("tools/call", ECHO)))
        await eventually(lambda: len(frontend.watch) == 2)
        await bare_line.start_pooler()
        answers = [await first, await second]
    assert [b'"result":"x"' in answer.content for answer in answers] == [True, True]


@pytest.mark.promise(38)
async def test_a_client_that_leaves_before_there_is_a_catalogue_is_forgotten(
    bare_line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CATALOGUE_SECONDS", 3600)
    await bare_line.start_frontend()
    frontend = bare_line.frontends[0].frontend
    host, _, port = bare_line.frontends[0].address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    sent = httpx.Request("POST", bare_line.url, **modern("tools/call", ECHO, "echo"))
    lines = [f"{name}: {value}" for name, value in sent.headers.items()]
    writer.write("\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + sent.content)
    await eventually(lambda: len(frontend.watch) == 1)
    writer.transport.abort()
    await eventually(lambda: len(frontend.watch) == 0)


async def test_a_call_that_waited_in_vain_for_a_catalogue_is_told_by_the_long_way(bare_line: Line) -> None:
    await bare_line.start_frontend()
    async with bare_line.http() as http:
        answer = await http.post(bare_line.url, **modern("tools/call", ECHO, "echo"))
    assert answer.json()["result"]["_meta"]["penstock/error"]["reason"] == "POOLER_AWAY"


# Under another host


@pytest.fixture
async def hosted(line: Line) -> AsyncIterator[tuple[Frontend, httpx.AsyncClient]]:
    """A frontend in a host that knows nothing of it but that it is an ASGI application."""
    frontend = Frontend(Settings(pooler=line.pooler.address))
    transport = httpx.ASGITransport(app=frontend)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        yield frontend, http
    await frontend.stop()


async def test_another_host_has_plain_calls_answered_without_the_sdk(
    hosted: tuple[Frontend, httpx.AsyncClient],
) -> None:
    frontend, http = hosted
    answer = await http.post("/mcp", **modern("tools/call", ECHO, "echo"))
    assert answer.json()["result"]["structuredContent"] == {"result": "x"}
    misfit = await http.post("/mcp", **modern("tools/call", {"name": "echo"}, "echo"))
    assert misfit.json()["result"]["isError"] is True
    assert (frontend.desk.answered, frontend._sdk) == (2, None)


async def test_another_host_has_everything_else_answered_by_the_sdk(
    hosted: tuple[Frontend, httpx.AsyncClient],
) -> None:
    frontend, http = hosted
    unknown = await http.post("/mcp", **modern("tools/call", {"name": "ecco"}, "ecco"))
    listed = await http.post("/mcp", **modern("tools/list"))
    assert (unknown.status_code, len(listed.json()["result"]["tools"])) == (400, 5)
    assert frontend.desk.answered == 0


async def test_under_another_host_a_call_that_lasts_shows_signs_of_life(
    hosted: tuple[Frontend, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "PING_SECONDS", 0.05)
    _, http = hosted
    work = {"name": "work", "arguments": {"seconds": 0.2}}
    answer = await http.post("/mcp", **modern("tools/call", work, "work"))
    *signs, message = answer.text.strip().split("\r\n\r\n")
    assert set(signs) == {": ping"}
    result = orjson.loads(message.removeprefix("event: message\r\ndata: "))["result"]
    assert result["structuredContent"] == {"result": "done"}


async def test_under_another_host_a_client_that_leaves_takes_its_call_back(line: Line) -> None:
    frontend = Frontend(Settings(pooler=line.pooler.address))
    left = asyncio.Event()
    work = modern("tools/call", {"name": "work", "arguments": {"seconds": 120}}, "work")
    sent = httpx.Request("POST", "http://127.0.0.1:8080/mcp", **work)
    messages = [{"type": "http.request", "body": sent.content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        raise AssertionError("nobody is left to be answered")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in sent.headers.raw],
    }
    await frontend.start()
    await eventually(lambda: frontend.revision is not None)
    serving = asyncio.create_task(frontend(scope, receive, send))
    await eventually(lambda: line.system().counts().busy == 1)
    left.set()
    await serving
    await eventually(lambda: line.system().counts().busy == 0)
    assert frontend.desk.answered == 0
    await frontend.stop()


def test_both_forms_of_the_short_way_speak_up_as_often() -> None:
    assert asgi.PING_SECONDS == protocol.PING_SECONDS
