"""The hands of one pool: carries out what the core decides, and tells it what came of it.

It owns every task and timer of one backend and each open connection. A call that waits has neither task nor future,
only its place in the core's queue; a task is made when a grant's work begins. It decides nothing by itself.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import structlog

from pooler.backends.base import Adapter, Answer, Connection, Failure, FailureKind, Tag, Work
from pooler.clock import Clock, monotonic
from pooler.core.actions import Action, Check, Close, GiveUp, Interrupt, Offer, Open, Refuse, Reset
from pooler.core.pool import Pool
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Priority, Slot, Waiter
from pooler.errors import Fault, Reason
from pooler.runtime import faults, starter
from pooler.runtime.alarms import Alarms
from pooler.runtime.express import Express
from pooler.runtime.slotfiles import SlotFiles
from pooler.runtime.starter import Bounds, Start
from pooler.runtime.tally import Tally
from pooler.runtime.turns import Kit, Outcome, Turn

log = structlog.get_logger(__name__)

UPKEEP_SECONDS = 1.0
"""Idle and lifetime bounds are kept to this precision."""


class Driver:
    """One backend: its pool, its adapter, its connections. Lives on the loop that is running when it is made."""

    def __init__(
        self,
        name: str,
        kit: Kit,
        rules: Rules,
        bounds: Bounds,
        pooler: str,
        files: SlotFiles | None = None,
        clock: Clock = monotonic,
        randomness: random.Random | None = None,
    ) -> None:
        self.name = name
        self.kit = kit
        self.bounds = bounds
        self.pool = Pool(rules, (randomness or random.Random()).random)  # noqa: S311 - spreads lifetimes, no secret
        self.calls_total = 0
        self.tally = Tally()
        self.on_serving: Callable[[bool], None] = lambda serving: None
        self.unconfirmed_total = 0
        """Slots that were let go although nobody could find out whether their connection had died."""
        self._pooler = pooler
        self._files = files
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.connections: dict[Slot, tuple[Kit, Connection]] = {}
        self._starting: dict[Slot, Start] = {}
        self._returning: Slot | None = None
        self._following: Turn | None = None
        """The connection that a turn is giving back at this moment, and to whom it is offered again, if that is now."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarms = Alarms(clock, self._time_is_over)
        self._express = Express(self)
        self.side_channels = asyncio.Semaphore(max(1, rules.reserve))
        self._serving = False
        self.ending = False
        """Whether `drain` has begun: it is never taken back, and whoever orders something else comes too late."""
        self._empty = asyncio.Event()
        self._upkeep: asyncio.TimerHandle | None = None

    # Callers

    def submit(self, turn: Turn) -> None:
        """Asks for a place. `turn.deliver` is called once, never before this returns."""
        self.calls_total += turn.errand is None
        self.ask(turn)

    def send(self, errand: Turn) -> None:
        """Asks for a place for a turn of the pool's own: first in line, and no call of anybody's."""
        self.ask(errand, again=True)

    def cancel(self, turn: Turn) -> None:
        """The caller has left. Its outcome is CANCELLED, whatever becomes of the work."""
        self.settle(turn, Fault(Reason.CANCELLED, "the caller cancelled the call"))
        self._conclude(self.pool.leave(turn, self._clock()))

    def prolong(self, turn: Turn, give_up_at: float, deadline: float, priority: Priority) -> None:
        """Others wait for a turn as well, longer or more urgently than who asked for it. Harmless once it is served."""
        if turn.grant is not None or turn.deliver is None:
            return
        turn.give_up_at, turn.deadline = give_up_at, deadline
        self.pool.queue.prefer(turn, priority)
        self._alarms.set(turn, give_up_at)

    def deliver_early(self, turn: Turn, answer: Answer) -> None:
        """The caller gets its answer. The work goes on: only the operation's own time-out bounds it now."""
        self.settle(turn, answer, turn.granted_at)
        turn.answered_at, turn.deadline = self._clock(), turn.granted_at + turn.timeout_seconds
        self._alarms.set(turn, turn.deadline)

    def kit_of(self, turn: Turn) -> Kit:
        """What has opened the connection of a turn that is at work."""
        assert turn.slot is not None
        return self.connections[turn.slot][0]

    # Life

    @property
    def now(self) -> float:
        """The time by which this pool lives."""
        return self._clock()

    def run(self) -> None:
        """Begins upkeep: the warm connections, the first proof that the backend is there."""
        now = self._clock()
        for slot, (_, connection) in list(self.connections.items()):
            if connection.broken is not None:
                self._conclude(self.pool.lost(slot, now))
        self._conclude(self.pool.tick(now))
        self._upkeep = self._loop.call_later(UPKEEP_SECONDS, self.run)

    def order(self, order: Callable[[float], list[Action]]) -> None:
        """Carries out what the pool answers to an order, at once, as in `driver.order(driver.pool.resume)`."""
        self._conclude(order(self._clock()))

    def reconfigure(self, kit: Kit, rules: Rules, bounds: Bounds) -> None:
        """A new configuration. A new adapter retires what the old one opened; the cap holds all the while."""
        now = self._clock()
        self.bounds = bounds
        if rules.reserve != self.pool.rules.reserve:  # else whoever holds a side channel would not count in a new one
            self.side_channels = asyncio.Semaphore(max(1, rules.reserve))
        if kit.adapter is self.kit.adapter:
            self.kit.prepared = kit.prepared
        else:
            self.kit = kit
            self._conclude(self.pool.retire(now))
        self._conclude(self.pool.reconfigure(rules, now))

    async def drain(self, grace_seconds: float) -> None:
        """Serves who waits, refuses who comes, closes everything; stops what still runs in time to end in the grace."""
        self.ending = True
        stopping = min(self.bounds.cancel + self.bounds.close, grace_seconds / 3)
        self._conclude(self.pool.drain(self._clock()))
        if not await self._emptied(grace_seconds - stopping):
            log.warning("the grace is almost over, stopping what runs", backend=self.name, pool=repr(self.pool))
            self._conclude(self.pool.abort(self._clock()))
            await self._emptied(stopping)
        if self._upkeep is not None:
            self._upkeep.cancel()
        self._alarms.stop()
        self._express.stop()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0)  # a clean-up that takes longer ends by itself
        if self._files is not None:
            self._files.let_go()

    async def _emptied(self, seconds: float) -> bool:
        """Whether the last connection is gone within this time."""
        self._empty.clear()  # it may have been empty before: drained by an order, and then resumed
        self._note_empty()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        return self._empty.is_set()

    # Carrying out

    def apply(self, actions: list[Action]) -> None:
        """Does what the pool has answered."""
        for action in actions:
            match action:
                case Offer():
                    self._offer(action.waiter)
                case Refuse():
                    self._refuse(action)
                case Interrupt():
                    self._interrupt(action)
                case Open(slot):
                    self._begin(slot)
                case GiveUp(slot):
                    self._starting[slot].give_up()
                case Check(slot):
                    self.spawn(self._check(slot))
                case Reset(slot):
                    self.spawn(self._reset(slot))
                case Close(slot, force):
                    self.spawn(self._close(slot, force))

    def _conclude(self, actions: list[Action]) -> None:
        """Carries out what follows from a connection's own event; only these change whether the backend serves."""
        self.apply(actions)
        self._note_serving()
        self._note_empty()

    def _offer(self, waiter: Waiter) -> None:
        assert isinstance(waiter, Turn)
        self._alarms.silence(waiter)
        if not waiter.whole and self.kit_of(waiter).shared:
            self._express.begin(waiter)
        elif waiter.slot is self._returning:
            self._returning, self._following = None, waiter
        else:
            waiter.task = self.spawn(self._serve(waiter))

    def _refuse(self, refusal: Refuse) -> None:
        turn = refusal.waiter
        assert isinstance(turn, Turn)
        self.settle(turn, faults.refused(self.name, refusal, self._clock() - turn.asked_at))

    def _interrupt(self, interrupt: Interrupt) -> None:
        turn = interrupt.waiter
        assert isinstance(turn, Turn)
        assert turn.task is not None
        turn.task.cancel()
        self.settle(turn, faults.interrupted(self.name, turn.operation, interrupt.reason, turn.read))

    def _time_is_over(self, turn: Turn) -> None:
        if turn.grant is None:
            self._conclude(self.pool.expire(turn, self._clock()))
        elif turn.task is not None:
            turn.overdue = True
            turn.task.cancel()

    def ask(self, turn: Turn, again: bool = False) -> None:
        """Asks for a place. `again`: first in line."""
        self.apply(self.pool.ask(turn, self._clock(), again))
        self.waits(turn)

    def waits(self, turn: Turn) -> None:
        """Has a turn hear when its time is over, if it waits."""
        if turn.grant is None and turn.deliver is not None:
            self._alarms.set(turn, turn.give_up_at)

    # Work

    async def _serve(self, first: Turn) -> None:
        """Turns on one connection, as long as each return brings the next one at once: that costs no new task."""
        turn: Turn | None = first
        task = first.task
        while turn is not None:
            turn.task = task
            await self._work(turn)
            turn, self._following = self._following, None

    async def _work(self, turn: Turn) -> None:
        """One grant: execute, deliver, and whatever the connection needs before it is given back."""
        began = self._clock()
        if began >= turn.deadline:  # the loop was busy since the offer: now it is too late to begin
            self.apply([Refuse(turn, Reason.QUEUE_TIMEOUT), *self.pool.leave(turn, began)])
        if not self.pool.accept(turn):
            return
        assert turn.slot is not None
        kit, connection = self.connections[turn.slot]
        result = await self._execute(kit, connection, turn, began)
        again = isinstance(result, Failure) and faults.worth_another_try(turn, result, self.kit.adapter.traits)
        if result is None:
            fate = await self.stop(kit.adapter, connection)
        elif isinstance(result, Failure):
            fate = faults.FATES.get(result.kind, Fate.SOILED)
            if not again:
                self.settle(turn, faults.failed(self.name, turn.operation, result, turn.read), began)
        else:
            fate = Fate.SOILED if connection.dirty else Fate.SOUND
            self.settle(turn, result, began)
        self._returning = turn.slot
        self.apply(self.pool.finish(turn, fate, self._clock()))
        self._returning = None
        if again:
            turn.retried = True
            self.ask(turn, again=True)

    async def _execute(self, kit: Kit, connection: Connection, turn: Turn, began: float) -> Answer | Failure | None:
        """The answer, the classified failure, or None: interrupted, and something may still be running."""
        seconds = min(turn.timeout_seconds, turn.deadline - began)
        prepared = kit.prepared.get(turn.operation)
        if prepared is None and turn.errand is None:
            return Failure(FailureKind.USER_ERROR, f"operation {turn.operation!r} was removed while the call waited")
        work = Work(prepared, turn.arguments, turn.caller, seconds, *turn.take_along(self))
        turn.overdue = False
        self._alarms.set(turn, began + seconds)
        try:
            return await (turn.errand(connection) if turn.errand else kit.adapter.execute(connection, work))
        except asyncio.CancelledError as error:
            if not starter.interrupted():
                return kit.adapter.classify(error)
        except Exception as error:
            if not (turn.overdue and isinstance(error, TimeoutError)):
                failure = kit.adapter.classify(error)
                if failure.kind is FailureKind.BUG:
                    log.exception("unforeseen failure", backend=self.name, request=turn.caller.request_id)
                return failure
        finally:
            self._alarms.silence(turn)
            if turn.overdue:
                starter.uninterrupt()
        starter.uninterrupt()  # the interrupt is answered here: what follows is the connection's clean-up
        if turn.overdue:
            self.pool.stopping(turn)
            seconds = min(turn.timeout_seconds, turn.deadline - began)  # an early answer lifts its caller's own bound
            self.settle(turn, faults.slow(self.name, turn.operation, seconds, turn.read), began)
        return None

    async def stop(self, adapter: Adapter[Any, Any], connection: Connection) -> Fate:
        """Stops what was cut short on a connection, and says what that leaves of it."""
        async with self.side_channels if adapter.traits.reserve else nullcontext():  # they lie inside the cap
            clean = await starter.stop(adapter, connection, self.bounds.cancel)
        return Fate.SOILED if clean else Fate.BROKEN

    def settle(self, turn: Turn, result: Answer | Fault, began: float | None = None) -> None:
        """Delivers an outcome, unless one has been delivered."""
        if turn.grant is None:
            self._alarms.silence(turn)
        if turn.extras is not None and turn.extras.pages is not None and isinstance(result, Fault):
            turn.extras.pages.fail(result)
        deliver, turn.deliver = turn.deliver, None
        if deliver is None:
            return
        spent = turn.spent(self._clock(), began)
        if turn.errand is None:
            self.tally.note(turn.grant is not None, result, spent, turn.tenant)
        self._loop.call_soon(deliver, Outcome(result, spent))

    # Connections

    def _begin(self, slot: Slot) -> None:
        tag, kit = Tag(self._pooler, self.name, slot.number), self.kit
        take = partial(self._files.take, slot.number, kit.kind, kit.adapter.traits.orphans) if self._files else None
        start = self._starting[slot] = Start(kit.adapter, tag, take)
        self.spawn(self._start(slot, kit, start))

    async def _start(self, slot: Slot, kit: Kit, start: Start) -> None:
        result = await start.result(self.bounds.start)
        del self._starting[slot]
        now, tag = self._clock(), start.tag
        if isinstance(result, Connection):
            self.connections[slot] = (kit, result)
            log.info("connection opened", tag=str(tag), seconds=round(now - slot.started_at, 3))
            self._conclude(self.pool.opened(slot, result.streams, now))
            return
        log.warning("start failed", tag=str(tag), kind=result.kind.value, error=result.message)
        failure = StartFailure.LIMIT if result.kind is FailureKind.LIMIT else StartFailure.OTHER
        self._conclude(self.pool.start_failed(slot, failure, result.message, now))
        self.let_go(slot, certain=True)

    async def _check(self, slot: Slot) -> None:
        kit, connection = self.connections[slot]
        sound = await starter.check(kit.adapter, connection, self.bounds.validate)
        self._conclude(self.pool.checked(slot, sound, self._clock()))

    async def _reset(self, slot: Slot) -> None:
        kit, connection = self.connections[slot]
        clean = await starter.reset(kit.adapter, connection, self.bounds.validate)
        self._conclude(self.pool.was_reset(slot, clean, self._clock()))

    async def _close(self, slot: Slot, force: bool) -> None:
        kit, connection = self.connections.pop(slot)
        certain = await starter.close(kit.adapter, connection, force, self.bounds)
        log.info("connection closed", tag=str(connection.tag), uses=slot.uses)
        self.let_go(slot, certain)

    def let_go(self, slot: Slot, certain: bool) -> None:
        """A connection is gone, or has been given the time in which it should have."""
        self.unconfirmed_total += not certain
        if self._files is not None:
            self._files.remove(slot.number)
        self._conclude(self.pool.gone(slot, self._clock()))

    # Housekeeping

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Has a task of this backend's own do it, until `drain` is over at the latest."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reaped)
        return task

    def _reaped(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the pool failed: a bug", backend=self.name, pool=repr(self.pool), exc_info=error)

    def _note_serving(self) -> None:
        if self.pool.serving != self._serving:
            self._serving = self.pool.serving
            log.info("serving" if self._serving else "not serving", backend=self.name, words=self.pool.starts.words)
            self.on_serving(self._serving)

    def _note_empty(self) -> None:
        if self.pool.draining and not self.pool.held and not self.pool.queue:
            self._empty.set()
