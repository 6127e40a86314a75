"""How batches of rows reach a window: in pieces that cost the loop little, and no further than they are wanted."""

import asyncio

import pytest

from pooler.backends import streams
from tests.contract.windows import Reader

pytestmark = pytest.mark.anyio


def opened(batch_rows: int, rows_max: int | None = None) -> Reader:
    reader = Reader(batch_rows, rows_max)
    reader.open(["n"])
    return reader


async def test_a_batch_larger_than_what_is_wanted_at_once_comes_in_pieces() -> None:
    reader = opened(batch_rows=10)
    assert await streams.take(reader, [(n,) for n in range(25)], last=False)
    assert reader.batches == [10, 10, 5]


async def test_long_rows_come_in_smaller_pieces_and_one_row_is_always_taken() -> None:
    half = "x" * (streams.PIECE_BYTES // 2)
    reader = opened(batch_rows=10)
    reader.row_bytes_max = 10 * streams.PIECE_BYTES
    assert await streams.take(reader, [(half,)] * 5, last=False)
    assert await streams.take(reader, [(half * 4,)] * 2, last=False)
    assert reader.batches == [2, 2, 1, 1, 1]


async def test_the_rows_behind_the_last_wanted_one_are_not_even_written() -> None:
    reader = opened(batch_rows=10, rows_max=15)
    assert not await streams.take(reader, [(n,) for n in range(100)], last=True)
    assert reader.batches == [10, 10]


async def test_nobody_is_asked_for_room_behind_the_last_row() -> None:
    reader = Reader(batch_rows=10, patient=True)
    reader.open(["n"])
    assert await streams.take(reader, [(n,) for n in range(10)], last=True)
    assert not reader.waits.is_set()


async def test_no_rows_are_no_piece() -> None:
    reader = opened(batch_rows=10)
    assert await streams.take(reader, [], last=False)
    assert await streams.take(reader, [], last=True)
    assert reader.batches == []


async def test_everybody_else_has_a_turn_between_two_pieces() -> None:
    seen: list[int] = []
    reader = opened(batch_rows=10)

    async def other() -> None:
        for _ in range(3):
            seen.append(len(reader.rows))
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await streams.take(reader, [(n,) for n in range(30)], last=True)
    await task
    assert seen == [10, 20, 30]
