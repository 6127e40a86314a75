"""The hands and their slot files: one for each slot, from before its start until it is gone, and none without."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pooler.backends.base import Tag
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.errors import Reason
from pooler.runtime.slotfiles import SlotFiles
from pooler.runtime.starter import Bounds
from tests.simulation import virtual
from tests.simulation.rig import Rig, finished, until


@pytest.fixture
def files(tmp_path: Path) -> SlotFiles:
    return SlotFiles(tmp_path, "sim", "legacy")


def slots(files: SlotFiles) -> list[int]:
    return [left.tag.slot for left in files.left()]


def test_a_slot_file_stands_and_is_locked_before_the_start_and_until_the_slot_is_gone(files: SlotFiles) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 2}, files=files, start_seconds=3, dying_seconds=2)
        rig.submit()
        await until(lambda: rig.system.counts().starting == 1)
        (left,) = files.left()
        assert (left.tag, left.kind, left.orphans) == (Tag("sim", "legacy", 1), "simulated", "none")
        assert left.locked()
        await until(lambda: rig.system.counts().open == 1)
        draining = asyncio.ensure_future(rig.driver.drain(60))
        await until(lambda: rig.system.counts().dying == 1)
        assert slots(files) == [1]
        await draining
        assert slots(files) == []

    virtual.run(scene())


def test_a_failed_start_leaves_no_slot_file(files: SlotFiles) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 2}, files=files, refuse="closed today")
        call = rig.submit()
        await finished([call])
        assert call.reason is Reason.START_FAILED
        assert slots(files) == []

    virtual.run(scene())


class Noting(SimulatedAdapter):
    """Writes down what it will need to ask for a connection."""

    async def open(self, tag: Tag) -> SimulatedConnection:
        """Logs in."""
        assert tag.mark is not None
        connection = await super().open(tag)
        connection.notes = {"session": tag.slot * 10}
        return connection


def test_what_an_adapter_notes_of_a_connection_stands_in_its_slot_file(files: SlotFiles) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 2}, files=files)
        rig.stand_in(Noting)
        await finished([rig.submit()])
        assert [dict(left.notes) for left in files.left()] == [{"session": 10}]

    virtual.run(scene())


def test_nothing_is_started_without_a_slot_file_and_the_caller_hears_why(files: SlotFiles, tmp_path: Path) -> None:
    async def scene() -> None:
        in_the_way = tmp_path / "legacy" / "1"
        in_the_way.mkdir()
        rig = Rig({"cap": 2}, files=files)
        call = rig.submit()
        (outcome,) = await finished([call])
        assert call.reason is Reason.START_FAILED
        assert "slot file" in str(outcome.result)
        assert rig.system.logins_total == 0
        assert in_the_way.is_dir()
        rig.driver.run()
        await until(lambda: rig.system.counts().open == 1)  # the next slot has a number of its own
        await finished([rig.submit()])

    virtual.run(scene())


def test_a_slot_that_is_not_gone_when_draining_ends_leaves_its_file_to_whoever_comes_next(files: SlotFiles) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 2}, Bounds(close=1, reap=600), files=files, confirm_death=False)
        await finished([rig.submit()])
        assert files.left()[0].locked()
        await rig.driver.drain(30)
        (left,) = files.left()
        assert left.tag.slot == 1
        assert not left.locked()
        assert left.closed_seconds > 0

    virtual.run(scene())


def test_a_reload_that_replaces_the_adapter_writes_the_new_kind_into_the_files_to_come(files: SlotFiles) -> None:
    async def scene() -> None:
        rig = Rig({"cap": 2, "warm": 1}, files=files)
        rig.driver.run()
        await until(lambda: slots(files) == [1])
        kit = replace(rig.driver.kit, kind="another", adapter=SimulatedAdapter(rig.system))
        rig.driver.reconfigure(kit, rig.driver.pool.rules, rig.driver.bounds)
        await until(lambda: slots(files) == [2])
        assert files.left()[0].kind == "another"

    virtual.run(scene())
