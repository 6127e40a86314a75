"""What a conversation's client hears beside its runs: which changes, by which stream, and until when."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pooler.runtime.conversations.hearing import Hearing
from pooler.runtime.conversations.record import Target
from pooler.runtime.conversations.room import Conversations
from pooler.runtime.store.memory import MemoryStore
from tests.core.conversation_scene import ANN, TARGET, Board, Wall, made, until

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
