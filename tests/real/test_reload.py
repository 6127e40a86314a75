"""A reload by order: what it says of itself, what it refuses, and that it comes to its end whoever leaves or stops."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos.penstock.v1 import admin_pb2
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.callers import outcome
from tests.real.dba import PATIENCE_SECONDS, Dba, reason_of
from tests.servers.counting import CountingServer

pytestmark = pytest.mark.anyio

CAP = 3


@pytest.fixture
def document(counting_server: CountingServer) -> dict[str, Any]:
    """Two backends, both before the one counting server."""
    backend = {"kind": "simulated", "address": counting_server.address, "pool": {"cap": CAP}}
    work = {"method": "work", "arguments": {"seconds": {"type": "number"}}, "effect": "read", "timeout_seconds": 60}
    return copy.deepcopy(
        {
            "backends": {"legacy": backend, "other": backend},
            "operations": {"work": {**work, "backend": "legacy"}, "more": {**work, "backend": "other"}},
        }
    )


@pytest.fixture
async def pooler(document: dict[str, Any], tmp_path: Path) -> AsyncIterator[Pooler]:
    with await asyncio.to_thread(Pooler, tmp_path, document) as program:
        yield program


@pytest.fixture
async def dba(pooler: Pooler) -> AsyncIterator[Dba]:
    async with dbas.at(pooler.address) as admin, asyncio.timeout(90):
        yield admin


def without_other(document: dict[str, Any]) -> dict[str, Any]:
    """The same with one backend less, and its operation."""
    return {
        "backends": {"legacy": document["backends"]["legacy"]},
        "operations": {"work": document["operations"]["work"]},
    }


async def refused(dba: Dba) -> tuple[str, list[str]]:
    """A reload that must fail: its status and reason, and its lines."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await dba.reload()
    return reason_of(caught.value), (caught.value.details() or "").splitlines()


@pytest.mark.promise(2)
async def test_a_reload_says_what_it_has_changed_and_ends_what_an_order_said_of_the_cap(
    pooler: Pooler, dba: Dba, document: dict[str, Any]
) -> None:
    await dba.order("SetCap", "legacy", cap=6)
    assert await dba.reload() == admin_pb2.ReloadReply(
        caps=[admin_pb2.CapChange(backend="legacy", before=6, after=CAP)], operations=2, operations_before=2
    )
    document["backends"]["legacy"]["pool"]["cap"] = 2
    document["backends"]["spare"] = document["backends"].pop("other")
    del document["operations"]["more"]
    document["pooler"] = {"vanished_seconds": 7}
    pooler.write(document)
    assert await dba.reload() == admin_pb2.ReloadReply(
        backends_added=["spare"],
        backends_removed=["other"],
        backends_changed=["legacy"],
        caps=[admin_pb2.CapChange(backend="legacy", before=CAP, after=2)],
        operations=1,
        operations_before=2,
        restart_needed=["vanished_seconds"],
    )
    assert (await dba.backend("legacy")).cap == 2
    assert await dba.refused("Pause", "other") == (
        "NOT_FOUND BACKEND_NOT_FOUND",
        "There is no backend 'other'; known are legacy and spare",
    )


async def test_a_reload_resumes_nothing_that_an_order_has_paused_or_drained(pooler: Pooler, dba: Dba) -> None:
    await dba.order("Pause", "legacy")
    await dba.order("Drain", "other")
    await dba.reload()
    assert (await dba.backend("legacy")).paused
    assert (await dba.backend("other")).refusing_calls


async def test_a_faulty_configuration_is_refused_with_the_place_of_every_fault_and_changes_nothing(
    pooler: Pooler, dba: Dba, document: dict[str, Any]
) -> None:
    document["backends"]["legacy"]["pool"] = {"capp": 1}
    document["operations"]["more"]["backend"] = "othar"
    pooler.write(document)
    reason, said = await refused(dba)
    assert reason == "INVALID_ARGUMENT INVALID_CONFIGURATION"
    assert said[0] == "The configuration was not taken on, the running one stays:"
    assert all(line.startswith(f"{pooler.file}:") for line in said[1:])
    for fault in ("capp: unknown key; did you mean 'cap'?", "no backend is called that; did you mean 'other'?"):
        assert [line for line in said if fault in line], said
    assert (await dba.backend("legacy")).cap == CAP
    async with wire.stub(pooler.address) as stub:
        assert await outcome(stub, "more", 0) == "OK"


async def test_more_faults_than_a_status_has_room_for_are_counted(
    pooler: Pooler, dba: Dba, document: dict[str, Any]
) -> None:
    document["operations"] |= {f"bad_{number}_{'ü' * 40}": {"backend": "nowhere"} for number in range(1000)}
    pooler.write(document)
    reason, said = await refused(dba)
    assert reason == "INVALID_ARGUMENT INVALID_CONFIGURATION"
    assert len(said) > 3
    assert said[-1].endswith("more; `penstock check` lists them all")


async def test_a_reload_goes_on_when_whoever_ordered_it_has_left(
    pooler: Pooler, dba: Dba, document: dict[str, Any], counting_server: CountingServer
) -> None:
    async with wire.stub(pooler.address) as stub:
        at_work = asyncio.ensure_future(outcome(stub, "more", 2))
        await asyncio.to_thread(counting_server.wait, PATIENCE_SECONDS, busy=1)
        pooler.write(without_other(document))
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await dba.stub.Reload(admin_pb2.ReloadRequest(), timeout=0.5)
        assert not at_work.done()
        assert await at_work == "OK"
    await asyncio.to_thread(pooler.await_event, "configuration reloaded")
    assert {session.owner.rpartition("/")[0].rpartition("/")[2] for session in counting_server.sessions()} == {"legacy"}


@pytest.mark.promise(31)
async def test_a_pooler_that_stops_in_the_midst_of_a_reload_still_lets_work_end_and_leaves_nothing(
    pooler: Pooler, dba: Dba, document: dict[str, Any], counting_server: CountingServer
) -> None:
    async with wire.stub(pooler.address) as stub:
        at_work = asyncio.ensure_future(outcome(stub, "more", 2))
        await asyncio.to_thread(counting_server.wait, PATIENCE_SECONDS, busy=1)
        pooler.write(without_other(document))
        reload = asyncio.ensure_future(dba.reload())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len((await dba.stub.ListBackends(admin_pb2.ListBackendsRequest())).backends) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        stopping = asyncio.ensure_future(asyncio.to_thread(pooler.stop))
        assert await at_work == "OK"
        assert (await reload).backends_removed == ["other"]
        assert await stopping == 0
    assert counting_server.counts().total == 0
