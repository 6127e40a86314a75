"""A frontend's ways to a pooler on the same machine: it comes nearer by itself, and goes back when that way breaks.

What it speaks at the socket is held to what grpcio's own server understands.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from frontend.auth import Caller
from frontend.errors import PoolerError
from frontend.events import Reply
from frontend.operations import Operation
from frontend.pooler_client import Call, PoolerClient, http2_line
from frontend.pooler_client import client as pooler_client
from frontend.pooler_client.calls import Interrupted
from frontend.pooler_client.exchange import Exchange, Terms
from frontend.pooler_client.grpcio_line import GrpcioLine
from frontend.pooler_client.http2_line import Http2Line, connect
from pooler.service import neighbours
from tests.interaction.line import SIMULATED, Line, eventually

pytestmark = pytest.mark.anyio

WHO = Caller("default", "ann")
RESULT_BYTES_MAX = 32 << 20


def call(operation: str, request_id: str = "", timeout: float = 15.0, **arguments: Any) -> Call:
    offered = Operation(operation, reads=SIMULATED["operations"][operation]["effect"] == "read")
    return Call(offered, orjson.dumps(arguments), WHO, timeout, request_id)


@pytest.fixture
async def pooler(bare_line: Line) -> Line:
    await bare_line.start_pooler()
    return bare_line


@pytest.fixture
async def client(pooler: Line) -> AsyncIterator[PoolerClient]:
    """A frontend's client that reaches the pooler with nothing in between."""
    made = PoolerClient(pooler.pooler.address, WHO, 100, RESULT_BYTES_MAX)
    made.start(lambda _: None)
    yield made
    await made.close()


def way(client: PoolerClient) -> type | None:
    """What carries its calls now."""
    return type(client._exchange._line) if client._exchange is not None and client._exchange.usable else None


async def come_nearer(client: PoolerClient) -> None:
    await client.call(call("echo", value="x"))
    await eventually(lambda: way(client) is Http2Line)


def break_off(pooler: Line) -> None:
    """Breaks every connection of a neighbour."""
    neighbours = pooler.pooler._data.exchanges._neighbours
    assert neighbours is not None
    for connection in list(neighbours._connections):
        connection.abort()


async def test_a_frontend_next_door_comes_nearer_and_its_first_stream_is_closed(
    pooler: Line, client: PoolerClient
) -> None:
    first = await client.call(call("echo", value="x"))
    assert way(client) is GrpcioLine
    await come_nearer(client)
    assert (await client.call(call("echo", value="x"))).body == first.body
    await eventually(lambda: len(pooler.pooler._data.exchanges._open) == 1)


async def test_calls_under_way_on_the_first_stream_are_answered_there(pooler: Line, client: PoolerClient) -> None:
    working = asyncio.create_task(client.call(call("work", seconds=1)))
    await come_nearer(client)
    assert not working.done()
    assert (await working).body == b'{"result":"done"}'
    assert pooler.system().requests_total == 2


async def test_when_the_socket_breaks_calls_go_by_the_poolers_own_address_and_come_nearer_again(
    pooler: Line, client: PoolerClient
) -> None:
    await come_nearer(client)
    break_off(pooler)
    await eventually(lambda: way(client) is None)
    assert (await client.call(call("echo", value="x"))).body == b'{"result":"x"}'
    assert way(client) is GrpcioLine
    await eventually(lambda: way(client) is Http2Line)


async def test_a_write_whose_socket_broke_is_answered_by_the_other_way_and_carried_out_once(
    pooler: Line, client: PoolerClient
) -> None:
    await come_nearer(client)
    writing = asyncio.create_task(client.call(call("write_slowly", "w1", seconds=0.5)))
    await eventually(lambda: pooler.system().counts().busy == 1)
    break_off(pooler)
    assert (await writing).body == b'{"result":"done"}'
    assert pooler.system().requests_total == 2


async def test_where_the_socket_cannot_be_reached_a_frontend_stays_where_it_is(
    pooler: Line, client: PoolerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler_client, "NEARER_SECONDS", 0.01)
    os.unlink(pooler.pooler._data.exchanges.local_address.removeprefix("unix:"))
    tried = asyncio.Event()

    async def refuse(address: str) -> Http2Line:
        try:
            return await connect(address)
        finally:
            tried.set()

    monkeypatch.setattr("frontend.pooler_client.http2_line.connect", refuse)
    await client.call(call("echo", value="x"))
    await tried.wait()
    assert (await client.call(call("echo", value="x"))).body == b'{"result":"x"}'
    assert way(client) is GrpcioLine


async def test_a_pooler_that_stops_sends_its_neighbours_away_and_answers_what_they_wait_for(
    pooler: Line, client: PoolerClient
) -> None:
    await come_nearer(client)
    working = asyncio.create_task(client.call(call("work", seconds=0.5)))
    await eventually(lambda: pooler.system().counts().busy == 1)
    await pooler.stop_pooler()
    assert (await working).body == b'{"result":"done"}'


async def test_what_begins_without_a_task_is_told_once_and_never_at_once(pooler: Line, client: PoolerClient) -> None:
    told: list[Reply | PoolerError] = []
    for _ in range(2):  # without an open stream, and with one
        client.begin(call("echo", value="x"), told.append)
        assert told == []
        await eventually(lambda: len(told) == 1)
        assert told.pop().body == b'{"result":"x"}'
    client.begin(call("echo", value=1), told.append)
    await eventually(lambda: len(told) == 1)
    assert told[0].reason == "INVALID_ARGUMENTS"
    assert client.under_way == 0


async def test_whoever_leaves_what_he_began_stops_the_work_and_is_told_nothing(
    pooler: Line, client: PoolerClient
) -> None:
    await come_nearer(client)
    told: list[Reply | PoolerError] = []
    leave = client.begin(call("work", seconds=60), told.append)
    await eventually(lambda: pooler.system().counts().busy == 1)
    leave()
    assert client.under_way == 0
    await eventually(lambda: pooler.system().counts().busy == 0)
    leave()
    await client.call(call("echo", value="x"))
    assert (told, client.under_way) == ([], 0)


async def test_one_begun_call_too_many_is_refused_and_the_room_comes_back(pooler: Line, client: PoolerClient) -> None:
    client._calls_max = 1
    await come_nearer(client)
    told: list[Reply | PoolerError] = []
    leave = client.begin(call("work", seconds=60), told.append)
    client.begin(call("echo", value="x"), told.append)
    await eventually(lambda: len(told) == 1)
    assert told.pop().reason == "TOO_MANY_CALLS"
    leave()
    client.begin(call("echo", value="x"), told.append)
    await eventually(lambda: len(told) == 1)
    assert told[0].body == b'{"result":"x"}'


async def test_a_begun_read_whose_way_broke_is_sent_again(pooler: Line, client: PoolerClient) -> None:
    await come_nearer(client)
    told: list[Reply | PoolerError] = []
    client.begin(call("work", seconds=0.5), told.append)
    await eventually(lambda: pooler.system().counts().busy == 1)
    break_off(pooler)
    await eventually(lambda: len(told) == 1)
    assert told[0].body == b'{"result":"done"}'
    assert client.under_way == 0


async def test_what_a_frontend_speaks_at_a_socket_grpcios_own_server_understands(
    bare_line: Line, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path / 'grpc'}"
    await bare_line.start_pooler({**SIMULATED, "pooler": {"listen": address}})
    exchange = Exchange(await connect(address), Terms("test", address, RESULT_BYTES_MAX))
    try:
        await exchange.greet()
        deadline = asyncio.get_running_loop().time() + 15
        assert (await exchange.call(call("echo", value="x"), deadline)).body == b'{"result":"x"}'
        large = await exchange.call(call("rows", count=60_000), deadline)
        assert len(orjson.loads(large.body)["rows"]) == 60_000
        both = [exchange.call(call("echo", value="y" * 200_000), deadline) for _ in range(20)]
        assert all(len(reply.body) > 200_000 for reply in await asyncio.gather(*both))
        left = asyncio.create_task(exchange.call(call("work", seconds=60), deadline))
        await eventually(lambda: bare_line.system().counts().busy == 1)
        left.cancel()
        await eventually(lambda: bare_line.system().counts().busy == 0)
    finally:
        await exchange.close()


async def test_a_pooler_that_is_silent_even_to_a_ping_is_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_line, "PING_SECONDS", 0.05)
    monkeypatch.setattr(http2_line, "PING_TIMEOUT_SECONDS", 0.05)
    path = str(tmp_path / "silent")
    server = await asyncio.start_unix_server(lambda reader, writer: None, path)
    exchange = Exchange(await connect(f"unix:{path}"), Terms("test", path, RESULT_BYTES_MAX))
    with pytest.raises(Interrupted, match="does not answer any more"):
        await exchange.greet()
    await exchange.close()
    server.close()


async def test_one_neighbour_too_many_is_sent_away_and_stays_with_the_port(
    pooler: Line, client: PoolerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await come_nearer(client)
    monkeypatch.setattr(neighbours, "CONNECTIONS_MAX", 1)
    address = pooler.pooler._data.exchanges.local_address
    exchange = Exchange(await connect(address), Terms("test", address, RESULT_BYTES_MAX))
    with pytest.raises(Interrupted):
        await exchange.greet()
    await exchange.close()
    assert (await client.call(call("echo", value="x"))).body == b'{"result":"x"}'
