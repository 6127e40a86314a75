"""What a scrape shows of a pool, beside what its backend counts by itself and what its callers were told."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.behaviours.ledger import ROOT
from tests.interaction import wire
from tests.programs import Pooler
from tests.real import dba as dbas
from tests.real.callers import outcome
from tests.servers.counting import CountingServer

pytestmark = pytest.mark.anyio

CAP, QUEUE_MAX = 3, 5
PATIENCE_SECONDS = 30.0
Key = frozenset[tuple[str, str]]
Scrape = dict[str, dict[Key, float]]


def config(server: CountingServer) -> dict[str, Any]:
    pool = {"cap": CAP, "parallel_starts": CAP, "queue_max": QUEUE_MAX, "queue_timeout_seconds": 600}
    operation = {"backend": "legacy", "method": "work", "arguments": {"seconds": {"type": "number"}}, "effect": "read"}
    shared = {**operation, "cache": {"ttl_seconds": 60}}
    return {
        "pooler": {"drain_grace_seconds": 6},
        "backends": {"legacy": {"kind": "simulated", "address": server.address, "pool": pool}},
        "operations": {"work": {**operation, "timeout_seconds": 600}, "shared": shared},
    }


@pytest.fixture
def pooler(counting_server: CountingServer, tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, config(counting_server)) as program:
        yield program


async def scrape(pooler: Pooler) -> Scrape:
    """Every sample, by its name and its labels."""
    async with aiohttp.ClientSession(f"http://{pooler.http}") as session, session.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = await answer.text()
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def of(samples: dict[Key, float], **labels: str) -> float:
    """The one sample with these labels, beside the backend's name."""
    return samples[frozenset({"backend": "legacy", **labels}.items())]


async def until(pooler: Pooler, name: str, value: float, **labels: str) -> Scrape:
    """The first scrape that shows this."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while of((seen := await scrape(pooler))[name], **labels) != value:  # noqa: ASYNC110 - another process tells no event
            await asyncio.sleep(0.02)
    return seen


@pytest.mark.promise(35)
async def test_gauges_say_what_the_backend_counts_by_itself_also_while_saturated_and_while_stopping(
    pooler: Pooler, counting_server: CountingServer
) -> None:
    async with wire.stub(pooler.address) as stub:
        calls = [asyncio.ensure_future(outcome(stub, "work", 600, 600_000)) for _ in range(CAP)]
        await until(pooler, "penstock_connections", CAP, state="in_use")  # before the queue is filled: it holds no more
        calls += [asyncio.ensure_future(outcome(stub, "work", 600, 600_000)) for _ in range(QUEUE_MAX)]
        seen = await until(pooler, "penstock_queue_length", QUEUE_MAX)
        counted = counting_server.counts()
        assert counted.busy == CAP
        assert sum(seen["penstock_connections"].values()) == counted.total <= of(seen["penstock_cap"])
        counting_server.behave(dying_seconds=3)
        async with dbas.at(pooler.address) as dba:
            await dba.order("KillConnection", "legacy", number=1)
        seen = await until(pooler, "penstock_connections", 1, state="closing")
        assert sum(seen["penstock_connections"].values()) == counting_server.wait(dying=1).total
        pooler.signal(signal.SIGTERM)
        pooler.await_event("draining")
        seen = await scrape(pooler)
        assert sum(seen["penstock_connections"].values()) == counting_server.counts().total
        for call in calls:
            call.cancel()


@pytest.mark.promise(35)
async def test_every_wait_is_counted_by_how_it_ended_as_its_caller_was_told(pooler: Pooler) -> None:
    async with wire.stub(pooler.address) as stub:
        held = [asyncio.ensure_future(outcome(stub, "work", 600, 600_000)) for _ in range(CAP)]
        await until(pooler, "penstock_connections", CAP, state="in_use")
        hasty = [asyncio.ensure_future(outcome(stub, "work", 0, 300)) for _ in range(3)]
        leaving = [asyncio.ensure_future(outcome(stub, "work", 0, 600_000)) for _ in range(2)]
        await until(pooler, "penstock_queue_length", 5)
        refused = await asyncio.gather(*(outcome(stub, "work", 0) for _ in range(4)))
        for call in leaving:
            call.cancel()
        told = Counter(await asyncio.gather(*hasty)) + Counter(refused)
        assert told == {"DEADLINE_EXCEEDED": 3, "RESOURCE_EXHAUSTED": 4}
        for call in held:
            call.cancel()
        seen = await until(pooler, "penstock_connections", 0, state="in_use")
    waits = seen["penstock_wait_seconds_count"]
    ended = {name: of(waits, outcome=name) for name in ("granted", "timed_out", "cancelled", "shed", "refused")}
    assert ended == {"granted": CAP, "timed_out": 3, "cancelled": 2, "shed": 0, "refused": 4}
    assert of(seen["penstock_calls_total"]) == sum(ended.values())
    assert of(seen["penstock_wait_seconds_sum"], outcome="timed_out") == pytest.approx(0.9, rel=0.3)
    assert of(seen["penstock_work_seconds_count"]) == CAP
    assert 1 <= of(seen["penstock_start_wait_seconds_count"]) <= CAP  # one start needed no caller: the first proof


async def test_the_readme_names_every_metric_that_there_is_and_no_other(pooler: Pooler) -> None:
    section = (ROOT / "README.md").read_text("utf-8").split("## What can be measured")[1].split("\n## ")[0]
    told = set(re.findall(r"penstock_[a-z_]+", section))
    shown = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in await scrape(pooler)}
    assert told == shown
