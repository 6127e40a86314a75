"""A neighbour's connection and whatever may come over it: nothing but a clean end, and everybody else undisturbed.

The far side is a socket in the test's hand, or h2; the near side is the pooler's own, with a dispatcher that has no
operations, so that every call is answered at once, by a refusal.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from pooler.runtime.dispatch import Dispatcher
from pooler.service.exchange import Limits
from pooler.service.exchanges import Exchanges
from pooler.service.framing import framed
from pooler.service.http2 import EXCHANGE, Connection
from protos.penstock.v1 import pooler_pb2 as pb

BYTES_MAX = 10_000
PATIENCE_SECONDS = 20
FUZZ = settings(max_examples=60, deadline=None)
CUTS = st.lists(st.integers(1, 300), max_size=60)

REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", EXCHANGE),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
HELLO = pb.ClientFrame(hello=pb.ClientHello(version=1))


class Far:
    """The client's end: bytes out, and what HTTP/2 makes of the bytes that come."""

    def __init__(self, end: socket.socket, gone: asyncio.Event) -> None:
        self.gone = gone
        """Set when the near end has given the connection up."""
        self._end = end
        self._loop = asyncio.get_running_loop()
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.status = ""
        self.received = b""
        self.over = False
        self.pinged = 0

    def begin(self) -> None:
        """A request for an exchange, not sent yet."""
        self.h2.initiate_connection()
        self.h2.send_headers(1, REQUEST)

    async def send(self, data: bytes, cuts: list[int]) -> bool:
        """Sends these bytes in pieces, each in a turn of the loop. Returns whether the connection has taken them."""
        try:
            for size in cuts:
                await self._loop.sock_sendall(self._end, data[:size])
                data = data[size:]
                await asyncio.sleep(0)
            await self._loop.sock_sendall(self._end, data)
        except ConnectionError:
            return False
        return True

    async def hear_until(self, enough: Callable[[], bool]) -> None:
        """Takes what comes until that holds, or the connection has ended."""
        while not enough():
            try:
                data = await self._loop.sock_recv(self._end, 65_536)
            except ConnectionError:
                data = b""
            if not data:
                self.over = True
                return
            for event in self.h2.receive_data(data):
                if isinstance(event, events.DataReceived):
                    self.received += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, events.PingReceived):
                    self.pinged += 1
                elif isinstance(event, events.TrailersReceived):
                    self.status = {str(name): str(value) for name, value in event.headers}["grpc-status"]
            with contextlib.suppress(ConnectionError):
                await self._loop.sock_sendall(self._end, self.h2.data_to_send())


def over_a_connection(play: Callable[[Far, Exchanges], Awaitable[None]], vanished_seconds: float = 30.0) -> None:
    """Plays on a fresh connection; nothing may go wrong on the loop, and nothing may be left at the end."""

    async def run() -> None:
        wrong: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        exchanges = Exchanges(Dispatcher(100), Limits(100, BYTES_MAX), "boot")
        gone = asyncio.Event()
        near, end = socket.socketpair()
        for each in (near, end):
            each.setblocking(False)
        await loop.connect_accepted_socket(
            lambda: Connection(exchanges.open, lambda _: gone.set(), BYTES_MAX, vanished_seconds), near
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            await play(Far(end, gone), exchanges)
            end.close()
            await gone.wait()
        assert wrong == []
        assert not exchanges._open

    uvloop.run(run())


def conversation(frames: list[pb.ClientFrame], far: Far, end: bool) -> bytes:
    """A whole client's side: the request, a Hello and these frames, each in a message of its own."""
    far.begin()
    for frame in (HELLO, *frames):
        far.h2.send_data(1, framed(pb.ClientBatch(frames=[frame]).SerializeToString()))
    if end:
        far.h2.end_stream(1)
    return far.h2.data_to_send()


def heads(received: bytes) -> list[int]:
    """The calls that were answered."""
    found, at = [], 0
    while at < len(received):
        size = int.from_bytes(received[at + 1 : at + 5], "big")
        batch = pb.ServerBatch.FromString(received[at + 5 : at + 5 + size])
        found += [frame.head.id for frame in batch.frames if frame.WhichOneof("frame") == "head"]
        at += 5 + size
    return found


@FUZZ
@given(st.integers(0, 20), CUTS)
def test_a_conversation_is_answered_to_its_end_however_its_bytes_are_cut(count: int, cuts: list[int]) -> None:
    async def play(far: Far, _: Exchanges) -> None:
        frames = [pb.ClientFrame(call=pb.ExchangeCall(id=number + 1)) for number in range(count)]
        await far.send(conversation(frames, far, end=True), cuts)
        await far.hear_until(lambda: far.status != "")
        assert far.status == "0"
        assert heads(far.received) == [number + 1 for number in range(count)]

    over_a_connection(play)


@FUZZ
@given(st.binary(max_size=3000), CUTS)
def test_garbage_ends_the_connection_or_waits_for_more(garbage: bytes, cuts: list[int]) -> None:
    async def play(far: Far, _: Exchanges) -> None:
        await far.send(garbage, cuts)

    over_a_connection(play)


@FUZZ
@given(st.binary(max_size=3000), st.integers(0, 400), CUTS)
def test_garbage_in_the_midst_of_a_conversation_ends_that_conversation_alone(
    garbage: bytes, at: int, cuts: list[int]
) -> None:
    async def play(far: Far, _: Exchanges) -> None:
        frames = [pb.ClientFrame(call=pb.ExchangeCall(id=number + 1)) for number in range(5)]
        data = conversation(frames, far, end=False)
        await far.send(data[:at] + garbage + data[at:], cuts)

    over_a_connection(play)


@FUZZ
@given(st.binary(min_size=1, max_size=500))
def test_messages_that_are_no_batches_end_the_stream_with_a_status(nonsense: bytes) -> None:
    async def play(far: Far, _: Exchanges) -> None:
        far.begin()
        far.h2.send_data(1, framed(b"\xff" + nonsense))  # no field has such a tag
        await far.send(far.h2.data_to_send(), [])
        await far.hear_until(lambda: far.status != "")
        assert far.status == "3"

    over_a_connection(play)


def status_after(last_words: bytes, end: bool) -> str:
    """With which status a stream ends on which this comes behind the Hello."""
    heard: list[str] = []

    async def play(far: Far, _: Exchanges) -> None:
        far.begin()
        far.h2.send_data(1, framed(pb.ClientBatch(frames=[HELLO]).SerializeToString()) + last_words, end_stream=end)
        await far.send(far.h2.data_to_send(), [])
        await far.hear_until(lambda: far.status != "")
        heard.append(far.status)

    over_a_connection(play)
    return heard[0]


def test_each_way_to_break_the_framing_has_its_own_status() -> None:
    assert status_after(b"\0" + (BYTES_MAX + 1).to_bytes(4, "big"), end=False) == "8"  # too large
    assert status_after(b"\1\0\0\0\1x", end=False) == "12"  # compressed
    assert status_after(b"\0\0\0\0\5ab", end=True) == "13"  # half of a message


def test_a_client_that_has_us_answer_pings_and_does_not_read_is_sent_away() -> None:
    async def play(far: Far, _: Exchanges) -> None:
        far.begin()
        await far.send(far.h2.data_to_send(), [])
        for _round in range(2000):
            for _ping in range(1000):
                far.h2.ping(b"whatever")
            if not await far.send(far.h2.data_to_send(), []):
                return
        raise AssertionError("it went on answering")

    over_a_connection(play)


@pytest.mark.promise(38)
def test_a_client_that_is_silent_even_to_a_ping_is_taken_for_gone_and_one_that_answers_is_not() -> None:
    async def play(far: Far, exchanges: Exchanges) -> None:
        far.begin()
        await far.send(far.h2.data_to_send(), [])
        await far.hear_until(lambda: far.pinged == 3)
        assert len(exchanges._open) == 1
        await far.gone.wait()  # for it hears nothing any more
        assert not exchanges._open

    over_a_connection(play, vanished_seconds=0.3)
