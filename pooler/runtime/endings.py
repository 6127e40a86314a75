"""Clean-ups that run to their end, whoever is in a hurry.

The hands cancel a start that takes too long or that nobody wants any more, and that may be in the midst of its own
clean-up. A slot is free as soon as its start has returned, so what is half cleaned up would exceed the cap.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(cleaning_up: Coroutine[Any, Any, T]) -> T:
    """Waits for a clean-up, which must be bounded by itself, however often it is cancelled meanwhile.

    A cancel is not raised afterwards: this belongs into an `except BaseException` that raises what it has caught.
    """
    task = asyncio.ensure_future(cleaning_up)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    return task.result()
