"""The pooler's gRPC edge, over a real channel: what it takes, what it refuses, and what stops when a caller leaves."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from protos.penstock.v1 import pooler_pb2 as pb
from protos.penstock.v1 import pooler_pb2_grpc
from tests.interaction import wire
from tests.interaction.line import SIMULATED, Line, eventually

pytestmark = pytest.mark.anyio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def pooler(bare_line: Line) -> Line:
    await bare_line.start_pooler()
    await eventually(lambda: bare_line.system().counts().open == 1)  # its first proof of the backend
    return bare_line


async def failure(
    stub: "pooler_pb2_grpc.PoolerServiceAsyncStub", request: pb.CallRequest
) -> tuple[str, dict[str, str]]:
    """How a call fails: its status and reason, and the reason's metadata."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Call(request)
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "penstock"
    return f"{caught.value.code().name} {info.reason}", dict(info.metadata)


async def test_a_call_is_answered_with_its_result_and_where_its_time_went(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        reply = await stub.Call(wire.request("work", seconds=0.02))
    assert (reply.kind, reply.result) == (pb.RESULT_KIND_VALUE, b'{"result":"done"}')
    assert reply.timing.backend_us >= 20_000


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (wire.request("echo", timeout_ms=0, value="x"), "INVALID_ARGUMENT DEADLINE_REQUIRED"),
        (wire.request("echo", timeout_ms=-1, value="x"), "INVALID_ARGUMENT DEADLINE_REQUIRED"),
        (wire.request("echo", timeout_ms=86_400_001, value="x"), "INVALID_ARGUMENT DEADLINE_REQUIRED"),
        (pb.CallRequest(operation="echo", arguments=b'{"value": "x"}'), "INVALID_ARGUMENT DEADLINE_REQUIRED"),
        (wire.request("nothing"), "NOT_FOUND OPERATION_NOT_FOUND"),
        (wire.request("echo"), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
        (wire.request("echo", value=1), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
        (wire.request("echo", value="x", other=1), "INVALID_ARGUMENT INVALID_ARGUMENTS"),
        (
            pb.CallRequest(context=pb.CallContext(timeout_ms=1000), operation="echo", arguments=b"{"),
            "INVALID_ARGUMENT INVALID_ARGUMENTS",
        ),
        (
            pb.CallRequest(context=pb.CallContext(timeout_ms=1000), operation="echo", arguments=b"[1]"),
            "INVALID_ARGUMENT INVALID_ARGUMENTS",
        ),
        (
            pb.CallRequest(context=pb.CallContext(timeout_ms=1000, tenant="x" * 300), operation="motto"),
            "INVALID_ARGUMENT INVALID_ARGUMENTS",
        ),
        (wire.request("wrong"), "FAILED_PRECONDITION REFUSED"),
    ],
)
async def test_a_bad_call_is_told_what_was_wrong(pooler: Line, request_: pb.CallRequest, expected: str) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        assert (await failure(stub, request_))[0] == expected


async def test_a_call_that_was_slow_says_so_apart_from_one_that_waited(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        slow, spent = await failure(stub, wire.request("work", timeout_ms=100, seconds=30))
        assert slow == "DEADLINE_EXCEEDED WORK_TIMEOUT"
        assert int(spent["backend_us"]) > 50_000
        hogs = [asyncio.ensure_future(stub.Call(wire.request("work", seconds=30))) for _ in range(2)]
        await eventually(lambda: pooler.system().counts().busy == 2)
        waited, spent = await failure(stub, wire.request("echo", timeout_ms=100, value="x"))
        assert waited == "DEADLINE_EXCEEDED QUEUE_TIMEOUT"
        assert int(spent["queue_us"]) > 50_000
        assert int(spent["backend_us"]) == 0
        for hog in hogs:
            hog.cancel()


@pytest.mark.promise(23)
async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(bare_line: Line) -> None:
    small = {**SIMULATED, "backends": {"sim": {"kind": "simulated", "pool": {"cap": 1, "queue_max": 1}}}}
    await bare_line.start_pooler(small)
    async with wire.stub(bare_line.pooler.address) as stub:
        calls = [asyncio.ensure_future(stub.Call(wire.request("work", seconds=30))) for _ in range(2)]
        await eventually(lambda: bare_line.system().counts().busy == 1)
        await eventually(lambda: len(bare_line.pooler._drivers["sim"].pool.queue) == 1)
        refused, hint = await failure(stub, wire.request("echo", value="x"))
        assert refused == "RESOURCE_EXHAUSTED QUEUE_FULL"
        assert int(hint["retry_after_ms"]) > 0
        for each in calls:
            each.cancel()


async def test_a_caller_that_leaves_stops_the_work_and_frees_the_connection(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        left = stub.Call(wire.request("work", seconds=60))
        await eventually(lambda: pooler.system().counts().busy == 1)
        left.cancel()
        await eventually(lambda: pooler.system().counts().busy == 0)
        assert (await stub.Call(wire.request("echo", value="next"))).result == b'{"result":"next"}'


@pytest.mark.promise(6)
async def test_a_caller_that_leaves_while_queued_starts_no_work(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub:
        hogs = [asyncio.ensure_future(stub.Call(wire.request("work", seconds=60))) for _ in range(2)]
        await eventually(lambda: pooler.system().counts().busy == 2)
        before = pooler.system().requests_total
        queued = stub.Call(wire.request("echo", value="never"))
        queue = pooler.pooler._drivers["sim"].pool.queue
        await eventually(lambda: len(queue) == 1)
        queued.cancel()
        await eventually(lambda: len(queue) == 0)
        for hog in hogs:
            hog.cancel()
        await eventually(lambda: pooler.system().counts().busy == 0)
        assert pooler.system().requests_total == before


async def test_a_reload_reaches_whoever_watches_the_catalogue(pooler: Line) -> None:
    async with wire.stub(pooler.pooler.address) as stub, asyncio.timeout(20):
        watch = stub.WatchCatalogue(pb.WatchCatalogueRequest())
        first = await watch.read()
        assert isinstance(first, pb.Catalogue)
        assert [each.name for each in first.operations] == sorted(SIMULATED["operations"])
        fewer = {name: SIMULATED["operations"][name] for name in ("echo", "work")}
        await pooler.reload({"operations": fewer})
        second = await watch.read()
        assert isinstance(second, pb.Catalogue)
        assert [each.name for each in second.operations] == ["echo", "work"]
        assert second.revision != first.revision
        assert (await stub.GetCatalogue(pb.GetCatalogueRequest())).revision == second.revision


async def test_a_reload_closes_no_connection_of_a_backend_that_did_not_change(pooler: Line) -> None:
    await pooler.reload({"operations": {"echo": SIMULATED["operations"]["echo"]}})
    async with wire.stub(pooler.pooler.address) as stub:
        await stub.Call(wire.request("echo", value="still here"))
        assert (await failure(stub, wire.request("work", seconds=0)))[0] == "NOT_FOUND OPERATION_NOT_FOUND"
    assert pooler.system().logins_total == 1


async def health(channel: grpc.aio.Channel, service: str) -> Any:
    check: Any = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # absent from the stubs
    return (await check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.mark.promise(40)
async def test_health_tells_each_backend_from_the_pooler_itself(bare_line: Line) -> None:
    down = {"kind": "simulated", "refuse": "closed for the night", "pool": {"cap": 1}}
    operations = {**SIMULATED["operations"], "lost": {"backend": "down", "method": "wrong", "effect": "read"}}
    await bare_line.start_pooler({"backends": {**SIMULATED["backends"], "down": down}, "operations": operations})
    async with grpc.aio.insecure_channel(bare_line.pooler.address) as channel:
        await eventually(lambda: bare_line.system().counts().open == 1)
        stub = pooler_pb2_grpc.PoolerServiceStub(channel)
        assert (await stub.Call(wire.request("echo", value="x"))).result == b'{"result":"x"}'
        assert [await health(channel, name) for name in ("", "sim", "down")] == [SERVING, SERVING, NOT_SERVING]
        with pytest.raises(grpc.aio.AioRpcError, match="closed for the night"):
            await stub.Call(wire.request("lost"))
        bare_line.system("down").behave(refuse=None)
        async with asyncio.timeout(20):
            watching: Any = health_pb2_grpc.HealthStub(channel).Watch  # type: ignore[attr-defined]  # as above
            watch = watching(health_pb2.HealthCheckRequest(service="down"))
            while True:
                seen = await watch.read()
                assert isinstance(seen, health_pb2.HealthCheckResponse)
                if seen.status == SERVING:
                    break


async def test_reflection_names_the_services(pooler: Line) -> None:
    async with grpc.aio.insecure_channel(pooler.pooler.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]  # it takes either
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        names = {service.name for service in answer.list_services_response.service}
    assert {"penstock.v1.PoolerService", "penstock.v1.AdminService", "grpc.health.v1.Health"} <= names
