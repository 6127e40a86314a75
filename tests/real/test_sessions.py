"""Transactions over several calls, on real servers: what they have kept, and what they still hold, is the oracle."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest

from tests.interaction import wire
from tests.programs import Frontend, Pooler
from tests.real.dba import at, reason_of
from tests.real.mcp_http import call_tool
from tests.real.test_faults import eventually
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

ON_POSTGRES = pytest.mark.parametrize("server", ["postgres"], indirect=True)
"""For what only PostgreSQL's own list of connections shows, or only it does."""
CAP = 3
IDLE_SECONDS = 1.5
IN_TRANSACTION = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'penstock/%%' AND state LIKE 'idle in%%'"
)


def config(server: PostgresServer | MariadbServer) -> dict[str, Any]:
    ours, note = {"backend": "db", "timeout_seconds": 60}, {"note": {"type": "string"}}
    postgres = isinstance(server, PostgresServer)
    nap = "SELECT pg_sleep(:seconds)" if postgres else "SELECT sleep(:seconds)"
    return {
        "backends": {
            "db": {
                "kind": "postgres" if postgres else "sqlalchemy",
                "url": server.url,
                "pool": {"cap": CAP if postgres else CAP + 1, "parallel_starts": 2},  # one is MariaDB's reserve
                "sessions": {"max": 2, "idle_seconds": IDLE_SECONDS, "lifetime_seconds": 60},
            }
        },
        "operations": {
            "note": {**ours, "statement": "INSERT INTO diary VALUES (:note)", "arguments": note, "effect": "write"},
            "notes": {**ours, "statement": "SELECT count(*) FROM diary", "effect": "read"},
            "nap": {**ours, "statement": nap, "arguments": {"seconds": {"type": "number"}}, "effect": "read"},
            "wrong": {**ours, "statement": "SELECT nothing FROM nowhere", "effect": "read"},
        },
    }


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer | MariadbServer]:
    """A server with an empty diary."""
    found: PostgresServer | MariadbServer = request.getfixturevalue(f"{request.param}_server")
    found.run_as_owner("DROP TABLE IF EXISTS diary")
    found.run_as_owner("CREATE TABLE diary (note varchar(100) PRIMARY KEY)")
    yield found
    found.run_as_owner("DROP TABLE diary")


@pytest.fixture
def pooler(server: PostgresServer | MariadbServer, tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, config(server)) as program:
        yield program
    eventually(0, server.connections)


async def seen(expected: object, measure: Any) -> None:
    await asyncio.to_thread(eventually, expected, measure)


async def ask(address: str, operation: str, **arguments: Any) -> Any:
    """The result of a call over a channel of its own."""
    async with wire.stub(address) as stub:
        return orjson.loads((await stub.Call(wire.request(operation, 60_000, **arguments))).result)


async def refused(address: str, operation: str, **arguments: Any) -> tuple[str, str]:
    """How such a call fails, and with which sentence."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(address, operation, **arguments)
    return reason_of(caught.value), caught.value.details() or ""


async def notes(address: str, session: str = "") -> int:
    """How many there are in the diary, as a session sees it or everybody."""
    table = await ask(address, "notes", **({"session": session} if session else {}))
    return int(table["rows"][0][0])


@pytest.mark.promise(20)
async def test_a_transaction_goes_over_three_channels_and_is_seen_by_others_after_its_commit(pooler: Pooler) -> None:
    address = pooler.address
    session = (await ask(address, "db_begin"))["session"]
    for note in ("first", "second"):
        assert await ask(address, "note", session=session, note=note) == {"rows_affected": 1}
    assert (await notes(address, session), await notes(address)) == (2, 0)
    assert await ask(address, "db_commit", session=session) == {"committed": True}
    assert await notes(address) == 2
    assert (await refused(address, "note", session=session, note="third"))[0] == "NOT_FOUND HANDLE_EXPIRED"
    assert await notes(address) == 2


@pytest.mark.promise(20)
@ON_POSTGRES
async def test_an_idle_transaction_is_rolled_back_by_the_pooler_and_its_connection_serves_others(
    pooler: Pooler, server: PostgresServer
) -> None:
    address = pooler.address
    session = (await ask(address, "db_begin"))["session"]
    await ask(address, "note", session=session, note="never")
    assert server.ask(IN_TRANSACTION) == 1
    await seen(0, lambda: server.ask(IN_TRANSACTION))
    reason, sentence = await refused(address, "note", session=session, note="too late")
    assert reason == "NOT_FOUND HANDLE_EXPIRED"
    assert "was not used for too long and has been rolled back" in sentence
    assert await notes(address) == 0
    assert server.connections() <= CAP


@pytest.mark.promise(20)
async def test_a_cancelled_statement_fails_its_transaction_or_leaves_it_and_the_next_call_says_which(
    pooler: Pooler, server: PostgresServer | MariadbServer
) -> None:
    address = pooler.address
    session = (await ask(address, "db_begin"))["session"]
    await ask(address, "note", session=session, note="perhaps")
    call = asyncio.ensure_future(ask(address, "nap", session=session, seconds=100))
    await seen(1, server.sleeping)
    call.cancel()
    await seen(0, server.sleeping)
    if isinstance(server, PostgresServer):
        reason, sentence = await refused(address, "note", session=session, note="more")
        assert reason == "FAILED_PRECONDITION REFUSED"
        assert "the transaction of this session has failed (nap was cancelled)" in sentence
        assert (await refused(address, "db_commit", session=session))[0] == "FAILED_PRECONDITION REFUSED"
        assert await ask(address, "db_rollback", session=session) == {"rolled_back": True}
        assert await notes(address) == 0
    else:
        assert await ask(address, "note", session=session, note="more") == {"rows_affected": 1}
        assert await ask(address, "db_commit", session=session) == {"committed": True}
        assert await notes(address) == 2


async def test_a_statement_that_fails_says_whether_the_transaction_has_failed_with_it(
    pooler: Pooler, server: PostgresServer | MariadbServer
) -> None:
    address = pooler.address
    session = (await ask(address, "db_begin"))["session"]
    reason, sentence = await refused(address, "wrong", session=session)
    assert reason == "FAILED_PRECONDITION REFUSED"
    assert ("With it the transaction of this session has failed" in sentence) == isinstance(server, PostgresServer)
    await ask(address, "db_rollback", session=session)


@pytest.mark.promise(20)
@ON_POSTGRES
async def test_a_connection_that_an_administrator_of_the_server_ends_takes_its_transaction_along_for_certain(
    pooler: Pooler, server: PostgresServer
) -> None:
    address = pooler.address
    session = (await ask(address, "db_begin"))["session"]
    await ask(address, "note", session=session, note="never")
    ended = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE state LIKE 'idle in%%'"
    assert server.ask(ended) == 1
    reason, sentence = await refused(address, "note", session=session, note="beside")
    assert reason == "NOT_FOUND HANDLE_EXPIRED"
    assert "was rolled back with the end of its connection" in sentence
    assert (await refused(address, "db_commit", session=session))[0] == "NOT_FOUND HANDLE_EXPIRED"
    assert await notes(address) == 0


@pytest.mark.promise(20)
@ON_POSTGRES
async def test_a_commit_that_the_server_never_answers_ends_with_an_honest_unknown(
    pooler: Pooler, server: PostgresServer
) -> None:
    """A deferred constraint makes COMMIT itself take its time, so that it can be killed in the midst of it."""
    server.run_as_owner(
        "CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(60); RETURN NULL; END$$; "
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON diary DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    address = pooler.address
    session = (await ask(address, "db_begin"))["session"]
    await ask(address, "note", session=session, note="perhaps")
    commit = asyncio.ensure_future(refused(address, "db_commit", session=session))
    await seen(1, server.sleeping)
    assert (await refused(address, "note", session=session, note="at once"))[0] == "ABORTED SESSION_IN_USE"
    killed = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    assert await asyncio.to_thread(server.ask, killed) == 1
    assert (await commit)[0] == "UNKNOWN OUTCOME_UNKNOWN"
    assert "nobody knows whether it took effect" in (await refused(address, "db_commit", session=session))[1]


@pytest.mark.promise(20)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_with_its_pooler_a_transaction_is_gone_and_its_handle_says_so_to_the_next_one(
    server: PostgresServer | MariadbServer, tmp_path: Path, number: signal.Signals
) -> None:
    given = {**config(server), "pooler": {"drain_grace_seconds": 1}}
    with Pooler(tmp_path, given) as before:
        session = (await ask(before.address, "db_begin"))["session"]
        await ask(before.address, "note", session=session, note="never")
        before.signal(number)
        await asyncio.to_thread(before.process.wait, 30)
    with Pooler(tmp_path, given) as after:
        reason, sentence = await refused(after.address, "note", session=session, note="beside")
        assert reason == "UNAVAILABLE HANDLE_LOST"
        assert "what it had not committed is rolled back" in sentence
        # The killed one's connection may hold its row's lock until the server has seen that its client is gone.
        assert await ask(after.address, "note", note="never") == {"rows_affected": 1}
        assert await notes(after.address) == 1
    await seen(0, server.connections)


@pytest.mark.promise(4, 20)
async def test_a_dba_sees_who_has_a_session_counts_it_in_the_cap_and_can_end_it(
    pooler: Pooler, server: PostgresServer | MariadbServer
) -> None:
    address = pooler.address
    async with at(address) as dba, wire.stub(address) as stub:
        request = wire.request("db_begin")
        request.context.principal = "assistant"
        session = orjson.loads((await stub.Call(request)).result)["session"]
        (own,) = [each for each in await dba.connections("db") if each.calls]
        assert (own.calls[0].principal, own.calls[0].operation) == ("assistant", "db_begin")
        await dba.order("KillConnection", "db", number=own.number)
        commit = wire.request("db_commit", session=session)
        commit.context.principal = "assistant"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Call(commit)
        assert reason_of(caught.value) == "NOT_FOUND HANDLE_EXPIRED"
        assert "was ended by an administrator and rolled back" in (caught.value.details() or "")
        await dba.until("db", lambda state: not state.in_use + state.draining + state.closing)
        assert server.connections() <= CAP


@pytest.mark.promise(20)
@ON_POSTGRES
async def test_a_transaction_goes_on_through_another_frontend_when_one_is_killed_in_the_midst_of_it(
    pooler: Pooler, server: PostgresServer
) -> None:
    frontends = [Frontend(pooler.address) for _ in range(3)]
    try:
        begun = await asyncio.to_thread(call_tool, frontends[0].url, "db_begin", {})
        session = begun["structuredContent"]["session"]
        await asyncio.to_thread(call_tool, frontends[1].url, "note", {"session": session, "note": "one"})
        frontends[1].kill()
        await asyncio.to_thread(call_tool, frontends[2].url, "note", {"session": session, "note": "two"})
        done = await asyncio.to_thread(call_tool, frontends[0].url, "db_commit", {"session": session})
        assert done["structuredContent"] == {"committed": True}
    finally:
        for frontend in frontends:
            frontend.stop()
    assert await notes(pooler.address) == 2
