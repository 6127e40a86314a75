"""Sessions over gRPC and through a frontend: any channel and any instance goes on with one, and none goes beside it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest

from protos.penstock.v1 import pooler_pb2 as pb
from tests.contract import worker
from tests.interaction import wire
from tests.interaction.line import SIMULATED, Line, eventually
from tests.real.dba import reason_of

pytestmark = pytest.mark.anyio

WITH_SESSIONS: dict[str, Any] = {
    **SIMULATED,
    "backends": {
        "sim": {
            "kind": "simulated",
            "pool": {"cap": 3, "queue_timeout_seconds": 5},
            "sessions": {"max": 2, "idle_seconds": 30},
        },
        "other": {"kind": "simulated", "pool": {"cap": 1}, "sessions": True},
        "pinned": {"kind": "simulated", "pool": {"cap": 2}, "pin": "principal"},
    },
    "operations": {
        **SIMULATED["operations"],
        "put": {"backend": "sim", "method": "put", "arguments": {"value": {"type": "string"}}, "effect": "write"},
        "count": {"backend": "sim", "method": "count", "arguments": {"value": {"type": "string"}}, "effect": "read"},
        "few_rows": {
            "backend": "sim",
            "method": "rows",
            "arguments": {"count": {"type": "integer"}},
            "effect": "read",
            "paged": True,
            "page_rows": 10,
        },
        "echo_elsewhere": {
            "backend": "other",
            "method": "echo",
            "arguments": {"value": {"type": "string"}},
            "effect": "read",
        },
        "leave": {
            "backend": "pinned",
            "method": "leave_trace",
            "arguments": {"value": {"type": "string"}},
            "effect": "write",
        },
        "see": {"backend": "pinned", "method": "see_trace", "effect": "read"},
    },
}


@pytest.fixture
async def pooler(bare_line: Line) -> Line:
    await bare_line.start_pooler(WITH_SESSIONS)
    await eventually(lambda: bare_line.system().counts().open == 1)
    return bare_line


def as_(request: pb.CallRequest, principal: str = "ann", conversation: str = "") -> pb.CallRequest:
    """The same call by a principal, and in a conversation if one is named."""
    request.context.principal, request.context.conversation = principal, conversation
    return request


async def ask(line: Line, operation: str, *, principal: str = "ann", conversation: str = "", **arguments: Any) -> Any:
    """The result of a call over a channel of its own, as a frontend that has just started would make it."""
    async with wire.stub(line.pooler.address) as stub:
        reply = await stub.Call(as_(wire.request(operation, **arguments), principal, conversation))
    return orjson.loads(reply.result)


async def refused(line: Line, operation: str, **arguments: Any) -> str:
    """How such a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(line, operation, **arguments)
    return reason_of(caught.value)


def context(principal: str = "ann") -> pb.CallContext:
    return pb.CallContext(principal=principal, timeout_ms=10_000)


@pytest.mark.promise(20)
async def test_three_calls_over_three_channels_are_one_transaction(pooler: Line) -> None:
    begun = await ask(pooler, "sim_begin")
    assert (begun["idle_seconds"], begun["lifetime_seconds"]) == (30.0, 300.0)
    session = begun["session"]
    assert await ask(pooler, "put", session=session, value="x") == {"rows_affected": 1}
    assert await ask(pooler, "count", session=session, value="x") == {"result": 1}
    assert await ask(pooler, "count", value="x") == {"result": 0}
    assert await ask(pooler, "sim_commit", session=session) == {"committed": True}
    assert await ask(pooler, "count", value="x") == {"result": 1}
    assert await refused(pooler, "put", session=session, value="x") == "NOT_FOUND HANDLE_EXPIRED"


async def test_the_rpcs_and_the_operations_begin_and_end_the_same_sessions(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        opened = await stub.OpenSession(pb.OpenSessionRequest(context=context(), backend="sim"))
        assert (opened.idle_ms, opened.lifetime_ms) == (30_000, 300_000)
        await ask(pooler, "put", session=opened.session, value="x")
        await stub.CloseSession(pb.CloseSessionRequest(context=context(), session=opened.session, commit=True))
        assert await ask(pooler, "count", value="x") == {"result": 1}
        begun = await ask(pooler, "sim_begin")
        await ask(pooler, "put", session=begun["session"], value="x")
        await stub.CloseSession(pb.CloseSessionRequest(context=context(), session=begun["session"]))
        assert await ask(pooler, "count", value="x") == {"result": 1}
        for call, reason in (
            (stub.OpenSession(pb.OpenSessionRequest(context=context(), backend="pinned")), "OPERATION_NOT_FOUND"),
            (stub.OpenSession(pb.OpenSessionRequest(context=context(), backend="nobody")), "OPERATION_NOT_FOUND"),
            (stub.CloseSession(pb.CloseSessionRequest(context=context(), session=opened.session)), "HANDLE_EXPIRED"),
            (stub.CloseSession(pb.CloseSessionRequest(context=context(), session="session.x.y")), "HANDLE_LOST"),
            (stub.CloseSession(pb.CloseSessionRequest(context=context(), session="x")), "HANDLE_UNKNOWN"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert reason_of(caught.value).split()[1] == reason


@pytest.mark.promise(20)
async def test_nobody_elses_handle_is_taken_and_two_calls_at_once_are_not_either(pooler: Line) -> None:
    session = (await ask(pooler, "sim_begin"))["session"]
    assert await refused(pooler, "put", principal="bob", session=session, value="x") == "NOT_FOUND HANDLE_UNKNOWN"
    assert await refused(pooler, "echo_elsewhere", session=session, value="x") == "INVALID_ARGUMENT INVALID_ARGUMENTS"
    assert await refused(pooler, "sim_commit") == "INVALID_ARGUMENT INVALID_ARGUMENTS"
    assert await refused(pooler, "see", session=session) == "INVALID_ARGUMENT INVALID_ARGUMENTS"
    first = asyncio.ensure_future(ask(pooler, "work", session=session, seconds=0.5))
    await eventually(lambda: pooler.system().counts().busy == 1)
    assert await refused(pooler, "put", session=session, value="x") == "ABORTED SESSION_IN_USE"
    assert await first == {"result": "done"}


async def test_a_caller_that_disconnects_stops_its_call_and_leaves_the_session_to_be_rolled_back(pooler: Line) -> None:
    session = (await ask(pooler, "sim_begin"))["session"]
    async with wire.stream(pooler.pooler.address) as stream:
        frame = wire.call(1, "work", session=session, seconds=60)
        frame.call.request.context.principal = "ann"
        await stream.send(frame)
        await eventually(lambda: pooler.system().counts().busy == 1)
        stream.leave()
    await eventually(lambda: pooler.system().counts().busy == 0)
    assert await refused(pooler, "put", session=session, value="x") == "FAILED_PRECONDITION REFUSED"
    assert await ask(pooler, "sim_rollback", session=session) == {"rolled_back": True}


async def test_one_session_too_many_is_refused_with_a_hint(pooler: Line) -> None:
    sessions = [(await ask(pooler, "sim_begin"))["session"] for _ in range(2)]
    assert await refused(pooler, "sim_begin") == "RESOURCE_EXHAUSTED TOO_MANY_SESSIONS"
    await ask(pooler, "sim_rollback", session=sessions[0])
    assert (await ask(pooler, "sim_begin"))["session"] not in sessions


async def test_a_page_behind_the_first_one_is_read_before_the_next_call_in_the_session(pooler: Line) -> None:
    session = (await ask(pooler, "sim_begin"))["session"]
    first = await ask(pooler, "few_rows", session=session, count=35)
    assert first["row_count"] == 10
    assert await ask(pooler, "put", session=session, value="x") == {"rows_affected": 1}
    rows, cursor = list(first["rows"]), first["next_cursor"]
    await ask(pooler, "sim_commit", session=session)
    while cursor:
        page = await ask(pooler, "few_rows", session=session, count=35, cursor=cursor)
        rows += page["rows"]
        cursor = page.get("next_cursor")
    assert [number for number, _ in rows] == list(range(35))


async def test_a_session_ends_with_its_conversation(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        opened = await stub.OpenConversation(pb.OpenConversationRequest(context=context()))
        begun = await ask(pooler, "sim_begin", conversation=opened.conversation)
        await ask(pooler, "put", conversation=opened.conversation, session=begun["session"], value="x")
        await stub.CloseConversation(pb.CloseConversationRequest(context=context(), conversation=opened.conversation))
    assert await refused(pooler, "put", session=begun["session"], value="x") == "NOT_FOUND HANDLE_EXPIRED"
    assert await ask(pooler, "count", value="x") == {"result": 0}
    await eventually(lambda: pooler.system().counts().busy == 0)


@pytest.mark.promise(31)
async def test_a_pooler_that_stops_lets_a_transaction_come_to_its_end_and_begins_no_new_one(pooler: Line) -> None:
    session = (await ask(pooler, "sim_begin"))["session"]
    kept = pooler.system().ledger.kept
    await ask(pooler, "put", session=session, value="x")
    stopping = asyncio.ensure_future(pooler.pooler.stop())
    await eventually(lambda: pooler.pooler._dispatcher.draining)
    assert await refused(pooler, "sim_begin") == "UNAVAILABLE DRAINING"
    assert await refused(pooler, "put", value="y") == "UNAVAILABLE DRAINING"
    assert await ask(pooler, "put", session=session, value="y") == {"rows_affected": 1}
    assert await ask(pooler, "sim_commit", session=session) == {"committed": True}
    await stopping
    assert kept == ["x", "y"]
    await pooler.start_pooler(WITH_SESSIONS)
    assert await refused(pooler, "put", session=session, value="x") == "UNAVAILABLE HANDLE_LOST"


async def test_a_pinned_caller_finds_what_he_left_and_nobody_else_does(pooler: Line) -> None:
    await ask(pooler, "leave", value="x")
    assert await ask(pooler, "see", principal="bob") == {"result": None}
    assert await ask(pooler, "see") == {"result": "x"}


async def test_a_worker_process_without_transactions_is_kept_for_its_caller_and_given_back_clean(
    bare_line: Line, tmp_path: Path
) -> None:
    ours = {"backend": "worker", "effect": "read"}
    value = {"value": {"type": "string"}}
    await bare_line.start_pooler(
        {
            "backends": {
                "worker": {
                    "kind": "process",
                    "command": [sys.executable, worker.__file__, str(tmp_path), "--declare", "cancel,reset"],
                    "pool": {"cap": 2},
                    "sessions": {"max": 1},
                }
            },
            "operations": {
                "leave": {**ours, "method": "leave_trace", "arguments": value, "effect": "write"},
                "see": {**ours, "method": "see_trace"},
                "slow": {**ours, "method": "slow", "arguments": {"seconds": {"type": "number"}}},
            },
        }
    )
    session = (await ask(bare_line, "worker_open"))["session"]
    await ask(bare_line, "leave", session=session, value="x")
    assert (await ask(bare_line, "see", session=session), await ask(bare_line, "see")) == (
        {"result": "x"},
        {"result": None},
    )
    assert await refused(bare_line, "slow", timeout_ms=300, session=session, seconds=60) == (
        "DEADLINE_EXCEEDED WORK_TIMEOUT"
    )
    assert await ask(bare_line, "see", session=session) == {"result": "x"}  # there is no transaction that could fail
    assert await ask(bare_line, "worker_close", session=session) == {"closed": True}
    assert [await ask(bare_line, "see") for _ in range(3)] == [{"result": None}] * 3


async def test_an_mcp_client_sees_the_tools_of_sessions_and_uses_them_through_a_frontend(
    pooler: Line, era: str
) -> None:
    await pooler.start_frontend()
    async with pooler.client(era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"sim_begin", "sim_commit", "sim_rollback", "other_begin"} <= tools.keys()
        assert "pinned_open" not in tools
        assert "session" in tools["put"].input_schema["properties"]
        begun = await client.call_tool("sim_begin", {})
        session = (begun.structured_content or {})["session"]
        await client.call_tool("put", {"value": era, "session": session})
        committed = await client.call_tool("sim_commit", {"session": session})
        assert committed.structured_content == {"committed": True}
        late = await client.call_tool("put", {"value": era, "session": session})
        assert late.is_error
        assert "was committed. Nothing was done now; sim_begin begins another one." in late.content[0].text
    assert pooler.system().ledger.kept == [era]


async def test_a_reload_that_takes_sessions_away_ends_nothing_and_begins_nothing(pooler: Line) -> None:
    session = (await ask(pooler, "sim_begin"))["session"]
    await ask(pooler, "put", session=session, value="x")
    backends = {**WITH_SESSIONS["backends"], "sim": {"kind": "simulated", "pool": {"cap": 3}}}
    await pooler.reload({**WITH_SESSIONS, "backends": backends})
    assert await refused(pooler, "sim_begin") == "NOT_FOUND OPERATION_NOT_FOUND"
    assert await refused(pooler, "put", session=session, value="x") == "INVALID_ARGUMENT INVALID_ARGUMENTS"
    await pooler.reload(WITH_SESSIONS)
    assert await ask(pooler, "sim_commit", session=session) == {"committed": True}
    assert await ask(pooler, "count", value="x") == {"result": 1}
