"""Sends calls at their moments, whatever became of those before, and notes how late it was itself.

It waits for no answer and leaves no moment out: when it falls behind it sends what is due at once, and its lateness
shows, since latency counts from the moment at which a call was due.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from pooler.clock import Clock
from pooler.loadtest.calls import Arrival
from pooler.loadtest.tally import Tally
from pooler.service.load import NO_ANSWER, SILENCE_SECONDS, Leave, LoadAnswer, LoadCall, LoadWay

EARLY_SECONDS = 1e-6
"""A call may leave so much too early: less cannot be waited for, where a clock's own steps are larger."""
TICK_SECONDS = 0.001
"""Calls that are due closer together than this leave together: uvloop's timers have no finer step, and one message for
each call costs twice the CPU, which the system that is measured often shares."""
BURST = 32
"""Calls in a row before answers get their turn, when it is behind."""


@dataclass(slots=True)
class _UnderWay:
    call: Arrival
    leave: Leave | None = None
    timer: asyncio.TimerHandle | None = None


class Overflow(Exception):
    """So many calls have no answer that no more are sent. The run is invalid."""


class Generator:
    """`begun`: the clock's time of the run's first moment."""

    def __init__(self, way: LoadWay, tally: Tally, clock: Clock, begun: float, in_flight_max: int) -> None:
        self._way = way
        self._tally = tally
        self._clock = clock
        self._begun = begun
        self._in_flight_max = in_flight_max
        self._calls: dict[int, _UnderWay] = {}
        self._last = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def now(self) -> float:
        """Seconds since the run's first moment."""
        return self._clock() - self._begun

    async def send(self, calls: Iterable[Arrival]) -> None:
        """Sends each at its moment. Raises Overflow."""
        sent_in_a_row, before = 0, -TICK_SECONDS
        for call in calls:
            least = TICK_SECONDS if call.at - before < TICK_SECONDS else 0.0
            before = call.at
            while (ahead := call.at - self.now) > EARLY_SECONDS:
                await asyncio.sleep(max(ahead, least))
                sent_in_a_row = 0
            if sent_in_a_row == BURST:
                await asyncio.sleep(0)
                sent_in_a_row = 0
            sent_in_a_row += 1
            self._begin(call)

    async def settle(self) -> None:
        """Until every call has its answer, or is given up a while after its caller's time."""
        last = max((each.call.at + each.call.timeout for each in self._calls.values()), default=0.0)
        try:
            async with asyncio.timeout(max(0.0, last - self.now) + SILENCE_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            self.give_up()

    def give_up(self) -> None:
        """Leaves every call that has no answer."""
        for number in list(self._calls):
            if (leave := self._calls[number].leave) is not None:
                leave()
            self._answered(number, LoadAnswer(NO_ANSWER))

    def _begin(self, call: Arrival) -> None:
        if len(self._calls) >= self._in_flight_max:
            raise Overflow(
                f"{self._in_flight_max:,} calls had no answer at {self.now:.1f} s: offer less, shorten "
                "`timeout_seconds`, or raise `in_flight_max`"
            )
        late = max(0.0, self.now - call.at)
        self._last += 1
        number = self._last
        self._tally.sent(call, late)
        self._calls[number] = under_way = _UnderWay(call)
        self._empty.clear()
        timeout_ms = max(1, round((call.timeout - late) * 1000))
        wanted = LoadCall(call.operation, call.arguments, call.tenant, call.batch, timeout_ms, call.drops)
        under_way.leave = self._way.begin(wanted, lambda answer: self._answered(number, answer))
        if call.leaves_after is not None:
            stays = max(0.0, call.leaves_after - late)
            under_way.timer = asyncio.get_running_loop().call_later(stays, self._vanish, number)

    def _answered(self, number: int, answer: LoadAnswer) -> None:
        if (under_way := self._taken(number)) is not None:
            self._tally.answered(under_way.call, answer, self.now)

    def _vanish(self, number: int) -> None:
        if (under_way := self._taken(number)) is not None and under_way.leave is not None:
            under_way.leave()
            self._tally.vanished(under_way.call, self.now)

    def _taken(self, number: int) -> _UnderWay | None:
        """A call that has come to its end; None when it had before."""
        if (under_way := self._calls.pop(number, None)) is None:
            return None
        if under_way.timer is not None:
            under_way.timer.cancel()
        if not self._calls:
            self._empty.set()
        return under_way
