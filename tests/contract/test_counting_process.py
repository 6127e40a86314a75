"""What only a process can show: sockets that are reset, a server that is stopped or killed, and its control port."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from pooler.backends.base import FailureKind
from pooler.backends.simulated.census import Counts
from pooler.backends.simulated.remote import RemoteConnection
from tests.contract.forms import LONG, RemoteForm
from tests.contract.subject import eventually
from tests.servers.counting import ControlError, CountingServer

pytestmark = pytest.mark.anyio

RESETS = struct.pack("ii", 1, 0)


@pytest.fixture
async def form(counting_server: CountingServer) -> AsyncIterator[RemoteForm]:
    """The server that all tests share."""
    yield RemoteForm(counting_server)
    await asyncio.to_thread(counting_server.kill_sessions)


@pytest.fixture
def mortal() -> Iterator[CountingServer]:
    """A server of one test's own, to be stopped and killed."""
    with CountingServer() as server:
        yield server


@contextlib.contextmanager
def stranger(server: CountingServer) -> Iterator[socket.socket]:
    """A client that says nothing by itself."""
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as client:
        yield client


async def test_a_client_that_says_nothing_counts_from_the_accept_to_its_end(form: RemoteForm) -> None:
    with stranger(form.server):
        await form.wait(starting=1)
    await form.wait(total=0)


async def test_a_client_that_vanishes_by_reset_in_mid_request_counts_until_it_has_died(form: RemoteForm) -> None:
    await form.behave(dying_seconds=LONG, ignore_cancel=True)
    with stranger(form.server) as client:
        client.sendall(b'{"id":1,"do":"login","owner":"stranger"}\n')
        await form.wait(open=1)
        work = b'{"id":2,"do":"request","method":"work","arguments":{"seconds":600},"page_rows":1,"page_bytes":100}\n'
        client.sendall(work)
        await form.wait(busy=1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
    await form.wait(dying=1)


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n", b"[]\n", b'{"do":\n', b"x" * (17 << 20)])
async def test_a_client_that_breaks_the_protocol_loses_its_session(form: RemoteForm, words: bytes) -> None:
    with stranger(form.server) as client:
        await form.wait(starting=1)
        with contextlib.suppress(ConnectionError):  # it may hang up before it has heard everything
            await asyncio.to_thread(client.sendall, words)
        await form.wait(total=0)


async def test_a_session_that_was_broken_off_while_idle_is_known_to_be_dead_without_asking(form: RemoteForm) -> None:
    connection = await form.open()
    assert connection.broken is None
    await form.kill()

    async def broken() -> int:
        return int(connection.broken is not None)

    await eventually(1, broken, "what is known to be broken")
    failure = await form.failure(form.ask(connection))
    assert (failure.kind, failure.started) == (FailureKind.DEAD, False)


async def test_a_late_answer_to_a_request_that_was_given_up_reaches_nobody(form: RemoteForm) -> None:
    connection = await form.open()
    for number in range(50):
        given_up = asyncio.ensure_future(form.ask(connection, value="late"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
        await form.adapter.cancel(connection)
        assert (await form.ask(connection, value=number)).body == b'{"result":%d}' % number


async def test_a_killed_server_leaves_dead_connections_that_close_with_proof(mortal: CountingServer) -> None:
    form = RemoteForm(mortal)
    idle, busy = await form.open(1), await form.open(2)
    request = asyncio.ensure_future(form.failure(form.ask(busy, "work", seconds=LONG)))
    await form.wait(busy=1)
    mortal.kill()
    assert (await request).kind is FailureKind.DEAD
    failure = await form.failure(form.adapter.validate(idle))
    assert failure.kind is FailureKind.DEAD
    assert await form.adapter.close(idle, force=False)
    assert await form.adapter.close(busy, force=True)
    failure = await form.failure(form.open(3))
    assert (failure.kind, failure.message) == (FailureKind.DEAD, "the system cannot be reached: Connection refused")
    mortal.start()
    assert (await form.ask(await form.open(4))).body == b'{"result":"x"}'


async def test_a_start_that_is_given_up_on_a_frozen_server_holds_on_until_it_thaws(mortal: CountingServer) -> None:
    form = RemoteForm(mortal)
    mortal.freeze()
    start = asyncio.ensure_future(form.open())
    await asyncio.wait({start}, timeout=0.05)
    start.cancel()
    done, _ = await asyncio.wait({start}, timeout=0.05)
    assert not done  # the kernel has taken the connection for a server that will find it
    mortal.thaw()
    await asyncio.wait({start}, timeout=20)
    assert start.cancelled()
    assert (await form.counts(), (await form.peak()).count) == (Counts(), 1)


async def test_a_connection_that_is_closed_by_force_is_dropped_even_when_nobody_answers(mortal: CountingServer) -> None:
    form = RemoteForm(mortal)
    connection = await form.open()
    assert isinstance(connection, RemoteConnection)
    mortal.freeze()
    close = asyncio.ensure_future(form.adapter.close(connection, force=True))
    await asyncio.wait({close}, timeout=0.05)
    assert not close.done()
    close.cancel()  # as the hands do, when their bound is over
    await asyncio.wait({close, asyncio.ensure_future(connection.line.lost.wait())}, timeout=20)
    assert close.cancelled()
    assert connection.line.lost.is_set()
    mortal.thaw()
    await form.wait(total=0)


async def test_one_session_can_be_told_from_the_others_and_ended(form: RemoteForm) -> None:
    await form.open(1)
    two = await form.open(2)
    assert isinstance(two, RemoteConnection)
    assert [seen.owner for seen in form.server.sessions()] == [
        "penstock/counting/legacy/1",
        "penstock/counting/legacy/2",
    ]
    form.server.kill_session(two.session)
    assert [seen.owner for seen in form.server.sessions()] == ["penstock/counting/legacy/1"]


async def test_a_system_tells_whose_sessions_it_still_has_and_what_it_cannot_tell(form: RemoteForm) -> None:
    connection = await form.open(1)
    there, gone = connection.tag, replace(connection.tag, slot=2)
    await form.open(3)
    assert await form.adapter.census(connection, {there: {}, gone: {}}) == {there: True, gone: False}
    with stranger(form.server):
        await form.wait(starting=1)
        assert await form.adapter.census(connection, {there: {}, gone: {}}) == {there: True}  # it may be whoever's


async def test_a_watcher_is_told_what_never_came_and_what_there_is_not(form: RemoteForm) -> None:
    with pytest.raises(ControlError, match=r"busy=0.* after 0.05 s, never \{'busy': 1\}"):
        form.server.wait(0.05, busy=1)
    with pytest.raises(ControlError, match="no state is called idle: use starting, open, busy, dying, total"):
        form.server.wait(idle=1)
    with pytest.raises(ControlError, match="there is no session 0"):
        form.server.kill_session(0)
    with pytest.raises(ControlError, match="mood"):
        form.server.behave(mood="bad")
    assert form.server.counts() == Counts()
