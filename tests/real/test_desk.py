"""A DBA's commands as they are given in a shell: exit codes, JSON, watches, and what they do to a running pooler."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.dba import Dba, named, reason_of
from tests.real.terminal import PENSTOCK
from tests.servers.counting import CountingServer

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60.0
SECONDS = {"arguments": {"seconds": {"type": "number"}}, "effect": "read", "timeout_seconds": 600}
WITHOUT_ANYTHING = ("sessions", "runs", "changes")


def config(counting: CountingServer, **pooler: Any) -> dict[str, Any]:
    pool = {"cap": 2, "parallel_starts": 2, "queue_timeout_seconds": 600}
    return {
        "pooler": pooler,
        "backends": {
            "legacy": {"kind": "simulated", "address": counting.address, "pool": pool, "sessions": True},
            "other": {"kind": "simulated", "pool": {"cap": 3}},
        },
        "operations": {
            "work": {"backend": "legacy", "method": "work", **SECONDS},
            "other_work": {"backend": "other", "method": "work", **SECONDS},
        },
    }


@pytest.fixture
def pooler(counting_server: CountingServer, tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, config(counting_server)) as program:
        yield program


@pytest.fixture
async def dba(pooler: Pooler) -> AsyncIterator[Dba]:
    async with dbas.at(pooler.address) as admin, asyncio.timeout(90):
        yield admin


async def penstock(pooler: Pooler | None, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """A command's exit status, and what it said."""
    at = {"PENSTOCK_POOLER": pooler.address} if pooler else {}
    process = await asyncio.create_subprocess_exec(
        PENSTOCK, *arguments, env=os.environ | at | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, error = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def listed(pooler: Pooler, *arguments: str) -> Any:
    """A listing's JSON."""
    status, out, error = await penstock(pooler, *arguments, "--json")
    assert (status, error) == (0, "")
    return json.loads(out)


async def test_every_listing_is_a_table_for_people_and_one_line_of_json_for_scripts(pooler: Pooler) -> None:
    documents = {name: await listed(pooler, name) for name in ("pools", *WITHOUT_ANYTHING, "queue", "cache")}
    assert [row["name"] for row in documents["pools"]] == ["legacy", "other"]
    assert [documents[name] for name in WITHOUT_ANYTHING] == [[]] * len(WITHOUT_ANYTHING)
    assert (documents["queue"].keys(), documents["cache"].keys()) == ({"queue", "waiting"}, {"cache", "kept"})

    status, out, error = await penstock(pooler, "pools")
    assert (status, error) == (0, "")
    header, *rows = out.splitlines()
    assert header.split()[:3] == ["backend", "kind", "cap"]
    assert [row.split()[:3] for row in rows] == [["legacy", "simulated", "2"], ["other", "simulated", "3"]]
    assert await penstock(pooler, "changes") == (0, "", "nothing has been ordered\n")


async def test_who_has_and_who_waits_for_a_connection_can_be_seen_and_each_can_be_killed(
    pooler: Pooler, dba: Dba
) -> None:
    async with wire.stub(pooler.address) as stub:
        request = named("mine", "work", seconds=600)
        request.context.tenant, request.context.principal = "shop", "anna"
        mine = asyncio.ensure_future(stub.Call(request))
        await dba.until("legacy", lambda state: state.in_use == 1)
        others = [asyncio.ensure_future(stub.Call(named(name, "work", seconds=600))) for name in ("at-work", "waits")]
        await dba.until("legacy", lambda state: (state.in_use, state.queued) == (2, 1))

        rows = {row["request_id"]: row for row in await listed(pooler, "connections", "legacy")}
        assert rows.keys() == {"mine", "at-work"}
        assert [rows["mine"][key] for key in ("tenant", "principal", "operation", "state", "call_state")] == [
            "shop", "anna", "work", "in_use", "running",
        ]  # fmt: skip
        queue = await listed(pooler, "queue")
        assert [(row["backend"], row["request_id"]) for row in queue["waiting"]] == [("legacy", "waits")]
        assert {(row["tenant"], row["waiting"], row["at_work"]) for row in queue["queue"]} == {
            ("shop", 0, 1), ("default", 1, 1),
        }  # fmt: skip
        (table,) = [(await penstock(pooler, "connections", "legacy"))[1]]
        assert all(word in table for word in ("mine", "shop", "anna", "work", "for s"))

        status, out, _ = await penstock(pooler, "kill", "legacy", "--call", "waits")
        assert (status, out.split(";")[0]) == (0, "1 killed")
        number = str(rows["mine"]["number"])
        status, out, _ = await penstock(pooler, "kill", "legacy", "--connection", number)
        assert (status, out.split(";")[0]) == (0, f"connection {number} killed")
        for call in (others[1], mine):
            with pytest.raises(grpc.aio.AioRpcError) as killed:
                await call
            assert reason_of(killed.value) == "ABORTED KILLED"
        assert not others[0].done()
        others[0].cancel()


@pytest.mark.promise(2, 33)
async def test_orders_say_what_has_become_of_them_and_are_put_on_record(pooler: Pooler, dba: Dba) -> None:
    said = {
        words: (await penstock(pooler, *words.split()))[:2]
        for words in (
            "cap legacy 5",
            "pause legacy",
            "resume legacy",
            "drain --all",
            "resume legacy other",
            "retire other",
        )
    }

    assert {status for status, _ in said.values()} == {0}
    assert said["cap legacy 5"][1].startswith("cap 2 → 5; legacy is serving: ")
    assert said["pause legacy"][1].startswith("legacy is paused: ")
    assert [line.split(":")[0].split()[0] for line in said["drain --all"][1].splitlines()] == ["legacy", "other"]
    assert said["retire other"][1].startswith("generation 1 begins; ")
    changes = await listed(pooler, "changes")
    assert [(row["order"], row["backend"]) for row in reversed(changes)] == [
        ("set_cap", "legacy"), ("pause", "legacy"), ("resume", "legacy"), ("drain", "legacy"), ("drain", "other"),
        ("resume", "legacy"), ("resume", "other"), ("retire", "other"),
    ]  # fmt: skip
    assert (changes[-1]["before"], changes[-1]["after"]) == ("2", "5")
    assert changes[-1]["who"].startswith("ipv4:127.0.0.1:")
    assert {row["backend"] for row in await listed(pooler, "changes", "other")} == {"other"}
    status, out, _ = await penstock(pooler, "cap", "legacy", "3", "--json")
    assert (status, json.loads(out)["cap_before"], json.loads(out)["backend"]["cap"]) == (0, 5, 3)


@pytest.mark.promise(33)
async def test_the_record_of_orders_is_there_after_a_restart(counting_server: CountingServer, tmp_path: Path) -> None:
    with Pooler(tmp_path, config(counting_server)) as first:
        assert (await penstock(first, "cap", "legacy", "4"))[0] == 0
        first.kill()
    with Pooler(tmp_path, config(counting_server)) as second:
        second.reload(config(counting_server))
        assert (await penstock(second, "reload"))[0] == 0
        rows = await listed(second, "changes")

    assert [(row["order"], row["before"], row["after"]) for row in rows] == [
        ("reload", "2 operations", "2 operations"), ("reload", "2 operations", "2 operations"), ("set_cap", "2", "4"),
    ]  # fmt: skip
    assert [row["who"] for row in rows][1] == "SIGHUP"
    assert rows[1]["source"] == "signal"


async def test_a_reload_says_what_has_changed_or_every_fault_with_its_place(
    pooler: Pooler, counting_server: CountingServer
) -> None:
    changed = config(counting_server)
    changed["backends"]["legacy"]["pool"]["cap"] = 4
    pooler.write(changed)
    status, out, _ = await penstock(pooler, "reload")
    assert status == 0
    assert "backends changed: legacy" in out
    assert "cap of legacy: 2 → 4" in out

    changed["backends"]["legacy"]["pool"]["cap"] = 0
    pooler.write(changed)
    status, out, error = await penstock(pooler, "reload")
    assert (status, out) == (3, "")
    assert "backends.legacy.pool.cap" in error


FAILURES = (
    ("cap legasy 3", 3, "There is no backend 'legasy'; did you mean 'legacy'?"),
    ("connections legasy", 3, "did you mean 'legacy'?"),
    ("connections legasy --watch", 3, "did you mean 'legacy'?"),
    ("cap legacy 1000001", 3, "cannot be 1000001: it goes from 1 to 1000000"),
    ("kill legacy --call nobodys", 3, "has no call 'nobodys'"),
    ("kill legacy --connection 99", 3, "has no connection 99"),
    ("kill legacy", 2, "say what to kill"),
    ("pause", 2, "name the backends that are meant, or say --all"),
    ("show pols", 2, "there is no 'pols' to show; did you mean 'pools'?"),
    ("cap legacy 0", 2, "Invalid value"),
    ("top", 2, "top needs a terminal"),
    ("pools --pooler 127.0.0.1:1", 4, "no pooler answers at 127.0.0.1:1"),
)


async def test_a_command_that_fails_says_why_and_ends_with_a_status_for_scripts(pooler: Pooler) -> None:
    ended = {words: await penstock(pooler, *words.split()) for words, _, _ in FAILURES}

    assert {words: (status, out) for words, (status, out, _) in ended.items()} == {
        words: (status, "") for words, status, _ in FAILURES
    }
    assert [(words, ended[words][2]) for words, _, said in FAILURES if said not in ended[words][2]] == []


async def test_what_a_dbas_fingers_know_shows_the_same(pooler: Pooler) -> None:
    async with wire.stub(pooler.address) as stub:
        await stub.Call(wire.request("work", seconds=0))
    shows = {
        "databases": "cap",
        "servers": "request",
        "CLIENTS": "nobody waits",
        "STATS": "shed",
        "config": "backends:",
    }
    said = {word: await penstock(pooler, "show", word, PENSTOCK_CONFIG=str(pooler.file)) for word in shows}

    assert {status for status, _, _ in said.values()} == {0}
    assert [word for word, expected in shows.items() if expected not in "".join(said[word][1:])] == []


@pytest.mark.parametrize("name", ["pools", "changes", "queue"])
async def test_a_watch_tells_of_a_change_as_a_line_of_json_and_ends_with_ctrl_c(pooler: Pooler, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        PENSTOCK, name, "--watch", "--json", "--interval", "0.1", "--pooler", pooler.address, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        json.loads(await process.stdout.readline())
        assert (await penstock(pooler, "pause", "legacy"))[0] == 0
        async with wire.stub(pooler.address) as stub:
            waits = asyncio.ensure_future(stub.Call(named("waits", "work", seconds=0)))
            seen = ""
            while not ('"paused":true' in seen or '"order":"pause"' in seen or '"request_id":"waits"' in seen):
                seen = (await process.stdout.readline()).decode()
                json.loads(seen)
            waits.cancel()
        process.send_signal(signal.SIGINT)
        await process.stdout.read()
        assert await process.wait() == 0


async def test_a_session_is_seen_with_its_owner_and_its_connection(pooler: Pooler) -> None:
    async with wire.stub(pooler.address) as stub:
        request = wire.request("legacy_begin")
        request.context.tenant, request.context.principal = "shop", "anna"
        handle = json.loads((await stub.Call(request)).result)["session"]
        call = wire.request("work", seconds=0, session=handle)
        call.context.tenant, call.context.principal = "shop", "anna"
        await stub.Call(call)

        (row,) = await listed(pooler, "sessions")

        end = wire.request("legacy_rollback", session=handle)
        end.context.tenant, end.context.principal = "shop", "anna"
        await stub.Call(end)  # else the pooler would give it its grace
    expected = {"backend": "legacy", "kind": "session", "tenant": "shop", "principal": "anna", "state": "idle"}
    assert {key: row[key] for key in expected} == expected
    assert (row["calls"], row["connection"] > 0, len(row["name"])) == (1, True, 8)
    assert row["name"] not in handle
