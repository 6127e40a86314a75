"""What the simulated system does beyond answering, in both of its forms: it reports, asks, and keeps or loses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from pooler.backends.base import Answer, FailureKind, Input, Operation, Verdict, Work
from pooler.backends.simulated.connection import SimulatedConnection
from tests.contract.forms import CALLER, LONG, Form, LocalForm, RemoteForm
from tests.contract.subject import eventually
from tests.contract.windows import Listener, Reader

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["local", "remote"])
async def form(request: pytest.FixtureRequest) -> AsyncIterator[Form]:
    """A system with plain manners and no session; what is left of them at the end is ended."""
    if request.param == "local":
        offered: Form = LocalForm()
    else:
        server = request.getfixturevalue("counting_server")
        await asyncio.to_thread(server.forget_peak)
        offered = RemoteForm(server)
    yield offered
    await offered.behave(silent=False)
    await offered.kill()


async def do(form: Form, connection: SimulatedConnection, name: str, extras: Any = None, **arguments: Any) -> Answer:
    prepared = form.adapter.prepare(Operation(name, "read", method=name))
    return await form.adapter.execute(connection, Work(prepared, arguments, CALLER, LONG, **(extras or {})))


async def test_each_step_of_a_report_is_told_when_it_is_done(form: Form) -> None:
    connection = await form.open()
    listener = Listener()
    await do(form, connection, "report", {"news": listener}, steps=2, seconds=0.01)
    assert listener.told == [
        ("progress", 1, 2, "step 1 of 2"),
        ("progress", 2, 2, "step 2 of 2"),
        ("log", "info", {"steps": 2}),
    ]


async def test_a_report_that_is_stopped_tells_nothing_more(form: Form) -> None:
    connection = await form.open()
    listener = Listener()
    work = asyncio.ensure_future(do(form, connection, "report", {"news": listener}, steps=1000, seconds=20))

    async def told() -> int:
        return bool(listener.told)

    await eventually(1, told, "whether anything was told")
    work.cancel()
    await asyncio.wait({work})
    assert await form.adapter.cancel(connection) is Verdict.CLEAN
    before = len(listener.told)
    await form.ask(connection)
    assert len(listener.told) == before < 1000


async def test_it_asks_its_user_once_and_sees_what_he_said_and_its_own_state(form: Form) -> None:
    connection = await form.open()
    first = await do(form, connection, "ask", question="Really?")
    assert first.asks
    asked = orjson.loads(first.body)
    assert asked["inputRequests"]["answer"]["params"]["message"] == "Really?"
    given = Input(b"{}", b'{"answer":{"action":"accept"}}', asked["requestState"])
    second = await do(form, connection, "ask", {"input": given}, question="Really?")
    assert not second.asks
    assert orjson.loads(second.body) == {"said": {"action": "accept"}, "state": "asked Really?"}


async def test_a_row_can_kill_its_session(form: Form) -> None:
    connection = await form.open()
    reader = Reader(batch_rows=10)
    failure = await form.failure(do(form, connection, "rows", {"window": reader}, count=100, die_at=35))
    assert (failure.kind, failure.started, len(reader.rows)) == (FailureKind.DEAD, True, 30)
    assert (await form.counts()).total == 0


async def test_a_session_is_busy_until_its_rows_are_read(form: Form) -> None:
    connection = await form.open()
    reader = Reader(batch_rows=10, patient=True)
    work = asyncio.ensure_future(do(form, connection, "rows", {"window": reader}, count=25))
    async with asyncio.timeout(20):
        await reader.waits.wait()
    assert (await form.counts()).busy == 1
    reader.go.set()
    await work
    counts = await form.counts()
    assert (counts.open, counts.busy) == (1, 0)


@pytest.mark.parametrize(("manner", "kept"), [("kept", 1), ("lost", 0)])
async def test_a_session_that_dies_in_its_commit_may_have_kept_it_or_not(form: Form, manner: str, kept: int) -> None:
    value = f"{manner} {id(form)}"
    connection, watcher = await form.open(1), await form.open(2)
    await form.adapter.begin(connection)
    await do(form, connection, "put", {"in_transaction": True}, value=value)
    await form.behave(die_in_commit=manner)
    failure = await form.failure(form.adapter.commit(connection))
    assert (failure.kind, failure.started) == (FailureKind.DEAD, True)
    assert orjson.loads((await do(form, watcher, "count", value=value)).body) == {"result": kept}


async def test_what_fails_in_a_transaction_fails_the_transaction(form: Form) -> None:
    connection = await form.open()
    await form.adapter.begin(connection)
    failure = await form.failure(do(form, connection, "wrong", {"in_transaction": True}))
    assert failure.kind is FailureKind.USER_ERROR
    assert connection.transaction == "failed"
    failure = await form.failure(do(form, connection, "echo", value="x"))  # without being told that it is a part
    assert "has failed" in failure.message
    await form.adapter.rollback(connection)
    await form.ask(connection)
