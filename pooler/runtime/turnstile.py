"""One at a time, once a turn of the loop: for work that never ends by itself and that nobody is in a hurry for.

Each of many large results has its next batch at hand whenever it is asked. If all of them took one in every turn of the
loop, everybody else would wait for as many batches at each of his own steps. So they share one place. First come, first
served; whoever has been through goes to the end.
"""

import asyncio
from collections import deque


class Turnstile:
    """Belongs to the loop on which it is first used."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    async def through(self) -> None:
        """Returns when it is one's turn: at once, when nobody has been through in this turn of the loop."""
        loop = asyncio.get_running_loop()
        if self._taken:
            place = loop.create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if not place.cancelled():
                    self._next()  # it was one's turn just now: somebody else has it
                raise
        self._taken = True
        loop.call_soon(self._next)

    def _next(self) -> None:
        """Another turn of the loop: it belongs to who has waited longest, or to whoever comes."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._taken = False
