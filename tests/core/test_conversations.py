"""Conversations: who may use one, what ends with it, what a later process knows of it, and what its client hears."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from pooler.backends.base import Caller
from pooler.core.conversations import Limits
from pooler.errors import Fault, Reason
from pooler.runtime.conversations.conversation import Conversation
from pooler.runtime.conversations.hearing import Hearing
from pooler.runtime.conversations.record import LOG_LEVELS, Record, Target
from pooler.runtime.conversations.room import KIND, NOTE_BYTES_MAX, SUBSCRIPTIONS_MAX, Conversations
from pooler.runtime.handles import Sealer
from pooler.runtime.store.base import Store, StoreBounds
from pooler.runtime.store.memory import MemoryStore
from pooler.runtime.store.sqlite import open_store

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
LIMITS = Limits(idle_seconds=30.0, lifetime_seconds=3600.0, per_principal_max=3)
ANN = ("shop", "ann")
TARGET = Target("orders://a", "orders", b'{"customer": "a"}')


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Thing:
    """Something that belongs to a conversation."""

    def __init__(self) -> None:
        self.ended = 0

    async def end(self) -> None:
        await asyncio.sleep(0)
        self.ended += 1


class Board:
    """Where changes are put up by hand, for whoever watches."""

    def __init__(self) -> None:
        self.watched: dict[str, list[asyncio.Queue[str]]] = {}
        self.operations = {"orders"}

    def check(self, targets: Sequence[Target], caller: Caller) -> None:
        if any(target.operation not in self.operations for target in targets):
            raise Fault(Reason.OPERATION_NOT_FOUND, "There is no such operation.")

    async def watch(self, targets: Sequence[Target], caller: Caller) -> AsyncGenerator[str, None]:
        self.check(targets, caller)
        news: asyncio.Queue[str] = asyncio.Queue()
        for target in targets:
            self.watched.setdefault(target.uri, []).append(news)
        try:
            while True:
                yield await news.get()
        finally:
            for target in targets:
                self.watched[target.uri].remove(news)
                if not self.watched[target.uri]:
                    del self.watched[target.uri]

    def change(self, uri: str) -> None:
        for news in self.watched[uri]:
            news.put_nowait(uri)

    async def until_watched(self, *uris: str) -> None:
        """Returns when just these are watched, by one each."""
        await until(lambda: {uri: len(who) for uri, who in self.watched.items()} == dict.fromkeys(uris, 1))


async def until(holds: Callable[[], bool]) -> None:
    """Lets everything else run until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


@pytest.fixture
def wall() -> Wall:
    return Wall()


def made(store: Store, wall: Wall, limits: Limits = LIMITS) -> Conversations:
    return Conversations(Sealer("0a1b2c3d", [bytes(32)], wall), store, limits, wall)


@pytest.fixture
async def room(wall: Wall) -> AsyncIterator[Conversations]:
    conversations = made(MemoryStore(wall), wall)
    await conversations.start()
    yield conversations
    await conversations.stop()


def refused(room: Conversations, handle: str, *caller: str) -> Reason:
    with pytest.raises(Fault) as raised:
        room.check(handle, *(caller or ANN))
    return raised.value.reason


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


async def take(hearing: Hearing) -> str:
    async with asyncio.timeout(10):
        return await anext(hearing)


async def test_a_client_hears_of_what_it_has_subscribed_to_before_and_meanwhile(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    await room.subscribe(conversation, TARGET, board)
    hearing = room.listen(conversation, board)
    await room.subscribe(conversation, Target("orders://b", "orders"), board)
    await board.until_watched("orders://a", "orders://b")

    board.change("orders://b")
    assert await take(hearing) == "orders://b"
    board.change("orders://a")
    assert await take(hearing) == "orders://a"
    await room.unsubscribe(conversation, "orders://a")
    await board.until_watched("orders://b")
    hearing.end()
    await board.until_watched()


async def test_changes_that_nobody_has_read_yet_are_one_change(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    for uri in ("orders://a", "orders://b"):
        await room.subscribe(conversation, Target(uri, "orders"), board)
    hearing = room.listen(conversation, board)
    await board.until_watched("orders://a", "orders://b")

    for _ in range(100):
        board.change("orders://a")
    board.change("orders://b")
    await until(lambda: all(news.empty() for who in board.watched.values() for news in who))
    heard = sorted([await take(hearing), await take(hearing)])
    board.change("orders://b")

    assert heard == ["orders://a", "orders://b"]
    assert await take(hearing) == "orders://b"
    hearing.end()


async def test_a_newer_stream_replaces_the_older(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    await room.subscribe(conversation, TARGET, board)
    older = room.listen(conversation, board)
    waiting = asyncio.ensure_future(anext(older, "over"))
    await board.until_watched("orders://a")

    (watched_by_older,) = board.watched["orders://a"]
    newer = room.listen(conversation, board)
    await until(lambda: watched_by_older not in board.watched.get("orders://a", []))
    await board.until_watched("orders://a")
    board.change("orders://a")

    assert await waiting == "over"
    assert await take(newer) == "orders://a"
    older.end()
    assert conversation.hearing is newer
    newer.end()
    assert (conversation.hearing, conversation.life.holds) == (None, 0)


async def test_a_newer_stream_tells_what_was_not_taken_from_the_older(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    await room.subscribe(conversation, TARGET, board)
    older = room.listen(conversation, board)
    await board.until_watched("orders://a")
    board.change("orders://a")
    await until(lambda: older.unread == ["orders://a"])

    newer = room.listen(conversation, board)

    assert await take(newer) == "orders://a"
    newer.end()


async def test_a_stream_ends_with_its_conversation_and_keeps_it_from_idling(room: Conversations, wall: Wall) -> None:
    board, conversation = Board(), await room.open(*ANN)
    hearing = room.listen(conversation, board)
    waiting = asyncio.ensure_future(anext(hearing, "over"))

    wall.now += 1000.0
    await room.look_after()
    assert room.alive(conversation.key)
    await room.close(conversation)

    assert await waiting == "over"


async def test_a_subscription_to_what_is_there_no_more_leaves_the_others_alone(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    board.operations.add("gone")
    await room.subscribe(conversation, Target("gone://", "gone"), board)
    board.operations.remove("gone")
    await room.subscribe(conversation, TARGET, board)
    hearing = room.listen(conversation, board)
    await board.until_watched("orders://a")

    board.change("orders://a")

    assert await take(hearing) == "orders://a"
    hearing.end()


async def test_a_wait_that_is_cancelled_loses_no_change(room: Conversations) -> None:
    board, conversation = Board(), await room.open(*ANN)
    await room.subscribe(conversation, TARGET, board)
    hearing = room.listen(conversation, board)
    await board.until_watched("orders://a")
    waiting = asyncio.ensure_future(anext(hearing))
    await asyncio.sleep(0)

    waiting.cancel()
    board.change("orders://a")

    assert await take(hearing) == "orders://a"
    hearing.end()


async def test_a_conversation_shows_its_state(room: Conversations) -> None:
    conversation: Conversation = await room.open(*ANN)

    assert "0 belongings, 0 under way" in repr(conversation)
    assert "0 watched, 0 changed" in repr(room.listen(conversation, Board()))
