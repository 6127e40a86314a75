"""The log that a result's pages wait in: what is put comes back, in memory or from a file, until it is freed."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pooler.runtime import spool as spools
from pooler.runtime.spool import Place, Spool

pytestmark = pytest.mark.anyio


class Book:
    """An account that anybody may read."""

    def __init__(self) -> None:
        self.used = 0

    def add(self, count: int) -> None:
        self.used += count


async def at_once(work: Callable[[], Any]) -> Any:
    return work()


async def filled(spool: Spool, records: list[bytes]) -> list[int]:
    """Puts records, settling after each, and says where they begin."""
    offsets = []
    for record in records:
        offsets.append(spool.end)
        spool.put(record)
        await spool.settle()
    return offsets


def files() -> int:
    """How many files without a name this process has open."""
    return sum("(deleted)" in os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if _is_link(entry.path))


def _is_link(path: str) -> bool:
    try:
        os.readlink(path)
    except OSError:
        return False
    return True


async def test_little_stays_in_memory_and_touches_no_disk(tmp_path: Path) -> None:
    spool = Spool(Place(tmp_path / "spool"), 1000, Book())
    (first, second) = await filled(spool, [b"one", b"two"])
    assert await spool.read(first) == (b"one", second)
    assert await spool.read(second) == (b"two", spool.end)
    assert not (tmp_path / "spool").exists()


async def test_what_is_too_much_for_memory_goes_into_a_file_that_has_no_name(tmp_path: Path) -> None:
    before = files()
    spool = Spool(Place(tmp_path / "spool"), 1000, Book())
    offsets = await filled(spool, [bytes([n]) * 400 for n in range(20)])
    assert [await spool.read(offset) for offset in offsets] == [
        (bytes([n]) * 400, offset + 404) for n, offset in enumerate(offsets)
    ]
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert list((tmp_path / "spool").iterdir()) == []
    assert files() == before + 1
    spool.close()
    assert files() == before


async def test_a_record_longer_than_what_is_read_at_once_is_whole(tmp_path: Path) -> None:
    spool = Spool(Place(tmp_path), 1000, Book())
    long = os.urandom(spools.READ_BYTES + 12_345)
    first, second = await filled(spool, [long, b"short" * 300])
    assert await spool.read(first) == (long, second)
    assert await spool.read(second) == (b"short" * 300, spool.end)
    spool.close()


async def test_what_is_kept_is_paid_for_until_it_is_freed(tmp_path: Path) -> None:
    book = Book()
    spool = Spool(Place(tmp_path), 1000, book)
    offsets = await filled(spool, [b"x" * 96] * 50)
    assert book.used == spool.end == 5000
    spool.free(offsets[20])
    assert book.used == 3000
    spool.free(offsets[10])
    assert book.used == 3000, "what was freed is not freed twice"
    spool.close()
    assert book.used == 0
    spool.put(b"too late")
    assert book.used == 0


async def test_files_are_given_back_one_by_one_as_the_reader_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 2000)
    before = files()
    spool = Spool(Place(tmp_path), 500, Book())
    offsets = await filled(spool, [b"x" * 96] * 100)
    held = files() - before
    assert held >= 4
    for offset in offsets:
        spool.free(offset)
        assert (await spool.read(offset))[0] == b"x" * 96
    assert files() - before <= 1, "the last one may be written to again"
    spool.close()
    assert files() == before


async def test_a_file_that_is_being_read_is_closed_only_afterwards(tmp_path: Path) -> None:
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(work: Callable[[], Any]) -> Any:
        reading.set()
        await go_on.wait()
        return work()

    place = Place(tmp_path, at_once)
    spool = Spool(place, 0, Book())
    record = os.urandom(spools.READ_BYTES * 2)
    (offset,) = await filled(spool, [record])
    spool._place = place._replace(aside=slowly)
    fetch = asyncio.ensure_future(spool.read(offset))
    await reading.wait()
    spool.close()
    go_on.set()
    assert (await fetch)[0] == record


async def test_what_is_freed_while_it_is_written_is_gone_and_the_rest_is_there(tmp_path: Path) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(work: Callable[[], Any]) -> Any:
        writing.set()
        await go_on.wait()
        return work()

    book = Book()
    spool = Spool(Place(tmp_path, slowly), 300, book)
    offsets = []
    for n in range(4):
        offsets.append(spool.end)
        spool.put(bytes([n]) * 96)
    settling = asyncio.ensure_future(spool.settle())
    await writing.wait()
    assert (await spool.read(offsets[1]))[0] == b"\1" * 96, "it can be read meanwhile"
    spool.free(offsets[2])
    go_on.set()
    await settling
    assert [(await spool.read(offset))[0] for offset in offsets[2:]] == [b"\2" * 96, b"\3" * 96]
    assert book.used == 200
    spool.close()


async def test_a_disk_that_takes_no_more_is_said_and_what_was_there_is_still_there(tmp_path: Path) -> None:
    async def fail(work: Callable[[], Any]) -> Any:
        raise OSError(28, "No space left on device")

    spool = Spool(Place(tmp_path, fail), 300, Book())
    spool.put(b"x" * 400)
    with pytest.raises(OSError, match="No space left"):
        await spool.settle()
    assert (await spool.read(0))[0] == b"x" * 400
    spool.close()


steps = st.lists(
    st.one_of(st.binary(max_size=60), st.tuples(st.just("free"), st.integers(0, 40)), st.just("settle")), max_size=60
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, memory=st.integers(0, 200), segment=st.integers(1, 300))
async def test_every_record_that_is_not_freed_comes_back_as_it_was(
    tmp_path: Path, steps: list[Any], memory: int, segment: int
) -> None:
    spools_segment, spools.SEGMENT_BYTES = spools.SEGMENT_BYTES, segment
    book, kept = Book(), dict[int, bytes]()
    spool = Spool(Place(tmp_path, at_once), memory, book)
    try:
        for step in steps:
            if isinstance(step, bytes):
                kept[spool.end] = step
                spool.put(step)
            elif step == "settle":
                await spool.settle()
            else:
                before = sorted([*kept, spool.end])[min(step[1], len(kept))]
                spool.free(before)
                kept = {offset: record for offset, record in kept.items() if offset >= before}
            assert {offset: (await spool.read(offset))[0] for offset in kept} == kept
            assert book.used == sum(len(record) + 4 for record in kept.values())
    finally:
        spool.close()
        spools.SEGMENT_BYTES = spools_segment
    assert book.used == 0
