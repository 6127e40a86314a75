"""The express lane of one pool: work on connections that several calls share, begun and ended without a task.

A grant is handed to the adapter in the step in which it is given, and its result to its caller in the step in which it
comes. One timer for all of them keeps their bounds, and watches whoever is at the head of a connection: as long as that
work lasts, all those behind it wait. When it lasts too long they are given to other connections. It opens and closes
nothing, and what becomes of a grant is decided in the core.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import structlog

from pooler.backends import shared
from pooler.backends.base import Answer, Failure, FailureKind, Work
from pooler.backends.shared import Done, NoPageError, Result
from pooler.core.rules import Fate
from pooler.core.slots import Slot
from pooler.core.states import RUNNING
from pooler.runtime import faults
from pooler.runtime.alarms import EARLY_SECONDS
from pooler.runtime.faults import FATES
from pooler.runtime.turns import Outcome, Turn

if TYPE_CHECKING:
    from pooler.runtime.driver import Driver

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.02
"""How often the heads are looked at, while anything is under way."""
LOOKS = 5
"""A head that was seen so often in a row is slow: after a tenth of a second, which no short read takes, and which is
little beside what those behind it would wait for a slow one. Counted in looks, so that a loop that was busy for as long
accuses nobody: what came meanwhile is read between two looks."""


class Told:
    """The way back of one grant's work; and who it is, when the adapter is asked for whom the backend works."""

    __slots__ = ("_lane", "turn")

    def __init__(self, lane: "Express", turn: Turn) -> None:
        self._lane = lane
        self.turn = turn

    def __call__(self, result: Result) -> None:
        """The work has ended. Nobody hears of it who has gone elsewhere in the meantime."""
        if self.turn.task is self:
            self._lane.ended(self.turn, result)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._lane.interrupt(self.turn)


class Express:
    """Belongs to one driver, which begins turns here and is told of their ends."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next = float("inf")
        self._heads: dict[Slot, tuple[Done | None, int]] = {}
        """Whom each connection has worked for when it was last looked at, and how often in a row by then."""
        self._alone: set[Turn] = set()
        """Those whose connection was cleared behind them."""

    def begin(self, turn: Turn) -> None:
        """Takes an offer, and has its work begun."""
        driver = self._driver
        assert turn.slot is not None
        kit, connection = driver.connections[turn.slot]
        adapter = cast("shared.Adapter[Any, Any]", kit.adapter)  # its configuration says so
        driver.pool.accept(turn)
        told = turn.task = Told(self, turn)
        prepared = kit.prepared.get(turn.operation)
        if prepared is None:
            self._loop.call_soon(told, LookupError())
            return
        try:
            adapter.submit(connection, Work(prepared, turn.arguments, turn.caller, turn.timeout_seconds), told)
        except Exception as error:  # noqa: BLE001 - `ended` says what it means
            self._loop.call_soon(told, error)
        bound = _bound(turn)
        if bound < self._next:
            self._look_at(min(bound, turn.granted_at + LOOK_SECONDS))

    def ended(self, turn: Turn, result: Result) -> None:
        """A grant's work has ended by itself."""
        driver, now = self._driver, self._driver.now
        deliver, outcome, fate, again = None, None, Fate.SOUND, False
        if isinstance(result, Answer):
            deliver, turn.deliver = turn.deliver, None
            if deliver is not None:
                spent = turn.spent(now, turn.granted_at)
                driver.tally.note(True, result, spent, turn.tenant)
                outcome = Outcome(result, spent)
        else:
            fate, again = self._failed(turn, result, turn.granted_at)
        if turn in self._alone:
            self._alone.discard(turn)
            fate = Fate.SOILED if fate is Fate.SOUND else fate  # what was left behind it ends in the reset
        driver.apply(driver.pool.finish(turn, fate, now))
        if again:
            driver.ask(turn, again=True)
        if deliver is not None and outcome is not None:
            self._tell(deliver, outcome)

    def _tell(self, deliver: Callable[[Outcome], None], outcome: Outcome) -> None:
        """At once, last of all: whoever is told may call again, and then everything must stand as it should."""
        try:
            deliver(outcome)
        except Exception:
            log.exception("whoever was told of an outcome failed: a bug", backend=self._driver.name)

    def interrupt(self, turn: Turn) -> None:
        """Nobody waits for a grant's work any more. It goes on, unless nobody else would be hit with it."""
        if turn in self._alone:
            self._alone.discard(turn)
            self._driver.spawn(self._stop(turn))

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = None, float("inf")

    # How it ends

    def _failed(self, turn: Turn, error: BaseException, began: float) -> tuple[Fate, bool]:
        """What a failure leaves of the connection, and whether the turn is to be begun again."""
        driver = self._driver
        if isinstance(error, NoPageError):
            wanted = turn.grant is RUNNING
            if wanted:
                self._misfit(turn, "its result is more than one page: raise `page_rows` or `page_bytes`, or leave")
                turn.whole, turn.give_up_at = True, turn.deadline
            return Fate.SOUND, wanted
        failure = self._classified(turn, error)
        again = turn.grant is RUNNING and faults.worth_another_try(turn, failure, driver.kit.adapter.traits)
        if again:
            turn.retried = True
        else:
            driver.settle(turn, faults.failed(driver.name, turn.operation, failure, turn.read), began)
        return FATES.get(failure.kind, Fate.SOUND), again

    def _classified(self, turn: Turn, error: BaseException) -> Failure:
        if isinstance(error, LookupError):
            return Failure(FailureKind.USER_ERROR, f"operation {turn.operation!r} was removed while the call waited")
        assert turn.slot is not None
        failure = self._driver.kit_of(turn).adapter.classify(error)
        if failure.kind is FailureKind.BUG:
            log.error("unforeseen failure", backend=self._driver.name, request=turn.caller.request_id, exc_info=error)
        return failure

    async def _stop(self, turn: Turn) -> None:
        """Stops a work that has its connection for itself, and gives the connection back."""
        driver = self._driver
        assert turn.slot is not None
        kit, connection = driver.connections[turn.slot]
        fate = await driver.stop(kit.adapter, connection)
        driver.apply(driver.pool.finish(turn, fate, driver.now))

    # Watching

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_later(max(0.0, when - self._driver.now), self._look)

    def _look(self) -> None:
        """Bounds first, then heads; and when to look again, if there is anything to look at."""
        driver = self._driver
        self._timer, self._next = None, float("inf")
        now = driver.now + EARLY_SECONDS
        soonest = float("inf")
        for waiter in list(driver.pool.ledger.grants):
            assert isinstance(waiter, Turn)
            if not isinstance(waiter.task, Told):
                continue
            bound = _bound(waiter) if waiter.grant is RUNNING else float("inf")
            if now >= bound:
                self._overdue(waiter)
                bound = float("inf")
            soonest = min(soonest, bound, now + LOOK_SECONDS)
        heads, self._heads = self._heads, {}
        for slot in [slot for slot in driver.pool.ledger.slots.values() if slot.grants and not slot.whole]:
            self._look_at_head(slot, *heads.get(slot, (None, 0)))
        if soonest < self._next:
            self._look_at(soonest)

    def _look_at_head(self, slot: Slot, last: Done | None, looks: int) -> None:
        kit, connection = self._driver.connections[slot]
        if not kit.shared:
            return
        adapter = cast("shared.Adapter[Any, Any]", kit.adapter)
        head = adapter.at_work(connection)
        if head is None:
            return
        looks = looks + 1 if head is last else 1
        if looks <= LOOKS:
            self._heads[slot] = head, looks
            return
        adapter.leave_behind(connection)
        assert isinstance(head, Told)
        self._clear(head.turn)

    def _clear(self, head: Turn) -> None:
        """A slow one: those behind it go elsewhere. Nobody waits for it, perhaps: then it is stopped."""
        driver = self._driver
        self._misfit(head, "it is slow: make its statement quicker, or leave")
        self._alone.add(head)
        behind = [waiter for waiter in driver.pool.ledger.grants if waiter.slot is head.slot and waiter is not head]
        driver.apply(driver.pool.clear_behind(head, driver.now))
        for waiter in behind:
            assert isinstance(waiter, Turn)
            driver.waits(waiter)
        if head.grant is not RUNNING:
            self.interrupt(head)

    def _overdue(self, turn: Turn) -> None:
        driver = self._driver
        turn.overdue = True
        seconds = min(turn.timeout_seconds, turn.deadline - turn.granted_at)
        driver.pool.stopping(turn)
        driver.settle(turn, faults.slow(driver.name, turn.operation, seconds, turn.read), turn.granted_at)
        self.interrupt(turn)

    def _misfit(self, turn: Turn, why: str) -> None:
        driver = self._driver
        if (seconds := driver.pool.misfit(turn, driver.now)) is not None:
            advice = f"{why} `share` out of its configuration"
            log.info(
                "has connections for itself", backend=driver.name, operation=turn.operation, seconds=seconds, why=advice
            )


def _bound(turn: Turn) -> float:
    """When the work must have ended."""
    return min(turn.granted_at + turn.timeout_seconds, turn.deadline)
