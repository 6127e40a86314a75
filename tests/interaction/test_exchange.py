"""Exchanges, by every door: the pooler's own port, and the socket that it has for its neighbours.

The client is grpcio's at both, so that what serves the socket is held to what any gRPC client expects of a server.
"""

import asyncio
import os
import stat
from functools import partial
from itertools import pairwise

import grpc
import orjson
import pytest

from pooler.service import exchange
from pooler.service.http2 import EXCHANGE
from pooler.service.sending import PIECE_BYTES
from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction import wire
from tests.interaction.line import Line, eventually

pytestmark = pytest.mark.anyio

SLOTH_BYTES = 64 << 10


@pytest.fixture
async def pooler(bare_line: Line) -> Line:
    await bare_line.start_pooler()
    await eventually(lambda: bare_line.system().counts().open == 1)  # its first proof of the backend
    return bare_line


@pytest.fixture(params=["port", "socket"])
def door(pooler: Line, request: pytest.FixtureRequest) -> str:
    """Where an exchange is served."""
    local = pooler.pooler._data.exchanges.local_address
    assert local.startswith("unix:")
    return pooler.pooler.address if request.param == "port" else local


def only_exchange(pooler: Line) -> exchange.Exchange:
    """The one that is open."""
    (found,) = pooler.pooler._data.exchanges._open
    return found


async def test_the_calls_of_an_exchange_are_answered_each_by_itself(pooler: Line, door: str) -> None:
    async with wire.stream(door) as stream:
        await stream.send(wire.call(1, "work", seconds=0.3), wire.call(2, "echo", value="b"), wire.call(3, "nothing"))
        heads = [await stream.head() for _ in range(3)]
    assert [head.id for head in heads] == [3, 2, 1]
    assert heads[0].error.reason == pb.REASON_OPERATION_NOT_FOUND
    assert heads[0].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert [head.result for head in heads[1:]] == [b'{"result":"b"}', b'{"result":"done"}']


async def test_a_large_result_travels_in_pieces_within_its_credit_and_lets_others_pass(pooler: Line, door: str) -> None:
    window = 100_000
    async with wire.stream(door, window=window) as stream:
        await stream.send(wire.call(1, "rows", count=20_000))
        head = await stream.head()
        assert head.total_bytes > 3 * window
        received = b""
        while len(received) < window:
            received += (await stream.frame()).piece.data
        assert len(received) == window
        await stream.send(wire.call(2, "echo", value="small"))  # the large one has no credit, and stalls nobody
        assert (await stream.head()).result == b'{"result":"small"}'
        await stream.send(wire.credit(1, head.total_bytes))
        while len(received) < head.total_bytes:
            piece = (await stream.frame()).piece
            assert 0 < len(piece.data) <= 65_536
            received += piece.data
    assert len(orjson.loads(received)["rows"]) == 20_000


async def test_cancelling_a_call_of_an_exchange_stops_its_work_and_leaves_the_others(pooler: Line, door: str) -> None:
    async with wire.stream(door) as stream:
        await stream.send(wire.call(1, "work", seconds=60), wire.call(2, "work", seconds=0.2))
        await eventually(lambda: pooler.system().counts().busy == 2)
        await stream.send(wire.cancel(1))
        cancelled, finished = await stream.head(), await stream.head()
    assert (cancelled.id, cancelled.error.reason) == (1, pb.REASON_CANCELLED)
    assert (finished.id, finished.result) == (2, b'{"result":"done"}')


async def test_a_broken_exchange_cancels_what_was_under_way_on_it(pooler: Line, door: str) -> None:
    async with wire.stream(door) as stream:
        await stream.send(wire.call(1, "work", seconds=60), wire.call(2, "work", seconds=60))
        await eventually(lambda: pooler.system().counts().busy == 2)
    await eventually(lambda: pooler.system().counts().busy == 0)
    await eventually(lambda: pooler.pooler._dispatcher.under_way == 0)


async def test_a_half_closed_exchange_is_answered_to_the_end(pooler: Line, door: str) -> None:
    async with wire.stream(door) as stream:
        await stream.send(wire.call(1, "work", seconds=0.1))
        await stream.half_close()
        assert (await stream.head()).result == b'{"result":"done"}'
        assert await stream.ended() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "frames",
    [
        [wire.call(1, "echo", value="no hello")],
        [wire.HELLO, wire.HELLO],
        [wire.HELLO, wire.call(2, "echo", value="x"), wire.call(2, "echo", value="x")],
    ],
    ids=["no hello", "two hellos", "ids that do not grow"],
)
async def test_an_exchange_that_breaks_the_order_of_frames_is_ended(
    pooler: Line, door: str, frames: list[pb.ClientFrame]
) -> None:
    async with wire.stub(door) as stub, asyncio.timeout(20):
        stream = wire.Stream(stub)
        await stream.send(*frames)
        assert await stream.ended() is grpc.StatusCode.INVALID_ARGUMENT
    await eventually(lambda: pooler.pooler._dispatcher.under_way == 0)


@pytest.mark.promise(31)
async def test_a_stop_answers_what_runs_refuses_what_comes_and_closes_every_connection(pooler: Line, door: str) -> None:
    system = pooler.system()
    async with wire.stream(door) as stream:
        await stream.send(wire.call(1, "work", seconds=0.5))
        await eventually(lambda: system.counts().busy == 1)
        stopping = asyncio.ensure_future(pooler.stop_pooler())
        assert (await stream.frame()).WhichOneof("frame") == "go_away"
        await stream.send(wire.call(2, "echo", value="late"))
        refused, answered = await stream.head(), await stream.head()
        assert (refused.id, refused.error.reason) == (2, pb.REASON_DRAINING)
        assert (answered.id, answered.result) == (1, b'{"result":"done"}')
        await stopping
    assert system.counts().total == 0


def answered(mine: exchange.Exchange, call_id: int) -> bool:
    """Whether this call was taken, and all so far have their outcome."""
    return mine._last_id == call_id and not mine._calls


@pytest.mark.promise(37)
async def test_a_client_that_does_not_read_is_not_read_and_costs_no_more_than_a_bound(
    pooler: Line, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "WAITING_BYTES_MAX", SLOTH_BYTES)
    async with wire.stream(door) as stream:
        mine, sent = only_exchange(pooler), 0
        while not mine._held:
            sent += 1
            await stream.send(wire.call(sent, "rows", count=2000))
            await eventually(partial(answered, mine, sent))
        assert SLOTH_BYTES < mine._sending.waiting_bytes < SLOTH_BYTES + PIECE_BYTES + sent * 64
        await stream.send(wire.call(sent + 1, "rows", count=2000))
        assert mine._last_id == sent
        heads = [(await stream.head()).id for _ in range(sent + 1)]
        assert sorted(heads) == list(range(1, sent + 2))
        assert not mine._held


@pytest.mark.promise(37)
async def test_whoever_does_not_take_his_results_gets_no_more_of_them_until_he_does(
    pooler: Line, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "UNTAKEN_BYTES_MAX", 300_000)
    async with wire.stream(door, window=1000) as stream:
        await stream.send(wire.call(1, "rows", count=20_000))
        head = await stream.head()
        assert head.total_bytes > 300_000
        taken = len((await stream.frame()).piece.data)
        await stream.send(wire.call(2, "echo", value="x"))
        assert (await stream.head()).error.reason == pb.REASON_TOO_MANY_CALLS
        await stream.send(wire.credit(1, head.total_bytes))
        while taken < head.total_bytes:
            taken += len((await stream.frame()).piece.data)
        await stream.send(wire.call(3, "echo", value="x"))
        assert (await stream.head()).result == b'{"result":"x"}'


async def test_a_result_that_is_not_wanted_any_more_stops_travelling(pooler: Line, door: str) -> None:
    async with wire.stream(door, window=1000) as stream:
        await stream.send(wire.call(1, "rows", count=20_000))
        assert (await stream.head()).total_bytes > 300_000
        await stream.frame()
        await stream.send(wire.cancel(1), wire.credit(1, 1_000_000), wire.call(2, "echo", value="x"))
        assert (await stream.head()).result == b'{"result":"x"}'
        assert only_exchange(pooler)._sending.empty
        assert only_exchange(pooler)._sending.untaken_bytes == 0


async def test_several_results_travel_by_turns(pooler: Line, door: str) -> None:
    async with wire.stream(door, window=1) as stream:
        await stream.send(*(wire.call(number, "rows", count=20_000) for number in (1, 2)))
        left: dict[int, int] = {}
        while len(left) < 2:
            frame = await stream.frame()
            if frame.WhichOneof("frame") == "head":
                left[frame.head.id] = frame.head.total_bytes - 1
        await stream.send(wire.credit(1, 1 << 20), wire.credit(2, 1 << 20))
        order = []
        while any(left.values()):
            piece = (await stream.frame()).piece
            if len(piece.data) > 1:
                order.append(piece.id)
                left[piece.id] -= len(piece.data)
    both = order[: 2 * min(order.count(1), order.count(2))]
    assert all(one != other for one, other in pairwise(both))


async def test_only_those_who_keep_answers_are_told_what_is_not_true_any_more_and_behind_what_they_were_told(
    pooler: Line, door: str
) -> None:
    hello = pb.ClientHello(version=1, boot_id="test", near=True)
    async with wire.stub(door) as stub, wire.stream(door) as other, asyncio.timeout(20):
        stream = wire.Stream(stub)
        await stream.send(pb.ClientFrame(hello=hello), wire.call(1, "nothing"))
        assert (await stream.frame()).WhichOneof("frame") == "hello"
        assert (await stream.head()).id == 1
        pooler.pooler._data.exchanges.invalidate(["orders"], False)
        told = (await stream.frame()).invalidate
        assert (list(told.tags), told.everything) == (["orders"], False)
        await other.send(wire.call(1, "nothing"))
        assert (await other.head()).id == 1
        stream.leave()


async def test_only_who_came_straight_from_this_machine_is_told_of_the_socket(pooler: Line) -> None:
    address = pooler.pooler.address
    port = address.rpartition(":")[2]
    told = {}
    for reached_as in (address, f"localhost:{port}", "127.0.0.1:1", ""):
        async with wire.stub(address) as stub, asyncio.timeout(20):
            stream = wire.Stream(stub)
            hello = pb.ClientHello(version=1, boot_id="test", reached_as=reached_as)
            await stream.send(pb.ClientFrame(hello=hello))
            told[reached_as] = (await stream.frame()).hello.local_address
            stream.leave()
    local = pooler.pooler._data.exchanges.local_address
    assert told == {address: local, f"localhost:{port}": local, "127.0.0.1:1": "", "": ""}


async def test_the_socket_is_its_owners_alone_and_gone_after_a_stop(pooler: Line) -> None:
    path = pooler.pooler._data.exchanges.local_address.removeprefix("unix:")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    await pooler.stop_pooler()
    with pytest.raises(FileNotFoundError):
        os.stat(path)


async def test_the_socket_serves_exchanges_and_nothing_else(pooler: Line) -> None:
    async with wire.stub(pooler.pooler._data.exchanges.local_address) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Call(wire.request("echo", value="x"))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert EXCHANGE in (caught.value.details() or "")


async def test_a_stream_may_follow_another_on_one_connection(pooler: Line) -> None:
    async with wire.stub(pooler.pooler._data.exchanges.local_address) as stub, asyncio.timeout(20):
        for _ in range(3):
            stream = wire.Stream(stub)
            await stream.send(wire.HELLO, wire.call(1, "echo", value="x"))
            assert (await stream.frame()).WhichOneof("frame") == "hello"
            assert (await stream.head()).result == b'{"result":"x"}'
            await stream.half_close()
            assert await stream.ended() is grpc.StatusCode.OK
