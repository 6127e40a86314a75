"""The store's file: what outlives the pooler, what is done about damage, and that a thousand requests share commits."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from pooler.errors import Fault, Reason
from pooler.runtime.store.base import ENTRY_BYTES, StoreBounds, StoreError
from pooler.runtime.store.file import VERSION, StoreFile
from pooler.runtime.store.memory import HEAP_SLACK, MemoryStore
from pooler.runtime.store.sqlite import SqliteStore, open_store
from pooler.runtime.threads import PinnedThread

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
LATER = NOW + 60
NAME = "store.sqlite3"


def wall() -> float:
    return NOW


async def opened(path: Path, bounds: StoreBounds | None = None) -> SqliteStore:
    return await open_store(path / NAME, wall, bounds)


async def filled(path: Path) -> None:
    """A closed store with one entry and an event."""
    store = await opened(path)
    await store.put("run", "a", b"kept", LATER)
    await store.append("a", 1, b"event")
    await store.close()


async def test_what_was_put_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    await filled(tmp_path)

    store = await opened(tmp_path)

    assert await store.get("run", "a") == b"kept"
    assert await store.read("a", 0) == [(1, b"event")]
    await store.close()


async def test_a_closed_store_is_one_file_for_its_owner_alone(tmp_path: Path) -> None:
    await filled(tmp_path)

    assert sorted(os.listdir(tmp_path)) == [NAME]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


async def test_what_was_there_counts_when_the_file_is_opened_again(tmp_path: Path) -> None:
    await filled(tmp_path)

    store = await opened(tmp_path, StoreBounds(count_max=2))
    with pytest.raises(Fault, match="keeps 2 things"):
        await store.put("run", "b", b"", LATER)
    await store.close()
    roomy = await opened(tmp_path, StoreBounds(bytes_max=3 * ENTRY_BYTES + len(b"keptevent") + 5))
    await roomy.put("run", "b", b"12345", LATER)
    with pytest.raises(Fault, match="keeps 3 things"):
        await roomy.put("run", "b", b"123456", LATER)
    await roomy.close()


@pytest.mark.parametrize("content", [b"this is no database, and never was" * 100, b"SQLite format 3\0" + bytes(5000)])
async def test_a_file_that_is_no_database_is_set_aside_and_a_new_one_begun(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)

    store = await opened(tmp_path)
    await store.put("run", "a", b"new", LATER)

    assert await store.get("run", "a") == b"new"
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == content
    await store.close()


async def test_a_file_whose_pages_are_damaged_is_set_aside_with_its_log(tmp_path: Path) -> None:
    await filled(tmp_path)
    data = bytearray((tmp_path / NAME).read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    (tmp_path / NAME).write_bytes(data)

    store = await opened(tmp_path)

    assert await store.all("run") == []
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == bytes(data)
    await store.close()


async def test_a_file_of_another_version_is_set_aside(tmp_path: Path) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as sql:
        sql.execute(f"PRAGMA user_version = {VERSION + 1}")
    sql.close()

    store = await opened(tmp_path)

    assert await store.all("run") == []
    assert (tmp_path / f"{NAME}.damaged").exists()
    await store.close()


async def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()

    with pytest.raises(StoreError, match=NAME):
        await opened(tmp_path)


async def test_a_file_that_is_damaged_while_it_is_open_is_replaced(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(40):  # more than SQLite's own cache holds
        await store.put("run", str(number), bytes(100_000), LATER)
    await store.close()
    store = await opened(tmp_path)
    damage(tmp_path / NAME)

    with pytest.raises(Fault) as raised:
        await store.all("run")

    assert (raised.value.reason, "log" in raised.value.message) == (Reason.INTERNAL, True)
    await store.put("run", "a", b"new", LATER)
    assert await store.all("run") == [("a", b"new")]
    assert (tmp_path / f"{NAME}.damaged").exists()
    await store.close()


def damage(path: Path) -> None:
    """Overwrites all but the first page, behind SQLite's back."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


async def test_a_batch_that_fails_keeps_nothing_and_counts_nothing(tmp_path: Path) -> None:
    file = StoreFile(tmp_path / NAME, wall, StoreBounds(count_max=1))

    def put_then_fail(it: StoreFile) -> None:
        it.put("run", "a", b"", LATER)
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(Fault):
        file.run([put_then_fail])

    assert file.run([lambda it: it.all("run")]) == [[]]
    assert file.run([lambda it: it.put("run", "b", b"", LATER)]) == [None]
    file.close()


async def test_what_is_asked_while_the_thread_is_busy_shares_one_transaction(tmp_path: Path) -> None:
    thread = PinnedThread("store")
    file = await thread.submit(lambda: StoreFile(tmp_path / NAME, wall, StoreBounds()))
    store = SqliteStore(file, thread)
    statements: list[str] = []
    await thread.submit(lambda: file._sql.set_trace_callback(statements.append))

    await asyncio.gather(*(store.put("run", str(number), b"", LATER) for number in range(1000)))

    assert len(await store.all("run")) == 1000
    assert statements.count("COMMIT") == 3  # the first alone, all others together, the last reading
    await store.close()


async def test_times_that_no_longer_hold_do_not_pile_up_in_memory() -> None:
    store = MemoryStore(wall)

    for number in range(5 * HEAP_SLACK):
        await store.put("run", "a", b"", LATER + number)

    assert len(store._times) <= HEAP_SLACK + 3
