"""Conversations from one process to the next: what a later one knows, whatever became of the earlier one."""

from pathlib import Path

import pytest

from pooler.errors import Reason
from pooler.runtime.conversations.record import Record
from pooler.runtime.conversations.room import KIND
from pooler.runtime.store.memory import MemoryStore
from pooler.runtime.store.sqlite import open_store
from tests.core.conversation_scene import ANN, LIMITS, NOW, TARGET, Board, Wall, made, refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def wall() -> Wall:
    return Wall()


async def test_a_later_process_goes_on_with_a_conversation(tmp_path: Path, wall: Wall) -> None:
    store = await open_store(tmp_path / "store", wall)
    room = made(store, wall)
    await room.start()
    conversation = await room.open(*ANN, b'{"sampling":{}}', b"a note")
    handle = room.handle(conversation)
    await room.set_log_level(conversation, "info")
    await room.subscribe(conversation, TARGET, Board())
    names = {room.begin_run(conversation.key).name for _ in range(3)}
    wall.now += 20.0
    room.check(handle, *ANN)
    await room.stop()
    await store.close()

    store = await open_store(tmp_path / "store", wall)
    later = made(store, wall)
    await later.start()
    wall.now += 29.0
    found = later.check(handle, *ANN)

    assert (found.record.log_level, found.record.subscriptions) == ("info", {TARGET.uri: TARGET})
    assert found.record.capabilities == b'{"sampling":{}}'
    assert await later.note(found) == b"a note"
    assert later.begin_run(found.key).name not in names
    await later.stop()
    await store.close()


async def test_a_later_process_counts_idle_time_from_the_last_use(tmp_path: Path, wall: Wall) -> None:
    store = await open_store(tmp_path / "store", wall)
    room = made(store, wall)
    await room.start()
    handle = room.handle(await room.open(*ANN))
    await room.stop()
    wall.now += 30.0

    later = made(store, wall)
    await later.start()

    assert refused(later, handle) == Reason.HANDLE_EXPIRED
    await later.stop()
    await store.close()


async def test_an_earlier_process_that_was_killed_has_kept_uses_but_for_the_last_few(wall: Wall) -> None:
    store = MemoryStore(wall)
    room = made(store, wall)
    handle = room.handle(await room.open(*ANN))
    for _ in range(10):  # used every two seconds, looked after every four
        wall.now += 2.0
        room.check(handle, *ANN)
        wall.now += 2.0
        await room.look_after()

    later = made(store, wall)
    await later.start()
    wall.now += 30.0 - 4.0 - LIMITS.idle_seconds * 0.1 - 0.1

    assert later.check(handle, *ANN).life.owner == ANN
    await later.stop()
    await room.stop()


async def test_a_record_that_cannot_be_read_ends_its_conversation_and_no_other(wall: Wall) -> None:
    store = MemoryStore(wall)
    room = made(store, wall)
    sound = room.handle(await room.open(*ANN))
    await store.put(KIND, "broken", b"{}", NOW + 60)
    await store.put(KIND, "garbage", b"\xff", NOW + 60)

    later = made(store, wall)
    await later.start()

    assert later.check(sound, *ANN).life.owner == ANN
    assert len(await store.all(KIND)) == 1
    await later.stop()


async def test_what_was_stored_under_a_conversation_goes_with_it(wall: Wall) -> None:
    store = MemoryStore(wall)
    room = made(store, wall)
    conversation = await room.open(*ANN, note=b"note")
    await store.put("run", conversation.run("r1").id, b"a run", NOW + 600)

    await room.close(conversation)
    await room.stop()

    assert await store.get("run", conversation.run("r1").id) is None
    assert (await store.all(KIND), await store.get("conversation note", conversation.key)) == ([], None)


async def test_a_record_survives_packing() -> None:
    record = Record("shop", "ann", NOW, NOW + 1.5, b'{"roots":{}}', "debug", {TARGET.uri: TARGET})

    assert Record.unpack(record.pack()) == record
