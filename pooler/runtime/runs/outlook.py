"""What a waiting call can be told of its wait: its place in the queue, or how long its client still takes to start.

Estimates, and told as such: the order of a fair queue is settled only when turns come. It looks at the pool a few times
a second, and only while somebody wants to know; one look serves all who do. It changes nothing in the pool.
"""

import asyncio
from collections.abc import Callable, Mapping, Set

from pooler.core.pool import Pool
from pooler.core.slots import Waiter
from pooler.core.states import ConnectionState
from pooler.runtime.driver import Driver
from pooler.runtime.runs.happenings import Queued, Starting, Working

LOOK_SECONDS = 0.25

Prospect = Queued | Starting | Working
Tell = Callable[[Prospect], None]


class Outlook:
    """Who wants to know, by backend. `tell` is called with what holds now, whether it has changed or not."""

    def __init__(self) -> None:
        self._asking: dict[Driver, dict[Waiter, Tell]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, driver: Driver, waiter: Waiter, tell: Tell) -> None:
        """Tells at once, and then again and again, until the call has begun or `forget` is called."""
        self._asking.setdefault(driver, {})[waiter] = tell
        self._tell(driver, {waiter})
        self._wait()

    def forget(self, driver: Driver, waiter: Waiter) -> None:
        """Nobody wants to know of this one any more. Harmless when nobody did."""
        if (asking := self._asking.get(driver)) is None:
            return
        asking.pop(waiter, None)
        if not asking:
            del self._asking[driver]
        if not self._asking and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        if self._asking and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for driver, asking in list(self._asking.items()):
            self._tell(driver, set(asking))
        self._wait()

    def _tell(self, driver: Driver, whom: Set[Waiter]) -> None:
        for waiter, prospect in prospects(driver.pool, whom, driver.now).items():
            tell = self._asking[driver][waiter]
            if isinstance(prospect, Working):
                self.forget(driver, waiter)
            tell(prospect)


def prospects(pool: Pool, waiters: Set[Waiter], now: float) -> Mapping[Waiter, Prospect]:
    """What each of these calls can be told. One that has left or ended is left out.

    A call that waits is told of a start only where no connection is open and it is among the first whom those that are
    starting will serve: else a place that becomes free is likely to come sooner.
    """
    found: dict[Waiter, Prospect] = {waiter: Working() for waiter in waiters if waiter.grant is not None}
    promised = {waiter for waiter in waiters if waiter.grant is None and waiter.slot is not None}
    waiting = len(pool.queue) + len(promised)
    found |= dict.fromkeys(promised, Queued(1, waiting))  # one connection is being emptied for each of them
    starting = _remaining(pool, now)
    for waiter, place in pool.queue.places(waiters).items():
        if place <= len(starting) and not pool.ledger.alive:
            found[waiter] = Starting(starting[place - 1])
        else:
            found[waiter] = Queued(place, waiting)
    return found


def _remaining(pool: Pool, now: float) -> list[float]:
    """How long each start under way is expected to take still, the first one first; 0 where nobody knows."""
    begun = sorted(slot.started_at for slot in pool.ledger.slots.values() if slot.state is ConnectionState.STARTING)
    return [max(0.0, at + pool.starts.took.seconds - now) for at in begun]
