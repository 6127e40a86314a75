"""How rows are brought to a window without anybody else having to wait for them. It knows no backend."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from pooler.backends.base import Window

PIECE_BYTES = 262_144
"""What may be written in one go, while the loop has nothing else to do: 1 to 2 ms of it."""


async def wants_more(window: Window) -> bool:
    """Whether to bring further rows, and when. Whoever else has something to do on the loop comes first: a backend
    that is faster than its reader makes nobody wait."""
    await asyncio.sleep(0)
    return await window.room()


async def take(window: Window, rows: Sequence[Sequence[Any]], last: bool) -> bool:
    """Gives a window a batch, piece by piece. Whether it wants another one; after the `last` nobody is asked."""
    for start, end in _pieces(rows, window.batch_rows):
        window.add(rows[start:end])
        if not (last and end == len(rows)) and not await wants_more(window):
            return False
    return True


def _pieces(rows: Sequence[Sequence[Any]], rows_max: int) -> Iterator[tuple[int, int]]:
    """From which row to which; judged by the longest of three rows, which is quicker than to measure them all."""
    count = len(rows)
    longest = max((_length(rows[at]) for at in (0, count // 2, count - 1)), default=0) if count else 0
    step = max(1, min(rows_max, PIECE_BYTES // max(1, longest)))
    return ((start, min(start + step, count)) for start in range(0, count, step))


def _length(row: Sequence[Any]) -> int:
    return sum(len(cell) if isinstance(cell, str | bytes | list | dict) else 8 for cell in row)
