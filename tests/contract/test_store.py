"""Every form of the store keeps the same promises: what is put is there until it expires, and the bounds hold."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pooler.errors import Fault, Reason
from pooler.runtime.store.base import ENTRY_BYTES, Store, StoreBounds
from pooler.runtime.store.memory import MemoryStore
from pooler.runtime.store.sqlite import open_store

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
LATER = NOW + 60


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


Opens = Callable[[StoreBounds], Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite"])
async def opens(request: pytest.FixtureRequest, tmp_path: Path, wall: Wall) -> AsyncIterator[Opens]:
    """Opens a store of one form; all are closed at the end."""
    opened: list[Store] = []

    async def make(bounds: StoreBounds) -> Store:
        memory = request.param == "memory"
        store = MemoryStore(wall, bounds) if memory else await open_store(tmp_path / "store.sqlite3", wall, bounds)
        opened.append(store)
        return store

    yield make
    for store in opened:
        await store.close()


@pytest.fixture
async def store(opens: Opens) -> Store:
    return await opens(StoreBounds())


async def refused(work: Awaitable[Any]) -> Fault:
    with pytest.raises(Fault) as raised:
        await work
    assert raised.value.reason == Reason.STORE_FULL
    assert int(raised.value.metadata["retry_after_ms"]) > 0
    return raised.value


async def test_an_entry_is_there_until_it_expires_swept_or_not(store: Store, wall: Wall) -> None:
    await store.put("run", "a", b"\x00value", LATER)

    assert await store.get("run", "a") == b"\x00value"
    wall.now = LATER - 0.001
    assert await store.get("run", "a") == b"\x00value"
    wall.now = LATER
    assert await store.get("run", "a") is None
    assert await store.all("run") == []


async def test_what_was_never_put_is_not_there(store: Store) -> None:
    assert await store.get("run", "a") is None
    assert await store.read("a", 0) == []
    await store.delete("run", "a")


async def test_one_key_of_two_kinds_is_two_entries(store: Store) -> None:
    await store.put("run", "a", b"the run", LATER)
    await store.put("conversation", "a", b"the conversation", LATER)

    await store.delete("run", "a")

    assert (await store.get("run", "a"), await store.get("conversation", "a")) == (None, b"the conversation")


async def test_an_entry_is_replaced_with_its_time(store: Store, wall: Wall) -> None:
    await store.put("run", "a", b"one", LATER)
    await store.put("run", "a", b"two", LATER + 60)

    wall.now = LATER
    await store.sweep(wall.now)

    assert await store.get("run", "a") == b"two"


async def test_all_entries_of_a_kind_are_told_in_the_order_of_their_keys(store: Store) -> None:
    for key in "bca":
        await store.put("conversation", key, key.encode(), LATER)
    await store.put("run", "d", b"", LATER)

    assert await store.all("conversation") == [("a", b"a"), ("b", b"b"), ("c", b"c")]


async def test_events_are_read_from_after_any_of_them_in_order(store: Store) -> None:
    await store.put("run", "a", b"", LATER)
    for seq in (1, 2, 10, 3):
        await store.append("a", seq, f"event {seq}".encode())

    assert await store.read("a", 0) == [(1, b"event 1"), (2, b"event 2"), (3, b"event 3"), (10, b"event 10")]
    assert await store.read("a", 2) == [(3, b"event 3"), (10, b"event 10")]
    assert await store.read("a", 10) == []


async def test_an_event_with_the_same_number_is_replaced(store: Store) -> None:
    await store.put("run", "a", b"", LATER)
    await store.append("a", 1, b"one")
    await store.append("a", 1, b"other")

    assert await store.read("a", 0) == [(1, b"other")]


async def test_events_go_when_the_last_entry_with_their_key_goes(store: Store) -> None:
    await store.put("run", "a", b"", LATER)
    await store.put("task", "a", b"", LATER)
    await store.append("a", 1, b"event")

    await store.delete("run", "a")
    assert await store.read("a", 0) == [(1, b"event")]
    await store.delete("task", "a")
    await store.put("run", "a", b"another", LATER)

    assert await store.read("a", 0) == []


async def test_events_expire_with_their_entry_swept_or_not(store: Store, wall: Wall) -> None:
    await store.put("run", "a", b"", LATER)
    await store.append("a", 1, b"event")

    wall.now = LATER

    assert await store.read("a", 0) == []
    await store.sweep(wall.now)
    await store.put("run", "a", b"another", LATER + 60)
    assert await store.read("a", 0) == []


async def test_what_is_put_after_an_end_finds_nothing_of_what_was_there_before(store: Store, wall: Wall) -> None:
    await store.put("run", "a", b"", LATER)
    await store.append("a", 1, b"event")

    wall.now = LATER
    await store.append("a", 2, b"too late")
    await store.put("task", "a", b"another", LATER + 60)

    assert await store.read("a", 0) == []
    assert await store.get("run", "a") is None


async def test_an_event_whose_key_has_no_entry_is_not_kept(store: Store) -> None:
    await store.append("a", 1, b"event")
    await store.put("run", "a", b"", LATER)

    assert await store.read("a", 0) == []


async def test_what_stands_under_a_key_goes_at_once_with_its_events(store: Store) -> None:
    for key in ("a", "a.r1", "a.r2", "a-r3", "a/r4", "ab.r5", "b.a.r6"):
        await store.put("run", key, b"", LATER)
        await store.append(key, 1, b"event")
    await store.put("task", "a.r1", b"", LATER)

    await store.delete_under("a")
    await store.delete_under("nothing")

    assert [key for key, _ in await store.all("run")] == ["a", "a-r3", "a/r4", "ab.r5", "b.a.r6"]
    assert await store.all("task") == []
    await store.put("run", "a.r1", b"", LATER)
    assert await store.read("a.r1", 0) == []
    assert await store.read("a", 0) == [(1, b"event")]


async def test_a_sweep_takes_what_has_expired_and_nothing_else(opens: Opens, wall: Wall) -> None:
    store = await opens(StoreBounds(count_max=10))
    for number in range(10):
        await store.put("run", str(number), b"", NOW + number)

    await store.sweep(NOW + 4)

    assert [key for key, _ in await store.all("run")] == ["5", "6", "7", "8", "9"]


async def test_a_store_that_is_full_by_count_refuses_and_keeps_all_it_has(opens: Opens) -> None:
    store = await opens(StoreBounds(count_max=3))
    await store.put("run", "a", b"a", LATER)
    await store.put("run", "b", b"b", LATER)
    await store.append("a", 1, b"event")

    fault = await refused(store.put("run", "c", b"c", LATER))
    await refused(store.append("a", 2, b"another"))

    assert "keeps 3 things" in fault.message
    assert await store.all("run") == [("a", b"a"), ("b", b"b")]
    assert await store.read("a", 0) == [(1, b"event")]


async def test_a_store_that_is_full_by_bytes_refuses_until_something_is_given_back(opens: Opens) -> None:
    store = await opens(StoreBounds(bytes_max=2 * (ENTRY_BYTES + 1000)))
    await store.put("run", "a", bytes(1000), LATER)
    await store.put("run", "b", bytes(500), LATER)

    await refused(store.put("run", "c", bytes(400), LATER))
    await refused(store.put("run", "b", bytes(1001), LATER))
    await store.put("run", "b", bytes(1000), LATER)
    await store.delete("run", "a")
    await store.put("run", "c", bytes(400), LATER)

    assert [(key, len(value)) for key, value in await store.all("run")] == [("b", 1000), ("c", 400)]


async def test_a_full_store_replaces_what_does_not_grow(opens: Opens) -> None:
    store = await opens(StoreBounds(count_max=1, bytes_max=ENTRY_BYTES + 10))
    await store.put("run", "a", bytes(10), LATER)

    await store.put("run", "a", b"0123456789", LATER)

    assert await store.get("run", "a") == b"0123456789"


async def test_what_has_expired_gives_way_before_anything_is_refused(opens: Opens, wall: Wall) -> None:
    store = await opens(StoreBounds(count_max=4))
    await store.put("run", "old", b"", NOW + 1)
    await store.append("old", 1, b"")
    await store.append("old", 2, b"")
    await store.put("run", "young", b"", LATER)

    wall.now = NOW + 1
    for key in "abc":
        await store.put("run", key, b"", LATER)

    assert [key for key, _ in await store.all("run")] == ["a", "b", "c", "young"]
    await refused(store.put("run", "d", b"", LATER))


async def test_room_is_counted_right_over_any_number_of_changes(opens: Opens, wall: Wall) -> None:
    store = await opens(StoreBounds(count_max=6, bytes_max=6 * (ENTRY_BYTES + 100)))
    for _ in range(50):
        for key in "ab":
            await store.put("run", key, bytes(100), wall.now + 10)
            await store.put("run", key, bytes(30), wall.now + 10)
            await store.put("run", key, bytes(100), wall.now + 10)
            await store.append(key, 1, bytes(100))
            await store.append(key, 1, bytes(70))
            await store.append(key, 2, bytes(100))
        await store.delete("run", "a")
        wall.now += 10

    for key in "abcdef":
        await store.put("run", key, bytes(100), wall.now + 10)
    await refused(store.put("run", "g", b"", wall.now + 10))


async def test_many_tasks_at_once_each_find_what_they_have_put(store: Store) -> None:
    async def one(number: int) -> list[tuple[int, bytes]]:
        key = str(number)
        await store.put("run", key, b"", LATER)
        for seq in range(1, 6):
            await store.append(key, seq, f"{number}/{seq}".encode())
        return await store.read(key, 3)

    found = await asyncio.gather(*(one(number) for number in range(200)))

    assert found == [[(seq, f"{number}/{seq}".encode()) for seq in (4, 5)] for number in range(200)]


async def test_a_refusal_is_its_own_callers_alone(opens: Opens) -> None:
    store = await opens(StoreBounds(bytes_max=1000))

    results = await asyncio.gather(
        *(store.put("run", str(number), bytes(size), LATER) for number, size in enumerate((10, 5000, 20))),
        return_exceptions=True,
    )

    assert [isinstance(result, Fault) for result in results] == [False, True, False]
    assert [len(value) for _, value in await store.all("run")] == [10, 20]


async def test_a_caller_who_leaves_changes_nothing_for_the_others(store: Store) -> None:
    leaving = asyncio.ensure_future(store.put("run", "a", b"", LATER))
    staying = asyncio.ensure_future(store.put("run", "b", b"", LATER))
    await asyncio.sleep(0)
    leaving.cancel()

    await staying

    assert await store.get("run", "b") == b""
