"""Who may come to the DBA's plane: no token, a wrong one, the right one, one for looking only, and a socket's mode."""

import asyncio
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos.penstock.v1 import admin_pb2
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.dba import Dba, reason_of
from tests.real.test_desk import penstock

pytestmark = pytest.mark.anyio

ANNA, MONITOR, STRANGER = "annas-token-0123456789", "monitors-token-0123456789", "nobodys-token-0123456789"

LEGACY = {"backend": "legacy"}
LOOK_AND_ORDER: tuple[tuple[str, dict[str, Any]], ...] = (("GetSnapshot", {}), ("Pause", LEGACY))


def config(**admin: Any) -> dict[str, Any]:
    return {
        "pooler": {"admin": admin} if admin else {},
        "backends": {"legacy": {"kind": "simulated", "pool": {"cap": 2}}},
        "operations": {"echo": {"backend": "legacy", "method": "echo", "effect": "read",
                                "arguments": {"value": {"type": "string"}}}},
    }  # fmt: skip


def guarded(**admin: Any) -> dict[str, Any]:
    tokens = [
        {"name": "anna", "token": "${PENSTOCK_TEST_ANNA}"},
        {"name": "monitor", "token": "${PENSTOCK_TEST_MONITOR}", "may": "look"},
    ]
    return config(tokens=tokens, **admin)


@pytest.fixture(autouse=True)
def _tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TEST_ANNA", ANNA)
    monkeypatch.setenv("PENSTOCK_TEST_MONITOR", MONITOR)


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, guarded()) as program:
        yield program


async def answer(dba: Dba, name: str, *headers: str, **fields: Any) -> str:
    """OK, or how an order or a question ends that bears these `authorization` headers."""
    request = getattr(admin_pb2, f"{name}Request")(**fields)
    metadata = [("authorization", header) for header in headers]
    try:
        await getattr(dba.stub, name)(request, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


@pytest.mark.promise(33)
async def test_only_who_has_a_token_may_look_and_only_who_may_order_orders(pooler: Pooler) -> None:
    async with dbas.at(pooler.address) as dba, asyncio.timeout(60):
        heard = {
            headers: tuple([await answer(dba, name, *headers, **fields) for name, fields in LOOK_AND_ORDER])
            for headers in (
                (), ("Bearer",), (f"Bearer {STRANGER}",), (f"Basic {ANNA}",), (ANNA,), (f"Bearer {ANNA[:-1]}",),
                (f"Bearer {STRANGER}", f"Bearer {ANNA}"), (f"Bearer {MONITOR}",), (f"bearer {ANNA}",),
            )
        }  # fmt: skip
        reads = [
            await answer(dba, name, **fields)
            for name, fields in (
                ("ListBackends", {}), ("ListConnections", LEGACY), ("ListWaiting", LEGACY), ("ListChanges", {}),
                ("Reload", {}), ("SetCap", {**LEGACY, "cap": 1}),
            )
        ]  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as watching:
            await dba.stub.WatchSnapshots(admin_pb2.WatchSnapshotsRequest()).read()

    unknown = "UNAUTHENTICATED CREDENTIAL_REQUIRED"
    assert heard.pop((f"bearer {ANNA}",)) == ("OK", "OK")
    assert heard.pop((f"Bearer {MONITOR}",)) == ("OK", "PERMISSION_DENIED NOT_PERMITTED")
    assert set(heard.values()) == {(unknown, unknown)}
    assert {*reads, reason_of(watching.value)} == {unknown}


async def test_callers_are_asked_for_no_administrators_token(pooler: Pooler) -> None:
    async with wire.stub(pooler.address) as stub:
        assert (await stub.Call(wire.request("echo", value="hello"))).result == b'{"result":"hello"}'


@pytest.mark.promise(33)
async def test_who_ordered_is_on_record_by_name_and_no_token_in_the_log_or_the_record(
    pooler: Pooler, tmp_path: Path
) -> None:
    at = {"PENSTOCK_ADMIN_TOKEN": ANNA}
    token_file = tmp_path / "token"
    token_file.write_text(f"{MONITOR}\n")

    assert (await penstock(pooler, "cap", "legacy", "3", **at))[0] == 0
    denied = await penstock(pooler, "cap", "legacy", "4", "--token-file", str(token_file))
    unknown = await penstock(pooler, "pools", PENSTOCK_ADMIN_TOKEN=STRANGER)
    none = await penstock(pooler, "pools")
    status, changes, _ = await penstock(pooler, "changes", "--json", "--token-file", str(token_file))

    assert (denied[0], "The token of 'monitor' is for looking only" in denied[2]) == (7, True)
    assert (unknown[0], "This token is nobody's" in unknown[2]) == (7, True)
    assert (none[0], "PENSTOCK_ADMIN_TOKEN" in none[2]) == (7, True)
    assert status == 0
    assert '"who":"anna"' in changes
    assert changes.count('"order"') == 1
    pooler.await_event("an order was refused", who="monitor")
    pooler.await_event("an unknown token was refused")
    pooler.stop()
    said = pooler.tail(1000) + (tmp_path / "state" / "changes.jsonl").read_text()
    assert [token for token in (ANNA, MONITOR, STRANGER) if token in said] == []


async def test_other_administrators_are_let_in_by_a_reload_and_former_ones_no_more(
    pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = config(tokens=[{"name": "ben", "token": "${PENSTOCK_TEST_MONITOR}"}])
    async with dbas.at(pooler.address) as dba:
        assert await answer(dba, "Pause", f"Bearer {ANNA}", backend="legacy") == "OK"
        pooler.reload(changed)
        assert await answer(dba, "Resume", f"Bearer {ANNA}", backend="legacy") == "UNAUTHENTICATED CREDENTIAL_REQUIRED"
        assert await answer(dba, "Resume", f"Bearer {MONITOR}", backend="legacy") == "OK"


@pytest.mark.promise(33)
async def test_an_address_of_its_own_is_the_only_one_that_obeys(tmp_path: Path) -> None:
    with Pooler(tmp_path, guarded(listen="127.0.0.1:0")) as pooler:
        (listening,) = [line for line in pooler.log if line.get("event") == "listening"]
        async with (
            dbas.at(pooler.address) as data,
            dbas.at(listening["admin"]) as admin,
            wire.stub(listening["admin"]) as calls,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as absent:
                await data.backend("legacy")
            assert absent.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert await answer(admin, "Pause", f"Bearer {ANNA}", backend="legacy") == "OK"
            with pytest.raises(grpc.aio.AioRpcError) as no_calls:
                await calls.Call(wire.request("echo", value="hello"))
            assert no_calls.value.code() is grpc.StatusCode.UNIMPLEMENTED
        status, _, error = await penstock(pooler, "pools", PENSTOCK_ADMIN_TOKEN=ANNA)
        assert (status, "administrators go where pooler.admin.listen says" in error) == (1, True)


@pytest.mark.promise(33)
async def test_a_socket_that_asks_for_no_token_is_its_owners_alone_who_is_on_record(tmp_path: Path) -> None:
    socket = tmp_path / "admin.sock"
    with Pooler(tmp_path, config(listen=f"unix:{socket}")) as pooler:
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        status, out, _ = await penstock(None, "cap", "legacy", "5", "--config", str(pooler.file))
        assert (status, out.split(";")[0]) == (0, "cap 2 → 5")
        _, changes, _ = await penstock(None, "changes", "--json", "--pooler", f"unix:{socket}")
    owner = pwd.getpwuid(os.getuid()).pw_name
    assert f'"who":"{owner}","source":"unix' in changes


async def test_a_data_socket_that_obeys_anybody_is_its_owners_alone_and_else_as_the_umask_says(tmp_path: Path) -> None:
    modes = []
    for number, admin in enumerate(({}, {"listen": "127.0.0.1:0"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        document = config(**admin)
        document["pooler"]["listen"] = f"unix:{folder}/data.sock"
        with Pooler(folder, document):
            modes.append(stat.S_IMODE((folder / "data.sock").stat().st_mode))
    umask = os.umask(0)
    os.umask(umask)

    assert modes == [0o600, 0o777 & ~umask]
