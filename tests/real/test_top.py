"""`penstock top` in a terminal, before a running pooler: what it shows, and what its keys do to real connections."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.callers import outcome
from tests.real.dba import Dba, named, reason_of
from tests.real.terminal import Terminal
from tests.servers.counting import CountingServer

pytestmark = pytest.mark.anyio

DOWN, TAB = "\x1b[B", "\t"
SECONDS = {"arguments": {"seconds": {"type": "number"}}, "effect": "read", "timeout_seconds": 600}


def config(counting: CountingServer, **pooler: Any) -> dict[str, Any]:
    pool = {"cap": 2, "parallel_starts": 2, "queue_timeout_seconds": 600}
    return {
        "pooler": pooler,
        "backends": {
            "legacy": {"kind": "simulated", "address": counting.address, "pool": pool},
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


def top(pooler: Pooler, **facts: Any) -> Terminal:
    return Terminal("top", "--interval", "0.2", "--pooler", pooler.address, **facts)


async def shows(terminal: Terminal, *words: str, gone: str = "") -> None:
    """While this loop's callers go on."""
    await asyncio.to_thread(terminal.until, *words, gone=gone)


@pytest.mark.promise(33, 39)
async def test_a_dba_finds_who_waits_pauses_resumes_and_sets_a_cap_by_keys(pooler: Pooler, dba: Dba) -> None:
    with top(pooler) as screen:
        async with wire.stub(pooler.address) as stub:
            busy = [asyncio.ensure_future(stub.Call(named(f"call-{n}", "work", seconds=600))) for n in range(2)]
            await dba.until("legacy", lambda state: state.in_use == 2)
            waits = asyncio.ensure_future(stub.Call(named("call-2", "work", seconds=0)))
            await shows(screen, "legacy", "serving", "2 waiting 1", "call-0", "call-1")

            screen.press(DOWN + "p")
            await shows(screen, "Pause legacy?", "y does it")
            assert not (await dba.backend("legacy")).paused
            screen.press("y")
            await shows(screen, "legacy is paused: ")
            assert (await dba.backend("legacy")).paused

            screen.press("2")
            await shows(screen, "call-2", "waits s")
            for call in busy:
                call.cancel()
            await dba.until("legacy", lambda state: state.idle == 2)
            assert not waits.done()
            screen.press("r")
            await shows(screen, "Resume legacy?")
            screen.press("y")
            await shows(screen, "legacy is serving: ")
            await waits

            screen.press("c")
            await shows(screen, "Cap of legacy, now 2:")
            screen.press("5\r")
            await shows(screen, "cap 2 → 5")
            assert (await dba.backend("legacy")).cap == 5

            screen.press("7")
            await shows(screen, "set cap", "resume", "pause", "2 → 5", "paused → open")
        screen.press("q")
        assert await asyncio.to_thread(screen.ended) == 0


@pytest.mark.promise(33)
async def test_a_stuck_call_is_killed_after_a_question_and_not_by_any_other_answer(pooler: Pooler, dba: Dba) -> None:
    with top(pooler) as screen:
        async with wire.stub(pooler.address) as stub:
            stuck = asyncio.ensure_future(stub.Call(named("stuck", "work", seconds=600)))
            await shows(screen, "stuck")
            screen.press(TAB + "k")
            await shows(screen, "Kill the call stuck (work of default) on legacy?")
            screen.press("n")
            await shows(screen, "nothing was done")
            assert not stuck.done()
            screen.press("ky")
            await shows(screen, "1 killed; legacy is serving")
            with pytest.raises(grpc.aio.AioRpcError) as killed:
                await stuck
            assert reason_of(killed.value) == "ABORTED KILLED"
            await shows(screen, gone="stuck")
            assert await outcome(stub, "work", 0) == "OK"


def test_a_window_may_become_smaller_and_larger_and_is_filled_each_time(pooler: Pooler) -> None:
    with top(pooler) as screen:
        screen.until("other", last="q quit")
        screen.resize(100, 12)
        screen.until("calls/s", last="q quit")
        screen.resize(200, 50)
        screen.until("slots", last="q quit")
        screen.interrupt()
        assert screen.ended() == 0


def test_a_pooler_that_goes_and_comes_back_is_found_again(counting_server: CountingServer, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/pooler.sock"
    with Pooler(tmp_path, config(counting_server, listen=address)) as first:
        screen = top(first)
        with screen:
            screen.until("serving")
            first.stop()
            screen.until("s: no pooler answers at")
            with Pooler(tmp_path, config(counting_server, listen=address)):
                screen.until("serving", gone="no news")
            screen.press("q")
            assert screen.ended() == 0


def test_a_watch_in_a_terminal_is_one_table_that_changes_in_its_place(pooler: Pooler) -> None:
    at = {"PENSTOCK_POOLER": pooler.address}
    with Terminal("pools", "--watch", "--interval", "0.2", environment=at) as watch:
        watch.until("legacy", "serving", "Ctrl-C ends it")
        with Terminal("pause", "legacy", environment=at) as order:
            order.until("legacy is paused: ")
            assert order.ended() == 0
        watch.until("paused")
        assert watch.text.count("legacy") == 1
        watch.interrupt()
        assert watch.ended() == 0


def test_what_is_wrong_from_the_beginning_is_said_instead_of_an_empty_screen(tmp_path: Path) -> None:
    with Terminal("top", "--pooler", f"unix:{tmp_path}/nobody.sock") as screen:
        assert screen.ended() == 4
        assert "no pooler answers at unix:" in screen.text.replace("\n", "")
