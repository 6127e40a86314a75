"""Runs over a real channel: followed, left, found again, answered and cancelled, each by streams of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import orjson
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from tests.interaction import wire
from tests.interaction.line import SIMULATED, Line, eventually

pytestmark = pytest.mark.anyio

FORM = b'{"elicitation":{}}'
OPERATIONS = {
    **SIMULATED["operations"],
    "report": {
        "backend": "sim",
        "method": "report",
        "arguments": {"steps": {"type": "integer"}, "seconds": {"type": "number"}},
        "effect": "read",
        "long": True,
    },
    "ask": {
        "backend": "sim",
        "method": "ask",
        "arguments": {"question": {"type": "string"}},
        "effect": "read",
        "asks": True,
    },
    "few_rows": {**SIMULATED["operations"]["rows"], "page_rows": 3, "paged": True},
    "erase": {
        "backend": "sim",
        "method": "write",
        "arguments": {"count": {"type": "integer"}},
        "effect": "write",
        "confirm": "Erase {count} orders?",
        "long_after_seconds": 1.5,
    },
}


@pytest.fixture
async def pooler(bare_line: Line) -> Line:
    await bare_line.start_pooler({**SIMULATED, "operations": OPERATIONS})
    await eventually(lambda: bare_line.system().counts().open == 1)
    return bare_line


@asynccontextmanager
async def stub(line: Line) -> AsyncIterator[Any]:
    async with wire.stub(line.pooler.address) as opened:
        yield opened


def request(operation: str, *, principal: str = "", capable: bool = True, **arguments: Any) -> pb.CallRequest:
    call = wire.request(operation, 20_000, **arguments)
    call.context.principal = principal
    if capable:
        call.context.client_capabilities = FORM
    return call


def run_request(operation: str, **given: Any) -> pb.RunRequest:
    """A run; what is meant for the run itself is written in capitals."""
    terms = {key.lower(): value for key, value in given.items() if key.isupper()}
    return pb.RunRequest(
        call=request(operation, **{key: value for key, value in given.items() if not key.isupper()}), **terms
    )


def of(handle: str, principal: str = "") -> dict[str, Any]:
    return {"context": pb.CallContext(timeout_ms=5_000, principal=principal), "run": handle}


async def read(stream: Any, kind: str) -> list[pb.RunEvent]:
    """The next events up to the first of a kind."""
    events: list[pb.RunEvent] = []
    while not events or events[-1].WhichOneof("event") != kind:
        event = await stream.read()
        assert event is not grpc.aio.EOF, f"the stream ended before {kind}, after {events}"
        events.append(event)
    return events


async def whole(stream: Any) -> None:
    """Reads a stream to its end."""
    while await stream.read() is not grpc.aio.EOF:
        pass


async def reason(call: Any) -> str:
    """Why a call or a stream fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (whole(call) if hasattr(call, "read") else call)
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return f"{caught.value.code().name} {info.reason}"


def kinds(events: list[pb.RunEvent]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events]


async def test_a_run_tells_what_happens_to_it_and_ends_with_its_page(pooler: Line) -> None:
    async with stub(pooler) as client:
        events = await read(client.Run(run_request("report", steps=3, seconds=0.6, NOTE=b"mine")), "done")
    assert kinds(events) == ["accepted", "working", *["progress"] * 3, "log", "page", "done"]
    assert [event.seq for event in events] == list(range(1, 9))
    assert events[0].accepted.note == b"mine"
    assert [event.progress.progress for event in events[2:5]] == [1, 2, 3]
    assert events[5].log.level == "info"
    assert events[-2].page.reply.result == b'{"result":"3 steps"}'
    assert not events[-1].done.HasField("error")
    assert events[-1].done.timing.backend_us >= 599_000  # a loop counts in whole milliseconds, and may be early by one


@pytest.mark.promise(6)
async def test_a_broken_stream_cancels_a_run_without_grace_at_once(pooler: Line) -> None:
    async with stub(pooler) as client:
        stream = client.Run(run_request("work", seconds=60))
        (accepted,) = await read(stream, "accepted")
        await eventually(lambda: pooler.system().counts().busy == 1)
        stream.cancel()
        await eventually(lambda: pooler.system().counts().busy == 0)
        assert await reason(client.GetRun(pb.GetRunRequest(**of(accepted.accepted.run)))) == "NOT_FOUND HANDLE_EXPIRED"


async def test_a_run_with_grace_is_found_again_and_every_event_is_heard_once(pooler: Line) -> None:
    async with stub(pooler) as client:
        stream = client.Run(run_request("report", steps=20, seconds=2, DETACH_GRACE_MS=10_000))
        heard = await read(stream, "progress")
        stream.cancel()
    async with stub(pooler) as other:
        handle = heard[0].accepted.run
        again = other.Attach(pb.AttachRequest(**of(handle), after=heard[-1].seq))
        heard += await read(again, "done")
        whole = await read(other.Attach(pb.AttachRequest(**of(handle))), "done")
        state = await other.GetRun(pb.GetRunRequest(**of(handle)))
    assert [event.seq for event in heard] == list(range(1, len(heard) + 1))
    assert whole == heard
    assert (state.status, state.operation) == (pb.RUN_STATUS_COMPLETED, "report")
    assert state.reply.result == b'{"result":"20 steps"}'
    assert 0 < state.created_ms <= state.updated_ms
    assert state.keep_ms == 300_000


async def test_a_run_that_nobody_follows_goes_on_and_can_be_cancelled_by_its_handle(pooler: Line) -> None:
    async with stub(pooler) as client:
        stream = client.Run(run_request("work", seconds=60, DETACH_GRACE_MS=-1))
        (accepted,) = await read(stream, "accepted")
        stream.cancel()
        await eventually(lambda: pooler.system().counts().busy == 1)
        handle = accepted.accepted.run
        assert (await client.GetRun(pb.GetRunRequest(**of(handle)))).status == pb.RUN_STATUS_WORKING
        await client.CancelRun(pb.CancelRunRequest(**of(handle)))
        await eventually(lambda: pooler.system().counts().busy == 0)
        *_, done = await read(client.Attach(pb.AttachRequest(**of(handle))), "done")
        assert done.done.error.reason == pb.REASON_CANCELLED
        state = await client.CancelRun(pb.CancelRunRequest(**of(handle)))  # again, and harmless
        assert (state.status, state.error.reason) == (pb.RUN_STATUS_CANCELLED, pb.REASON_CANCELLED)


@pytest.mark.parametrize("ask", ["GetRun", "CancelRun", "AnswerRun", "Attach"])
async def test_a_run_is_nobodys_but_its_callers(pooler: Line, ask: str) -> None:
    messages = {"GetRun": pb.GetRunRequest, "CancelRun": pb.CancelRunRequest}
    message = messages.get(ask, pb.AnswerRunRequest if ask == "AnswerRun" else pb.AttachRequest)
    async with stub(pooler) as client:
        stream = client.Run(run_request("work", principal="ann", seconds=60))
        (accepted,) = await read(stream, "accepted")
        handle = accepted.accepted.run
        call = getattr(client, ask)
        assert await reason(call(message(**of(handle, "bob")))) == "NOT_FOUND HANDLE_UNKNOWN"
        assert await reason(call(message(**of("run.x.y", "ann")))) == "UNAVAILABLE HANDLE_LOST"
        assert await reason(call(message(**of("nonsense", "ann")))) == "NOT_FOUND HANDLE_UNKNOWN"
        assert pooler.system().counts().busy == 1
        stream.cancel()


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_request("nothing"), "NOT_FOUND OPERATION_NOT_FOUND"),
        (run_request("report", steps="many"), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
        (run_request("work", seconds=1, DETACH_GRACE_MS=-2), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
        (run_request("work", seconds=1, KEEP_MS=-1), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
        (run_request("work", seconds=1, NOTE=bytes(20_000)), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
    ],
)
async def test_a_run_that_cannot_begin_fails_like_a_call(pooler: Line, run: pb.RunRequest, expected: str) -> None:
    async with stub(pooler) as client:
        assert await reason(client.Run(run)) == expected
    assert pooler.pooler._dispatcher.under_way == 0


async def test_the_rest_of_a_runs_result_is_fetched_when_the_run_is_over(pooler: Line) -> None:
    async with stub(pooler) as client:
        events = await read(client.Run(run_request("few_rows", count=5)), "done")
        page = orjson.loads(events[-2].page.reply.result)
        rest = await client.FetchPage(
            pb.FetchPageRequest(context=pb.CallContext(timeout_ms=5_000), cursor=page["next_cursor"])
        )
    rows = page["rows"] + orjson.loads(rest.result)["rows"]
    assert [number for number, _ in rows] == [0, 1, 2, 3, 4]


async def test_an_error_of_the_backend_is_a_runs_last_event(pooler: Line) -> None:
    async with stub(pooler) as client:
        events = await read(client.Run(run_request("wrong", DETACH_GRACE_MS=-1)), "done")
        state = await client.GetRun(pb.GetRunRequest(**of(events[0].accepted.run)))
    assert events[-1].done.error.reason == pb.REASON_REFUSED
    assert (state.status, state.error.reason) == (pb.RUN_STATUS_FAILED, pb.REASON_REFUSED)
    assert state.message == state.error.message


async def test_a_run_waits_for_its_user_and_goes_on_with_his_answer(pooler: Line) -> None:
    async with stub(pooler) as client:
        stream = client.Run(run_request("ask", question="Really?", AWAIT_INPUT=True))
        events = await read(stream, "input_required")
        handle = events[0].accepted.run
        state = await client.GetRun(pb.GetRunRequest(**of(handle)))
        assert state.status == pb.RUN_STATUS_INPUT_REQUIRED
        assert state.input_requests == events[-1].input_required.input_requests
        assert orjson.loads(state.input_requests)["answer"]["params"]["message"] == "Really?"
        assert pooler.system().counts().busy == 0
        assert await reason(client.AnswerRun(pb.AnswerRunRequest(**of(handle), input_responses=b"[]"))) == (
            "INVALID_ARGUMENT INVALID_ARGUMENTS"
        )
        said = orjson.dumps({"answer": {"action": "accept", "content": {}}, "more": {}})
        state = await client.AnswerRun(pb.AnswerRunRequest(**of(handle), input_responses=said))
        assert state.status == pb.RUN_STATUS_WORKING
        events += await read(stream, "done")
    assert orjson.loads(events[-2].page.reply.result)["said"] == {"action": "accept", "content": {}}


async def test_a_call_that_asks_is_repeated_with_the_answer_by_either_way(pooler: Line) -> None:
    async with stub(pooler) as client, wire.stream(pooler.pooler.address) as stream:
        for repeat in (1, 2):
            asked = await client.Call(request("erase", count=repeat))
            assert asked.kind == pb.RESULT_KIND_INPUT_REQUIRED
            body = orjson.loads(asked.result)
            assert body["inputRequests"]["confirm"]["params"]["message"] == f"Erase {repeat} orders?"
            again = request("erase", count=repeat)
            again.request_state = body["requestState"]
            again.input_responses = b'{"confirm":{"action":"accept"}}'
            if repeat == 1:
                assert (await client.Call(again)).result == b'{"rows_affected":1}'
            else:
                await stream.send(pb.ClientFrame(call=pb.ExchangeCall(id=1, request=again)))
                assert (await stream.head()).result == b'{"rows_affected":2}'
            assert await reason(client.Call(again)) == "NOT_FOUND HANDLE_EXPIRED"
            again.request_state += "-TAMPERED"
            assert await reason(client.Call(again)) == "NOT_FOUND HANDLE_UNKNOWN"


async def test_a_call_on_an_exchange_is_answered_with_what_to_ask(pooler: Line) -> None:
    async with wire.stream(pooler.pooler.address) as stream:
        await stream.send(pb.ClientFrame(call=pb.ExchangeCall(id=1, request=request("ask", question="?"))))
        head = await stream.head()
    assert head.kind == pb.RESULT_KIND_INPUT_REQUIRED
    assert orjson.loads(head.result).keys() == {"inputRequests", "requestState"}


@pytest.mark.parametrize("operation", ["ask", "erase"])
async def test_a_client_that_cannot_be_asked_is_told_which_capability_it_lacks(pooler: Line, operation: str) -> None:
    call = request(operation, capable=False, **({"question": "?"} if operation == "ask" else {"count": 1}))
    async with stub(pooler) as client:
        assert await reason(client.Call(call)) == "FAILED_PRECONDITION INPUT_UNAVAILABLE"


async def test_the_catalogue_says_what_asks_and_what_is_long(pooler: Line) -> None:
    async with stub(pooler) as client:
        catalogue = await client.GetCatalogue(pb.GetCatalogueRequest())
    said = {each.name: (each.asks, each.long, each.long_after_ms) for each in catalogue.operations}
    assert [said[name] for name in ("ask", "erase", "report", "echo")] == [
        (True, False, 0),
        (True, True, 1500),
        (False, True, 0),
        (False, False, 0),
    ]


async def test_a_pooler_that_stops_ends_the_runs_that_wait_for_their_users(pooler: Line) -> None:
    async with stub(pooler) as client:
        stream = client.Run(run_request("ask", question="?", AWAIT_INPUT=True, DETACH_GRACE_MS=-1))
        await read(stream, "input_required")
        await pooler.stop_pooler()
        (done,) = await read(stream, "done")
    assert done.done.error.reason == pb.REASON_DRAINING
