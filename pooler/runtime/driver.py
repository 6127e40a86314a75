"""The hands of one pool: carries out what the core decides, and tells it what came of it.

It owns every task and timer of one backend and each open connection. A call that waits has neither task nor future,
only its place in the core's queue; a task is made when a grant's work begins. It decides nothing by itself.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from pooler.backends.base import Adapter, Answer, Caller, Connection, Failure, FailureKind, Tag, Work
from pooler.clock import Clock, monotonic
from pooler.core.actions import Action, Check, Close, GiveUp, Interrupt, Offer, Open, Refuse, Reset
from pooler.core.pool import Pool
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Slot, Waiter
from pooler.errors import Fault, Reason
from pooler.runtime import faults, starter
from pooler.runtime.starter import Bounds, Start

log = structlog.get_logger(__name__)

UPKEEP_SECONDS = 1.0
"""Idle and lifetime bounds are kept to this precision."""


FATES = {
    FailureKind.DEAD: Fate.DEAD,
    FailureKind.SESSION_LOST: Fate.BROKEN,
    FailureKind.AUTH: Fate.BROKEN,
    FailureKind.LIMIT: Fate.BROKEN,
    FailureKind.BUG: Fate.BROKEN,
}
"""What a failed request leaves of its connection; the kinds that are not here leave it sound, but to be reset."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a call's time went, in seconds."""

    queue: float = 0.0
    start: float = 0.0
    reset: float = 0.0
    backend: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, and where its time went."""

    result: Answer | Fault
    timing: Timing


@dataclass(slots=True, eq=False)
class Kit:
    """An adapter, and the operations that it has prepared, by name. A connection keeps the kit that opened it."""

    kind: str
    adapter: Adapter[Any, Any]
    prepared: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Turn(Waiter):
    """One call's way through a pool, from its place in the queue to its outcome."""

    read: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    caller: Caller = field(default_factory=lambda: Caller("default", "anonymous", ""))
    timeout_seconds: float = 0.0
    """The bound on the backend's work."""
    deliver: Callable[[Outcome], None] | None = None
    """Called once, with the outcome; then None."""
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    retried: bool = False
    """Whether it has been sent a second time already."""


class Driver:
    """One backend: its pool, its adapter, its connections. Lives on the loop that is running when it is made."""

    def __init__(
        self,
        name: str,
        kit: Kit,
        rules: Rules,
        bounds: Bounds,
        pooler: str,
        clock: Clock = monotonic,
        randomness: random.Random | None = None,
    ) -> None:
        self.name = name
        self.kit = kit
        self.bounds = bounds
        self.pool = Pool(rules, (randomness or random.Random()).random)  # noqa: S311 - spreads lifetimes, no secret
        self.calls_total = 0
        self.on_serving: Callable[[bool], None] = lambda serving: None
        self._pooler = pooler
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._connections: dict[Slot, tuple[Kit, Connection]] = {}
        self._starting: dict[Slot, Start] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._side_channels = asyncio.Semaphore(max(1, rules.reserve))
        self._serving = False
        self._empty = asyncio.Event()
        self._upkeep: asyncio.TimerHandle | None = None

    # Callers

    def submit(self, turn: Turn) -> None:
        """Asks for a place. `turn.deliver` is called once, never before this returns."""
        self.calls_total += 1
        self._ask(turn)

    def cancel(self, turn: Turn) -> None:
        """The caller has left. Its outcome is CANCELLED, whatever becomes of the work."""
        self._settle_turn(turn, Fault(Reason.CANCELLED, "the caller cancelled the call"))
        self._conclude(self.pool.leave(turn, self._clock()))

    # Life

    def run(self) -> None:
        """Begins upkeep: the warm connections, the first proof that the backend is there."""
        now = self._clock()
        for slot, (_, connection) in list(self._connections.items()):
            if connection.broken is not None:
                self._conclude(self.pool.lost(slot, now))
        self._conclude(self.pool.tick(now))
        self._upkeep = self._loop.call_later(UPKEEP_SECONDS, self.run)

    def reconfigure(self, kit: Kit, rules: Rules, bounds: Bounds) -> None:
        """A new configuration. A new adapter retires what the old one opened; the cap holds all the while."""
        now = self._clock()
        self.bounds = bounds
        self._side_channels = asyncio.Semaphore(max(1, rules.reserve))
        if kit.adapter is self.kit.adapter:
            self.kit.prepared = kit.prepared
        else:
            self.kit = kit
            self._conclude(self.pool.retire(now))
        self._conclude(self.pool.reconfigure(rules, now))

    async def drain(self, grace_seconds: float) -> None:
        """Serves who waits, refuses who comes, closes everything; stops what still runs in time to end in the grace."""
        stopping = min(self.bounds.cancel + self.bounds.close, grace_seconds / 3)
        self._conclude(self.pool.drain(self._clock()))
        if not await self._emptied(grace_seconds - stopping):
            log.warning("the grace is almost over, stopping what runs", backend=self.name, pool=repr(self.pool))
            self._conclude(self.pool.abort(self._clock()))
            await self._emptied(stopping)
        if self._upkeep is not None:
            self._upkeep.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0)  # a clean-up that takes longer ends by itself

    async def _emptied(self, seconds: float) -> bool:
        """Whether the last connection is gone within this time."""
        self._note_empty()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    # Carrying out

    def _apply(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Offer(waiter):
                    self._offer(waiter)
                case Refuse():
                    self._refuse(action)
                case Interrupt():
                    self._interrupt(action)
                case Open(slot):
                    start = self._starting[slot] = Start(self.kit.adapter, Tag(self._pooler, self.name, slot.number))
                    self._spawn(self._start(slot, self.kit, start))
                case GiveUp(slot):
                    self._starting[slot].give_up()
                case Check(slot):
                    self._spawn(self._check(slot))
                case Reset(slot):
                    self._spawn(self._reset(slot))
                case Close(slot, force):
                    self._spawn(self._close(slot, force))

    def _conclude(self, actions: list[Action]) -> None:
        """Carries out what follows from a connection's own event; only these change whether the backend serves."""
        self._apply(actions)
        self._note_serving()
        self._note_empty()

    def _offer(self, waiter: Waiter) -> None:
        assert isinstance(waiter, Turn)
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        waiter.task = self._spawn(self._work(waiter))

    def _refuse(self, refusal: Refuse) -> None:
        turn = refusal.waiter
        assert isinstance(turn, Turn)
        self._settle_turn(turn, faults.refused(self.name, refusal, self._clock() - turn.asked_at))

    def _interrupt(self, interrupt: Interrupt) -> None:
        turn = interrupt.waiter
        assert isinstance(turn, Turn)
        assert turn.task is not None
        turn.task.cancel()
        self._settle_turn(turn, faults.interrupted(self.name, turn.operation, interrupt.reason, turn.read))

    def _expire(self, turn: Turn) -> None:
        turn.timer = None
        self._conclude(self.pool.expire(turn, self._clock()))

    def _ask(self, turn: Turn, again: bool = False) -> None:
        self._apply(self.pool.ask(turn, self._clock(), again))
        if turn.grant is None and turn.deliver is not None:
            turn.timer = self._loop.call_later(turn.give_up_at - self._clock(), self._expire, turn)

    # Work

    async def _work(self, turn: Turn) -> None:
        """One grant: execute, deliver, and whatever the connection needs before it is given back."""
        began = self._clock()
        if began >= turn.deadline:  # the loop was busy since the offer: now it is too late to begin
            self._apply([Refuse(turn, Reason.QUEUE_TIMEOUT), *self.pool.leave(turn, began)])
        if not self.pool.accept(turn):
            return
        assert turn.slot is not None
        kit, connection = self._connections[turn.slot]
        result = await self._execute(kit, connection, turn, began)
        again = isinstance(result, Failure) and self._worth_another_try(turn, result)
        if result is None:
            fate = await self._stop(kit.adapter, connection)
        elif isinstance(result, Failure):
            fate = FATES.get(result.kind, Fate.SOILED)
            if not again:
                self._settle_turn(turn, faults.failed(self.name, turn.operation, result, turn.read), began)
        else:
            fate = Fate.SOILED if connection.dirty else Fate.SOUND
            self._settle_turn(turn, result, began)
        self._apply(self.pool.finish(turn, fate, self._clock()))
        if again:
            turn.retried = True
            self._ask(turn, again=True)

    async def _execute(self, kit: Kit, connection: Connection, turn: Turn, began: float) -> Answer | Failure | None:
        """The answer, the classified failure, or None: interrupted, and something may still be running."""
        seconds = min(turn.timeout_seconds, turn.deadline - began)
        prepared = kit.prepared.get(turn.operation)
        if prepared is None:
            return Failure(FailureKind.USER_ERROR, f"operation {turn.operation!r} was removed while the call waited")
        work = Work(prepared, turn.arguments, turn.caller, seconds)
        try:
            async with asyncio.timeout(seconds) as bound:
                return await kit.adapter.execute(connection, work)
        except asyncio.CancelledError as error:
            if not starter.interrupted():
                return kit.adapter.classify(error)
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # the interrupt is answered here: what follows is the connection's clean-up
            return None
        except TimeoutError as error:
            if not bound.expired():
                return kit.adapter.classify(error)
            self.pool.stopping(turn)
            self._settle_turn(turn, faults.slow(self.name, turn.operation, seconds, turn.read), began)
            return None
        except Exception as error:
            failure = kit.adapter.classify(error)
            if failure.kind is FailureKind.BUG:
                log.exception("unforeseen failure", backend=self.name, request=turn.caller.request_id)
            return failure

    def _worth_another_try(self, turn: Turn, failure: Failure) -> bool:
        """Whether a call lost its connection through no doing of its own: once, and never a write that has begun.

        A worker process has a fate of its own, so a request that it died of would kill the next one too.
        """
        lost = failure.kind in (FailureKind.DEAD, FailureKind.SESSION_LOST)
        harmless = not failure.started or (turn.read and self.kit.adapter.traits.fate == "shared")
        return lost and harmless and not turn.retried and turn.deliver is not None

    async def _stop(self, adapter: Adapter[Any, Any], connection: Connection) -> Fate:
        if adapter.traits.reserve:
            async with self._side_channels:  # its connections lie inside the cap, so they are counted
                clean = await starter.stop(adapter, connection, self.bounds.cancel)
        else:
            clean = await starter.stop(adapter, connection, self.bounds.cancel)
        return Fate.SOILED if clean else Fate.BROKEN

    def _settle_turn(self, turn: Turn, result: Answer | Fault, began: float | None = None) -> None:
        """Delivers an outcome, unless one has been delivered."""
        if turn.timer is not None:
            turn.timer.cancel()
            turn.timer = None
        deliver, turn.deliver = turn.deliver, None
        if deliver is None:
            return
        now = self._clock()
        if turn.grant is None:
            timing = Timing(queue=now - turn.asked_at)
        else:
            backend = 0.0 if began is None else now - began
            timing = Timing(turn.queue_seconds, turn.start_seconds, turn.reset_seconds, backend)
        self._loop.call_soon(deliver, Outcome(result, timing))

    # Connections

    async def _start(self, slot: Slot, kit: Kit, start: Start) -> None:
        result = await start.result(self.bounds.start)
        del self._starting[slot]
        now, tag = self._clock(), start.tag
        if isinstance(result, Connection):
            self._connections[slot] = (kit, result)
            log.info("connection opened", tag=str(tag), seconds=round(now - slot.started_at, 3))
            self._conclude(self.pool.opened(slot, result.streams, now))
            return
        log.warning("start failed", tag=str(tag), kind=result.kind.value, error=result.message)
        failure = StartFailure.LIMIT if result.kind is FailureKind.LIMIT else StartFailure.OTHER
        self._conclude(self.pool.start_failed(slot, failure, result.message, now))
        self._conclude(self.pool.gone(slot, now))

    async def _check(self, slot: Slot) -> None:
        kit, connection = self._connections[slot]
        sound = await starter.check(kit.adapter, connection, self.bounds.validate)
        self._conclude(self.pool.checked(slot, sound, self._clock()))

    async def _reset(self, slot: Slot) -> None:
        kit, connection = self._connections[slot]
        clean = await starter.reset(kit.adapter, connection, self.bounds.validate)
        self._conclude(self.pool.was_reset(slot, clean, self._clock()))

    async def _close(self, slot: Slot, force: bool) -> None:
        kit, connection = self._connections.pop(slot)
        await starter.close(kit.adapter, connection, force, self.bounds)
        log.info("connection closed", tag=str(connection.tag), uses=slot.uses)
        self._conclude(self.pool.gone(slot, self._clock()))

    # Housekeeping

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
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
