"""What a frontend does, and says, when the pooler or the way to it is not what it should be."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from frontend import mcp_server
from frontend.pooler_client import client as pooler_client
from pooler.service import writes
from tests.interaction.line import LEGACY, MODERN, SIMULATED, Line, eventually

pytestmark = pytest.mark.anyio


def said(result: CallToolResult) -> tuple[str, str]:
    """The reason and the sentence of a failed call."""
    assert result.is_error is True
    (block,) = result.content
    assert block.type == "text"
    return (result.meta or {})["penstock/error"]["reason"], block.text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frontends that do not wait long for a pooler that is not there."""
    monkeypatch.setattr(pooler_client, "OPEN_SECONDS", 0.2)
    monkeypatch.setattr(mcp_server, "CATALOGUE_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_cold_frontend_says_that_the_pooler_is_away_rather_than_that_there_is_nothing(
    bare_line: Line, era: str
) -> None:
    await bare_line.start_frontend()
    async with bare_line.client(era) as client:
        with pytest.raises(MCPError) as caught:
            await client.list_tools()
        reason, sentence = said(await client.call_tool("echo", {"value": "x"}))
    assert caught.value.code == -32010
    assert caught.value.data["reason"] == "POOLER_AWAY"
    assert reason == "POOLER_AWAY"
    assert "nothing was started" in sentence


async def test_a_cold_frontend_waits_for_its_first_catalogue(bare_line: Line, era: str) -> None:
    await bare_line.start_frontend()
    async with bare_line.client(era) as client:
        listing = asyncio.create_task(client.list_tools())
        await bare_line.start_pooler()
        assert len((await listing).tools) == 5


@pytest.mark.usefixtures("impatient")
async def test_lists_stay_while_the_pooler_is_away_and_calls_work_again_when_it_is_back(line: Line, era: str) -> None:
    async with line.client(era) as client:
        before = (await client.list_tools()).tools
        await client.call_tool("echo", {"value": "x"})
        await line.relay.cut()
        assert (await client.list_tools()).tools == before
        reason, sentence = said(await client.call_tool("echo", {"value": "x"}))
        assert (reason, "cannot be reached" in sentence) == ("POOLER_AWAY", True)
        await line.relay.open()
        while (await client.call_tool("echo", {"value": "x"})).is_error:
            pass


async def test_a_read_whose_way_was_cut_is_sent_again(line: Line) -> None:
    async with line.client() as client:
        calling = asyncio.create_task(client.call_tool("work", {"seconds": 0.5}))
        await eventually(lambda: line.system().counts().busy == 1)
        await line.relay.cut()
        await line.relay.open()
        assert (await calling).is_error is False
    assert line.system().requests_total == 2


async def test_a_write_whose_way_was_cut_goes_on_and_is_answered_by_the_process_that_has_it(line: Line) -> None:
    async with line.client() as client:
        calling = asyncio.create_task(client.call_tool("write_slowly", {"seconds": 0.5}))
        await eventually(lambda: line.system().counts().busy == 1)
        await line.relay.cut()
        await line.relay.open()
        assert (await calling).is_error is False
    assert line.system().requests_total == 1


async def test_a_write_that_ended_while_its_way_was_cut_is_answered_as_it_ended(line: Line) -> None:
    async with line.client() as client:
        calling = asyncio.create_task(client.call_tool("write_slowly", {"seconds": 0.3}))
        await eventually(lambda: line.system().counts().busy == 1)
        await line.relay.cut()
        await eventually(lambda: line.system().counts().busy == 0)
        await line.relay.open()
        assert (await calling).is_error is False
    assert line.system().requests_total == 1


@pytest.mark.usefixtures("impatient")
async def test_a_write_whose_way_was_cut_and_stays_cut_has_an_outcome_that_is_called_unknown(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "REJOIN_SECONDS", 0.5)
    async with line.client() as client:
        calling = asyncio.create_task(client.call_tool("write_slowly", {"seconds": 60}))
        await eventually(lambda: line.system().counts().busy == 1)
        await line.relay.cut()
        reason, sentence = said(await calling)
        assert reason == "OUTCOME_UNKNOWN"
        assert "may or may not have been carried out" in sentence
        await eventually(lambda: line.system().counts().busy == 0)  # nobody came back for it
        await line.relay.open()
        while (await client.call_tool("echo", {"value": "x"})).is_error:
            pass
    assert line.system().requests_total == 2


async def test_a_write_is_not_sent_to_the_pooler_after_the_one_that_may_have_it(line: Line, tmp_path: Path) -> None:
    async with line.client() as client:
        calling = asyncio.create_task(client.call_tool("write_slowly", {"seconds": 60}))
        await eventually(lambda: line.system().counts().busy == 1)
        first = line.system()
        another = Line(tmp_path / "another")
        (tmp_path / "another").mkdir()
        await another.start_pooler()
        line.relay.target = another.pooler.address
        await line.relay.cut()
        await line.relay.open()
        assert said(await calling)[0] == "OUTCOME_UNKNOWN"
        assert (first.requests_total, another.system().requests_total) == (1, 0)
        await another.close()


def reached(line: Line, requests: int) -> bool:
    """Whether the backend has had so many."""
    return line.system().requests_total >= requests


async def test_many_writes_under_a_way_that_is_cut_twice_are_each_carried_out_once(bare_line: Line) -> None:
    await bare_line.start_pooler()
    await bare_line.start_frontend()
    writes_made = 60
    async with bare_line.client() as client:
        await client.call_tool("echo", {"value": "x"})
        calling = [asyncio.create_task(client.call_tool("write_slowly", {"seconds": 0.03})) for _ in range(writes_made)]
        for carried_out in (20, 40):
            await eventually(partial(reached, bare_line, carried_out))
            await bare_line.relay.cut()
            await bare_line.relay.open()
        results = await asyncio.gather(*calling)
    assert [result.is_error for result in results] == [False] * writes_made
    assert bare_line.system().requests_total == writes_made + 1


async def test_a_write_that_never_left_is_sent_when_the_way_is_back(line: Line) -> None:
    async with line.client() as client:
        await client.call_tool("echo", {"value": "x"})
        await line.relay.cut()
        await eventually(lambda: not line.frontends[0].frontend.connected)
        calling = asyncio.create_task(client.call_tool("write_slowly", {"seconds": 0}))
        await line.relay.open()
        assert (await calling).is_error is False
    assert line.system().requests_total == 2


async def test_calls_under_way_are_answered_while_a_pooler_goes_and_the_next_one_takes_the_rest(line: Line) -> None:
    async with line.client() as client:
        calling = asyncio.create_task(client.call_tool("work", {"seconds": 0.5}))
        await eventually(lambda: line.system().counts().busy == 1)
        stopping = asyncio.create_task(line.stop_pooler())
        assert (await calling).is_error is False
        await stopping
        next_call = asyncio.create_task(client.call_tool("echo", {"value": "x"}))
        await line.start_pooler()
        assert (await next_call).is_error is False


async def test_a_client_that_cancels_takes_its_call_back_from_the_backend(line: Line) -> None:
    async with line.client(MODERN) as client:
        calling = asyncio.create_task(client.call_tool("work", {"seconds": 60}))
        await eventually(lambda: line.system().counts().busy == 1)
        calling.cancel()
        await eventually(lambda: line.system().counts().busy == 0)
        assert (await client.call_tool("echo", {"value": "x"})).is_error is False


async def test_all_calls_of_a_frontend_share_one_connection(line: Line) -> None:
    async with line.client() as client:
        results = await asyncio.gather(*(client.call_tool("echo", {"value": str(n)}) for n in range(100)))
    assert [result.structured_content for result in results] == [{"result": str(number)} for number in range(100)]
    assert line.relay.accepted == 1
    assert line.system().peak <= 2


async def test_one_call_too_many_is_refused_with_a_time_to_come_back(bare_line: Line) -> None:
    await bare_line.start_pooler()
    await bare_line.start_frontend(calls_max=1)
    async with bare_line.client() as client:
        calling = asyncio.create_task(client.call_tool("work", {"seconds": 60}))
        await eventually(lambda: bare_line.system().counts().busy == 1)
        refused = await client.call_tool("echo", {"value": "x"})
        calling.cancel()
    assert said(refused) == ("TOO_MANY_CALLS", "This frontend already carries 1 calls. Try again in a second.")
    assert (refused.meta or {})["penstock/error"]["retry_after_ms"] == 1000


async def test_a_result_beyond_the_bound_is_refused_and_the_stream_goes_on(bare_line: Line) -> None:
    await bare_line.start_pooler()
    await bare_line.start_frontend(result_bytes_max=65_536)
    async with bare_line.client() as client:
        reason, sentence = said(await client.call_tool("rows", {"count": 60_000}))
        assert (await client.call_tool("echo", {"value": "x"})).is_error is False
    assert reason == "RESULT_TOO_LARGE"
    assert "at most 65536" in sentence
    assert bare_line.relay.accepted == 1


async def test_no_call_takes_longer_than_the_frontend_allows(bare_line: Line, era: str) -> None:
    await bare_line.start_pooler()
    await bare_line.start_frontend(timeout_seconds_max=0.2)
    async with bare_line.client(era) as client:
        reason, _ = said(await client.call_tool("work", {"seconds": 60}))
    assert reason == "WORK_TIMEOUT"
    await eventually(lambda: bare_line.system().counts().busy == 0)


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_a_full_queue_is_told_with_its_backend_and_a_time_to_come_back(bare_line: Line, mode: str) -> None:
    backend = {**SIMULATED["backends"]["sim"], "pool": {"cap": 1, "queue_max": 0}}
    await bare_line.start_pooler({**SIMULATED, "backends": {"sim": backend}})
    await bare_line.start_frontend()
    async with bare_line.client(mode) as client:
        await client.call_tool("echo", {"value": "x"})
        calling = asyncio.create_task(client.call_tool("work", {"seconds": 60}))
        await eventually(lambda: bare_line.system().counts().busy == 1)
        refused = await client.call_tool("echo", {"value": "x"})
        calling.cancel()
    reason, sentence = said(refused)
    assert reason == "QUEUE_FULL"
    assert "sim" in sentence
    assert (refused.meta or {})["penstock/error"]["retry_after_ms"] > 0


async def test_a_backend_that_cannot_be_started_is_told_in_its_own_words(bare_line: Line, era: str) -> None:
    backend = {**SIMULATED["backends"]["sim"], "refuse": "the licence server is asleep"}
    await bare_line.start_pooler({**SIMULATED, "backends": {"sim": backend}})
    await bare_line.start_frontend()
    async with bare_line.client(era) as client:
        reason, sentence = said(await client.call_tool("echo", {"value": "x"}))
    assert reason == "START_FAILED"
    assert "the licence server is asleep" in sentence
