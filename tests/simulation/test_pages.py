"""Results with many pages: readers who are slow or gone, tenants who keep too much, work that fails behind a page."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pooler.errors import Fault, Reason
from pooler.runtime.pages import Limits
from pooler.runtime.results import CURSOR, RESULT_BYTES
from tests.simulation import virtual
from tests.simulation.reading import Reading, numbers
from tests.simulation.rig import until

BATCH = 100
"""Rows that come at once."""
ENDLESS = 10**9
SMALL = Limits(memory_bytes=2000, tenant_bytes=RESULT_BYTES + 20_000, keep_seconds=300.0, hold_seconds=30.0)

Scene = Callable[[], Awaitable[None]]


async def refusal(page: Awaitable[object]) -> Fault:
    with pytest.raises(Fault) as raised:
        await page
    return raised.value


@pytest.mark.promise(37)
def test_the_first_page_is_told_as_soon_as_there_is_a_row_behind_it_and_the_next_ones_as_they_come(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        began = reading.rig.now
        tables = [await reading.page(count=950, seconds=1.0)]
        assert reading.rig.now - began == pytest.approx(1.0), "one batch has two pages"
        assert reading.rig.busy() == 1, "the work goes on"
        moments = [reading.rig.now - began]
        while handle := tables[-1].get("next_cursor"):
            tables.append(await reading.page(cursor=handle, count=950, seconds=1.0))
            moments.append(reading.rig.now - began)
        assert numbers(tables) == list(range(950))
        # A page is known to be whole when the first row behind it has come, and the last one with the end.
        assert moments == pytest.approx([math.ceil((50 * page + 1) / BATCH) for page in range(1, 19)] + [10.0])
        assert reading.rig.busy() == 0

    virtual.run(scene())


@pytest.mark.promise(37)
def test_a_connection_is_released_as_soon_as_the_pooler_has_the_result_however_long_its_reader_takes(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        first = await reading.page(count=1000, seconds=0.1)
        await until(lambda: reading.rig.busy() == 0, 2.0)
        assert (await reading.page(count=3))["row_count"] == 3, "the one connection serves somebody else"
        tables = await reading.rest(first, pause=250.0, count=1000, seconds=0.1)
        assert numbers(tables) == list(range(1000))
        assert reading.rig.system.requests_total == 2

    virtual.run(scene())


@pytest.mark.promise(37)
def test_a_result_that_nobody_goes_on_with_is_given_up_and_its_work_stopped_in_the_backend(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, Limits(keep_seconds=60.0))
        first = await reading.page(count=ENDLESS, seconds=1.0)
        asked_at = reading.rig.now
        await until(lambda: reading.rig.busy() == 0)
        assert reading.rig.now - asked_at == pytest.approx(60.0, abs=1.0)
        assert reading.used() == 0
        fault = await refusal(reading.page(cursor=first["next_cursor"], count=ENDLESS, seconds=1.0))
        assert fault.reason is Reason.HANDLE_EXPIRED
        assert "call the operation again without a cursor" in fault.message
        assert (await reading.page(count=3))["row_count"] == 3
        assert reading.rig.system.logins_total == 1, "the connection was worth keeping"

    virtual.run(scene())


@pytest.mark.promise(37)
def test_a_reader_who_stops_holds_the_connection_no_longer_than_allowed_and_the_last_page_says_so(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, SMALL)
        first = await reading.page(count=ENDLESS, seconds=0.001)
        await until(lambda: reading.used() >= SMALL.tenant_bytes, 5.0)
        full_at = reading.rig.now
        await until(lambda: reading.rig.busy() == 0)
        assert reading.rig.now - full_at == pytest.approx(SMALL.hold_seconds, abs=0.1)
        assert reading.used() < SMALL.tenant_bytes + BATCH * 30
        tables = await reading.rest(first, count=ENDLESS, seconds=0.001)
        assert numbers(tables) == list(range(len(numbers(tables))))
        assert [table.get("truncated", False) for table in tables] == [False] * (len(tables) - 1) + [True]
        assert reading.rig.system.logins_total == 1

    virtual.run(scene())


@pytest.mark.promise(37)
def test_a_slow_reader_gets_every_row_of_a_result_far_larger_than_what_is_kept_for_him(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, SMALL)
        count, most = 20_000, 0
        tables = [await reading.page(count=count)]
        while handle := tables[-1].get("next_cursor"):
            await asyncio.sleep(5.0)
            tables.append(await reading.page(cursor=handle, count=count))
            most = max(most, reading.used())
        assert numbers(tables) == list(range(count))
        assert not any("truncated" in table for table in tables)
        assert most < SMALL.tenant_bytes + BATCH * 30
        assert reading.rig.system.requests_total == 1

    virtual.run(scene())


@pytest.mark.promise(37)
def test_whoever_waits_for_rows_gets_them_though_his_tenant_keeps_too_much_already(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, SMALL, cap=2)
        await reading.page(count=ENDLESS, seconds=0.001)
        await until(lambda: reading.used() >= SMALL.tenant_bytes, 5.0)
        tables = await reading.rest(await reading.page(count=3000), count=3000)
        assert numbers(tables) == list(range(3000))

    virtual.run(scene())


@pytest.mark.promise(22)
def test_what_one_tenant_keeps_holds_nobody_else_up(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, SMALL, cap=2)
        await reading.page(count=ENDLESS, seconds=0.001, tenant="greedy")
        await until(lambda: reading.used("greedy") >= SMALL.tenant_bytes, 5.0)
        first = await reading.page(count=500, seconds=0.001, tenant="modest")
        await until(lambda: reading.rig.busy() == 1, 1.0)
        assert numbers(await reading.rest(first, tenant="modest", count=500, seconds=0.001)) == list(range(500))

    virtual.run(scene())


def test_a_page_can_be_fetched_again_until_the_next_but_one_has_been_asked_for(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        tables = [await reading.page(count=1000)]
        for _ in range(3):
            tables.append(await reading.page(cursor=tables[-1]["next_cursor"], count=1000))
        for before, page in ((2, tables[3]), (1, tables[2])):
            again = await reading.page(cursor=tables[before]["next_cursor"], count=1000)
            assert again["rows"] == page["rows"]
        fault = await refusal(reading.page(cursor=tables[0]["next_cursor"], count=1000))
        assert (fault.reason, fault.message[:27]) == (Reason.HANDLE_EXPIRED, "Page 2 is there no more, si")

    virtual.run(scene())


def test_a_failure_behind_the_first_page_is_the_error_of_the_page_that_misses_rows(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        tables = [await reading.page(count=1000, die_at=430)]
        for _ in range(7):
            tables.append(await reading.page(cursor=tables[-1]["next_cursor"], count=1000, die_at=430))
        assert numbers(tables) == list(range(400))
        for _ in range(2):  # it is the same however often it is asked for
            fault = await refusal(reading.page(cursor=tables[-1]["next_cursor"], count=1000, die_at=430))
            assert fault.reason is Reason.CONNECTION_LOST
        assert reading.rig.violations == []

    virtual.run(scene())


def test_a_row_that_fits_no_page_is_the_error_of_its_own_page_alone(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        tables = [await reading.page(count=1000, long_at=170)]
        for _ in range(3):
            tables.append(await reading.page(cursor=tables[-1]["next_cursor"], count=1000, long_at=170))
        assert numbers(tables) == list(range(170)), "the last page before it ends where it stands"
        fault = await refusal(reading.page(cursor=tables[-1]["next_cursor"], count=1000, long_at=170))
        assert fault.reason is Reason.RESULT_TOO_LARGE
        assert (await reading.page(count=3))["row_count"] == 3

    virtual.run(scene())


def test_the_operations_own_bound_ends_the_work_and_the_callers_bound_only_his_waiting(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, timeout=8.5)
        began = reading.rig.now
        tables = [await reading.page(count=ENDLESS, seconds=1.0, timeout=2.0)]
        while len(tables) < 16:
            tables.append(await reading.page(cursor=tables[-1]["next_cursor"], count=ENDLESS, seconds=1.0))
        assert (numbers(tables), reading.rig.now - began) == (list(range(800)), pytest.approx(8.5, abs=0.01))
        fault = await refusal(reading.page(cursor=tables[-1]["next_cursor"], count=ENDLESS, seconds=1.0))
        assert fault.reason is Reason.WORK_TIMEOUT
        assert "took longer than 8.5 s" in fault.message

    virtual.run(scene())


def test_a_fetch_waits_no_longer_than_its_caller_and_its_cursor_stays_good(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        call: dict[str, Any] = {"count": 300, "seconds": 10.0}
        first = await reading.page(**call)
        began = reading.rig.now
        fault = await refusal(reading.page(cursor=first["next_cursor"], timeout=3.0, **call))
        assert (fault.reason, reading.rig.now - began) == (Reason.WORK_TIMEOUT, pytest.approx(3.0))
        assert "Ask for it again, with the same cursor" in fault.message
        assert numbers(await reading.rest(first, **call)) == list(range(300))

    virtual.run(scene())


def test_a_caller_who_leaves_while_he_waits_for_a_page_hears_that_and_may_come_back(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        call: dict[str, Any] = {"count": 300, "seconds": 10.0}
        first = await reading.page(**call)
        asked = reading.begin(cursor=first["next_cursor"], **call)
        await asyncio.sleep(0.5)
        asked.leave()
        assert (await refusal(asked.table())).reason is Reason.CANCELLED
        assert reading.dispatcher.under_way == 0
        assert numbers(await reading.rest(first, **call)) == list(range(300))

    virtual.run(scene())


def test_a_connection_lost_before_anything_was_told_is_no_bodys_business_and_rows_come_once(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, page_rows=250)
        asked = reading.begin(count=600, seconds=1.0)
        await until(lambda: reading.rig.busy() == 1)
        await asyncio.sleep(1.5)
        reading.rig.system.kill(reading.rig.system.sessions[0])
        tables = await reading.rest(await asked.table(), count=600, seconds=1.0)
        assert numbers(tables) == list(range(600))
        assert reading.rig.system.requests_total == 2

    virtual.run(scene())


def test_a_caller_who_leaves_before_the_first_page_leaves_nothing_behind(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, page_rows=500)
        asked = reading.begin(count=ENDLESS, seconds=1.0)
        await asyncio.sleep(2.5)
        asked.leave()
        assert (await refusal(asked.table())).reason is Reason.CANCELLED
        await until(lambda: reading.rig.busy() == 0, 1.0)
        assert (reading.used(), len(reading.results._kept)) == (0, 0)

    virtual.run(scene())


def test_when_the_pooler_ends_the_work_behind_first_pages_ends_at_once(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, cap=2)
        first = await reading.page(count=ENDLESS, seconds=1.0)
        waiting = reading.begin(cursor=first["next_cursor"], count=ENDLESS, seconds=1.0)
        await asyncio.sleep(0.5)
        began = reading.rig.now
        reading.results.stop()
        assert (await refusal(waiting.table())).reason is Reason.HANDLE_EXPIRED
        await reading.rig.driver.drain(30.0)
        assert reading.rig.now - began < 1.0
        assert (reading.rig.system.counts().total, reading.used()) == (0, 0)

    virtual.run(scene())


@pytest.mark.promise(24)
def test_what_is_learned_of_an_operation_is_how_long_its_callers_wait_for_their_first_page(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path, cap=1)
        for _ in range(12):
            tables = await reading.rest(await reading.page(count=1000, seconds=1.0), count=1000, seconds=1.0)
            assert len(tables) == 20
        asked = [reading.begin(count=1000, seconds=1.0, timeout=60.0) for _ in range(5)]
        assert [(await each.table())["row_count"] for each in asked] == [50] * 5, "nobody is judged to come too late"
        assert reading.rig.driver.pool.judge.expected("rows") == pytest.approx(1.0, abs=0.1)

    virtual.run(scene())


@pytest.mark.parametrize(
    "changed", [{"count": 999}, {"count": 1000, "seconds": 1.0}, {}], ids=["another", "one more", "none"]
)
def test_a_cursor_with_other_arguments_than_its_calls_is_refused_in_words(tmp_path: Path, changed: dict[str, Any]):
    async def scene() -> None:
        reading = Reading(tmp_path)
        first = await reading.page(count=1000)
        fault = await refusal(reading.page(cursor=first["next_cursor"], **changed))
        assert fault.reason is Reason.INVALID_ARGUMENTS
        assert "repeat the arguments with which rows was called" in fault.message
        assert (await reading.page(cursor=first["next_cursor"], count=1000))["row_count"] == 50

    virtual.run(scene())


def test_nobody_else_gets_anywhere_with_a_cursor(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        handle = (await reading.page(count=1000))["next_cursor"]
        for who in ({"tenant": "other"}, {"principal": "bob"}):
            fault = await refusal(reading.page(**{CURSOR: handle}, count=1000, **who))
            assert fault.reason is Reason.HANDLE_UNKNOWN
        fault = await refusal(reading.page(**{CURSOR: handle[:-4] + "AAAA"}, count=1000))
        assert fault.reason is Reason.HANDLE_UNKNOWN

    virtual.run(scene())


def test_a_cursor_of_the_process_before_says_that_the_result_is_lost(tmp_path: Path):
    async def scene() -> None:
        reading = Reading(tmp_path)
        handle = (await reading.page(count=1000))["next_cursor"]
        after = Reading(tmp_path)  # the same name, the same key, another process
        fault = await refusal(after.page(**{CURSOR: handle}, count=1000))
        assert fault.reason is Reason.HANDLE_LOST
        assert "call the operation again without a cursor" in fault.message

    virtual.run(scene())
