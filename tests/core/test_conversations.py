"""Conversations: who may use one, how long it lives, what is kept of it, and what ends with it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pooler.errors import Fault, Reason
from pooler.runtime.conversations.record import LOG_LEVELS, Target
from pooler.runtime.conversations.room import KIND, NOTE_BYTES_MAX, SUBSCRIPTIONS_MAX, Conversations
from pooler.runtime.store.base import StoreBounds
from pooler.runtime.store.memory import MemoryStore
from tests.core.conversation_scene import ANN, NOW, TARGET, Board, Thing, Wall, made, refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def room(wall: Wall) -> AsyncIterator[Conversations]:
    conversations = made(MemoryStore(wall), wall)
    await conversations.start()
    yield conversations
    await conversations.stop()


async def test_a_conversation_is_found_by_its_own_principal_alone(room: Conversations) -> None:
    opened = await room.open(*ANN, note=b"a note")
    handle = room.handle(opened)

    assert room.check(handle, *ANN) is opened
    assert await room.note(opened) == b"a note"
    assert refused(room, handle, "shop", "bob") == Reason.HANDLE_UNKNOWN
    assert refused(room, handle, "other", "ann") == Reason.HANDLE_UNKNOWN
    assert refused(room, "garbage") == Reason.HANDLE_UNKNOWN


async def test_a_conversation_that_is_used_lives_and_one_that_is_not_ends_at_its_time(
    room: Conversations, wall: Wall
) -> None:
    handle = room.handle(await room.open(*ANN))
    for _ in range(5):
        wall.now += 29.9
        room.check(handle, *ANN)

    wall.now += 30.0

    assert refused(room, handle) == Reason.HANDLE_EXPIRED


async def test_a_conversation_ends_at_its_age_however_much_it_is_used(room: Conversations, wall: Wall) -> None:
    conversation = await room.open(*ANN)
    room.hold(conversation)
    handle = room.handle(conversation)

    wall.now = NOW + 3599.0
    room.check(handle, *ANN)
    wall.now = NOW + 3600.0

    assert refused(room, handle) == Reason.HANDLE_EXPIRED


async def test_a_call_that_comes_too_late_ends_it_before_any_sweep_does(room: Conversations, wall: Wall) -> None:
    conversation, thing = await room.open(*ANN), Thing()
    room.attach(conversation.key, thing)
    wall.now += 30.0

    refused(room, room.handle(conversation))
    await room.stop()

    assert thing.ended == 1


async def test_a_run_under_way_keeps_its_conversation_however_long_it_takes(room: Conversations, wall: Wall) -> None:
    conversation = await room.open(*ANN)
    run = room.begin_run(conversation.key, "7")

    wall.now += 1000.0
    await room.look_after()
    room.end_run(conversation.key, run, "7")
    wall.now += 29.0

    assert room.check(room.handle(conversation), *ANN) is conversation


@pytest.mark.promise(20)
async def test_whatever_a_conversation_has_left_open_ends_with_it_and_once(room: Conversations) -> None:
    conversation, things = await room.open(*ANN), [Thing(), Thing()]
    told: list[str] = []
    for thing in things:
        room.attach(conversation.key, thing)
    let_go = Thing()
    room.attach(conversation.key, let_go)
    room.detach(conversation.key, let_go)
    room.ended.append(told.append)

    await asyncio.gather(room.close(conversation), room.close(conversation))

    assert [thing.ended for thing in (*things, let_go)] == [1, 1, 0]
    assert told == [conversation.key]
    assert refused(room, room.handle(conversation)) == Reason.HANDLE_EXPIRED


async def test_nothing_can_begin_in_a_conversation_that_has_ended(room: Conversations) -> None:
    conversation = await room.open(*ANN)
    await room.close(conversation)

    for begin in (lambda: room.attach(conversation.key, Thing()), lambda: room.begin_run(conversation.key)):
        with pytest.raises(Fault) as raised:
            begin()
        assert raised.value.reason == Reason.HANDLE_EXPIRED
    assert not room.alive(conversation.key)


async def test_one_thing_that_cannot_be_ended_does_not_keep_the_others(room: Conversations) -> None:
    class Stuck(Thing):
        async def end(self) -> None:
            raise RuntimeError("stuck")

    conversation, thing = await room.open(*ANN), Thing()
    room.attach(conversation.key, Stuck())
    room.attach(conversation.key, thing)

    await room.close(conversation)

    assert thing.ended == 1
    assert not room.alive(conversation.key)


async def test_one_more_than_a_principal_may_have_ends_the_one_that_idled_longest(
    room: Conversations, wall: Wall
) -> None:
    handles = [room.handle(await room.open(*ANN)) for _ in range(3)]
    wall.now += 1
    room.check(handles[0], *ANN)

    await room.open(*ANN)

    assert refused(room, handles[1]) == Reason.HANDLE_EXPIRED
    assert [room.check(handle, *ANN).life.owner for handle in (handles[0], handles[2])] == [ANN, ANN]


async def test_where_all_are_in_use_one_more_is_refused_and_told_how_many(room: Conversations) -> None:
    for _ in range(3):
        room.hold(await room.open(*ANN))

    with pytest.raises(Fault, match="has 3 conversations, as many as it may") as raised:
        await room.open(*ANN)

    assert raised.value.reason == Reason.STORE_FULL
    assert (await room.open("shop", "bob")).life.owner == ("shop", "bob")


async def test_a_conversation_that_cannot_be_stored_is_none(wall: Wall) -> None:
    store = MemoryStore(wall, StoreBounds(count_max=1))
    room = made(store, wall)

    with pytest.raises(Fault) as raised:
        await room.open(*ANN, note=b"a note needs an entry of its own")
    await room.stop()

    assert raised.value.reason == Reason.STORE_FULL
    assert (await store.all(KIND), await store.all("conversation note")) == ([], [])


@pytest.mark.parametrize(
    ("capabilities", "note"), [(b"[]", b""), (b"{", b""), (b"\xff", b""), (b"", bytes(NOTE_BYTES_MAX + 1))]
)
async def test_what_cannot_be_kept_is_refused(room: Conversations, capabilities: bytes, note: bytes) -> None:
    with pytest.raises(Fault) as raised:
        await room.open(*ANN, capabilities, note)

    assert raised.value.reason == Reason.INVALID_ARGUMENTS


@pytest.mark.promise(31)
async def test_a_pooler_that_is_being_shut_down_opens_none_and_serves_those_there_are(room: Conversations) -> None:
    handle = room.handle(await room.open(*ANN))
    room.draining = True

    with pytest.raises(Fault) as raised:
        await room.open(*ANN)

    assert raised.value.reason == Reason.DRAINING
    assert room.check(handle, *ANN).life.owner == ANN


async def test_runs_are_named_one_after_the_other_and_found_by_their_requests(room: Conversations) -> None:
    conversation = await room.open(*ANN)

    runs = [room.begin_run(conversation.key, request) for request in ('"a"', "7", "")]

    assert [run.name for run in runs] == ["r1", "r2", "r3"]
    assert [conversation.run(run.name) for run in runs] == runs
    assert conversation.requests == {'"a"': runs[0], "7": runs[1]}
    again = room.begin_run(conversation.key, "7")
    room.end_run(conversation.key, runs[1], "7")
    assert conversation.requests == {'"a"': runs[0], "7": again}


async def test_the_log_level_and_subscriptions_are_kept_or_refused(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    for level in LOG_LEVELS:
        await room.set_log_level(conversation, level)
    await room.subscribe(conversation, TARGET, board)
    await room.subscribe(conversation, TARGET, board)
    await room.subscribe(conversation, Target("orders://b", "orders"), board)
    await room.unsubscribe(conversation, "orders://b")
    await room.unsubscribe(conversation, "orders://never")

    assert (conversation.record.log_level, conversation.record.subscriptions) == ("emergency", {TARGET.uri: TARGET})
    for wrong in (
        room.set_log_level(conversation, "loud"),
        room.subscribe(conversation, Target("", "orders"), board),
        room.subscribe(conversation, Target("orders://c", "orders", b"[]"), board),
        room.subscribe(conversation, Target("x" * 20_000, "orders"), board),
    ):
        with pytest.raises(Fault) as raised:
            await wrong
        assert raised.value.reason == Reason.INVALID_ARGUMENTS
    assert conversation.record.subscriptions == {TARGET.uri: TARGET}


async def test_what_does_not_exist_cannot_be_subscribed_to(room: Conversations) -> None:
    conversation = await room.open(*ANN)

    with pytest.raises(Fault) as raised:
        await room.subscribe(conversation, Target("gone://", "gone"), Board())

    assert raised.value.reason == Reason.OPERATION_NOT_FOUND
    assert conversation.record.subscriptions == {}


async def test_subscriptions_are_bounded(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    for number in range(SUBSCRIPTIONS_MAX):
        await room.subscribe(conversation, Target(f"orders://{number}", "orders"), board)

    with pytest.raises(Fault, match="100 subscriptions"):
        await room.subscribe(conversation, TARGET, board)

    await room.subscribe(conversation, Target("orders://0", "orders", b"{}"), board)


async def test_a_conversation_shows_its_state(room: Conversations) -> None:
    conversation = await room.open(*ANN)

    assert "0 belongings, 0 under way" in repr(conversation)
    assert "0 watched, 0 changed" in repr(room.listen(conversation, Board()))
