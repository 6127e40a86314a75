"""Programs and servers that die in mid-call: what stops, what the caller hears, and what heals."""

import asyncio
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos.penstock.v1 import admin_pb2, admin_pb2_grpc, pooler_pb2_grpc
from tests.interaction import wire
from tests.programs import Frontend, Pooler
from tests.real import loop
from tests.real.mcp_http import VERSION, call_tool
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

PATIENCE_SECONDS = 20.0
CAP = 3


def eventually(expected: object, measure: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until a measurement comes out as expected; fails with the last one when it never does."""
    deadline = time.monotonic() + seconds
    while (seen := measure()) != expected:
        assert time.monotonic() < deadline, f"expected {expected!r}, still {seen!r}"
        time.sleep(0.02)


def backend_of(pooler: Pooler, name: str = "db") -> admin_pb2.Backend:
    with grpc.insecure_channel(pooler.address) as channel:
        reply = admin_pb2_grpc.AdminServiceStub(channel).ListBackends(admin_pb2.ListBackendsRequest())
    return next(backend for backend in reply.backends if backend.name == name)


def sql(kind: str, url: str, nap: str, cap: int = CAP) -> dict[str, Any]:
    pool = {"cap": cap, "parallel_starts": 2, "close_timeout_seconds": 5}
    return {
        "backends": {"db": {"kind": kind, "url": url, "pool": pool}},
        "operations": {
            "nap": {
                "backend": "db",
                "statement": nap,
                "arguments": {"seconds": {"type": "number"}},
                "effect": "read",
                "timeout_seconds": 120,
            },
            "one": {"backend": "db", "statement": "SELECT 1 AS one", "effect": "read"},
        },
    }


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def pooler(server: PostgresServer | MariadbServer, tmp_path: Path) -> Iterator[Pooler]:
    if isinstance(server, PostgresServer):
        config = sql("postgres", server.url, "SELECT pg_sleep(:seconds)")
    else:
        config = sql("sqlalchemy", server.url, "SELECT sleep(:seconds)", cap=CAP + 1)  # one is the reserve
    with Pooler(tmp_path, config) as program:
        yield program
    eventually(0, server.connections)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def naps(pooler: Pooler, frontend: Frontend, threads: ThreadPoolExecutor) -> list["Future[dict[str, Any]]"]:
    """As many long calls as there are connections."""
    return [threads.submit(call_tool, frontend.url, "nap", {"seconds": 60}) for _ in range(CAP)]


def test_killing_a_frontend_in_mid_call_stops_the_backends_work_and_frees_its_slots(
    server: PostgresServer | MariadbServer, pooler: Pooler, threads: ThreadPoolExecutor
) -> None:
    with Frontend(pooler.address) as doomed:
        calls = naps(pooler, doomed, threads)
        eventually(CAP, server.sleeping)
        doomed.kill()
        eventually(0, server.sleeping)
        for call in calls:
            assert isinstance(call.exception(PATIENCE_SECONDS), OSError)
    eventually(0, lambda: backend_of(pooler).in_use)
    with Frontend(pooler.address) as other:
        calls = naps(pooler, other, threads)
        eventually(CAP, server.sleeping)  # the whole cap can be taken again
        other.kill()
        eventually(0, server.sleeping)


def test_a_client_that_vanishes_by_reset_stops_its_statement(
    server: PostgresServer | MariadbServer, pooler: Pooler
) -> None:
    with Frontend(pooler.address) as frontend:
        host, _, port = frontend.address.rpartition(":")
        body = (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"nap","arguments":{"seconds":60},"_meta":'
            b'{"io.modelcontextprotocol/protocolVersion":"%s","io.modelcontextprotocol/clientCapabilities":{}}}}'
            % VERSION.encode()
        )
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: {frontend.address}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {VERSION}\r\n"
            f"Mcp-Method: tools/call\r\nMcp-Name: nap\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.encode() + body)
            eventually(1, server.sleeping)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends RST
        eventually(0, server.sleeping)
        assert call_tool(frontend.url, "one")["structuredContent"]["rows"] == [[1]]


def test_a_server_that_restarts_under_load_costs_only_the_calls_that_it_cut_off(
    server: PostgresServer | MariadbServer, pooler: Pooler
) -> None:
    outcomes: list[str] = []

    async def load() -> None:
        """Calls one after the other from several callers, until there were successes after the restart."""
        async with wire.stub(pooler.address) as stub:
            healed = asyncio.Event()
            restarted = asyncio.get_running_loop().run_in_executor(None, restart)

            async def caller() -> None:
                while not healed.is_set():
                    outcomes.append(await outcome(stub))

            async def watch() -> None:
                await restarted
                outcomes.append("restarted")
                while outcomes[-20:] != ["OK"] * 20:  # noqa: ASYNC110 - a condition on what others append
                    await asyncio.sleep(0.02)
                healed.set()

            async with asyncio.timeout(60):
                await asyncio.gather(watch(), *(caller() for _ in range(6)))

    def restart() -> None:
        eventually(True, lambda: len(outcomes) > 50)
        server.restart()

    loop.run(load())
    assert pooler.process.poll() is None
    seen = Counter(outcomes)
    assert seen.keys() <= {"OK", "UNAVAILABLE", "restarted"}, seen  # a read lost twice, or a start that failed
    assert backend_of(pooler).serving
    eventually(True, lambda: server.connections() <= CAP)


async def outcome(stub: "pooler_pb2_grpc.PoolerServiceAsyncStub") -> str:
    try:
        await stub.Call(wire.request("one"))
    except grpc.aio.AioRpcError as error:
        await asyncio.sleep(0.01)  # as a client would, before it tries again
        return error.code().name
    return "OK"


@pytest.mark.promise(15, 40)
def test_a_pooler_starts_while_its_backend_is_down_and_heals_when_it_comes_up(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder)) as server:
        server.stop()
        with Pooler(tmp_path, sql("postgres", server.url, "SELECT pg_sleep(:seconds)")) as pooler:
            eventually(True, lambda: backend_of(pooler).start_failures_total > 0)
            assert not backend_of(pooler).serving
            assert "refused" in backend_of(pooler).failure  # the backend's own word
            with Frontend(pooler.address) as frontend:
                refused = call_tool(frontend.url, "one")
                assert refused["isError"]
                assert "db" in refused["content"][0]["text"]
                server.start()
                pooler.await_event("serving")
                assert call_tool(frontend.url, "one")["structuredContent"]["rows"] == [[1]]


@pytest.fixture
def loans(tmp_path: Path) -> Iterator[Pooler]:
    worker = Path(__file__).parent.parent / "contract" / "worker.py"
    folder = tmp_path / "locks"
    folder.mkdir()
    command = [sys.executable, str(worker), str(folder), "--declare", "ping,reset"]
    config = {
        "backends": {"db": {"kind": "process", "command": command, "pool": {"cap": 1}}},
        "operations": {
            "slow": {
                "backend": "db",
                "method": "slow",
                "arguments": {"seconds": {"type": "number"}},
                "effect": "read",
                "timeout_seconds": 120,
            },
            "echo": {"backend": "db", "method": "echo", "arguments": {"value": {}}, "effect": "read"},
        },
    }
    with Pooler(tmp_path, config) as program:
        yield program


def worker_pids(pooler: Pooler) -> list[int]:
    children = Path(f"/proc/{pooler.pid}/task/{pooler.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def test_a_killed_worker_is_told_of_and_replaced(loans: Pooler, threads: ThreadPoolExecutor) -> None:
    with Frontend(loans.address) as frontend:
        assert call_tool(frontend.url, "echo", {"value": "first"})["structuredContent"] == {"result": "first"}
        (pid,) = worker_pids(loans)
        call = threads.submit(call_tool, frontend.url, "slow", {"seconds": 60})
        eventually(1, lambda: backend_of(loans).in_use)
        os.kill(pid, signal.SIGKILL)
        told = call.result(PATIENCE_SECONDS)
        assert told["isError"]
        assert "SIGKILL" in told["content"][0]["text"]
        assert call_tool(frontend.url, "echo", {"value": "healed"})["structuredContent"] == {"result": "healed"}
        assert worker_pids(loans) != [pid]


def test_a_worker_that_died_while_idle_costs_nobody_a_call(loans: Pooler) -> None:
    with Frontend(loans.address) as frontend:
        assert call_tool(frontend.url, "echo", {"value": "first"})["structuredContent"] == {"result": "first"}
        (pid,) = worker_pids(loans)
        os.kill(pid, signal.SIGKILL)
        loans.await_event("connection closed")  # the pool has noticed by itself
        assert call_tool(frontend.url, "echo", {"value": "second"})["structuredContent"] == {"result": "second"}


@pytest.mark.promise(31)
def test_a_pooler_that_is_asked_to_stop_ends_in_order_and_leaves_no_process(loans: Pooler) -> None:
    eventually(1, lambda: backend_of(loans).idle)
    (pid,) = worker_pids(loans)
    assert loans.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
