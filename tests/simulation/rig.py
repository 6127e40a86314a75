"""A driver, and behind it a simulated system whose own count is the oracle. It watches; it steers nothing.

What the rig finds wrong it notes in `violations` instead of raising it there: an exception in an adapter is part of the
game, and the driver would only treat it as one more failure of the backend.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from pooler.backends import base, shared
from pooler.backends.base import Answer, Caller, FailureKind, Operation, Verdict, Work
from pooler.backends.simulated.adapter import SimulatedAdapter
from pooler.backends.simulated.connection import SimulatedConnection
from pooler.backends.simulated.local import LocalConnection
from pooler.backends.simulated.settings import Settings
from pooler.backends.simulated.system import Session, State, System
from pooler.core.rules import Rules
from pooler.core.slots import Priority, Slot
from pooler.errors import Fault, Reason
from pooler.runtime.driver import Driver
from pooler.runtime.orders import Orders
from pooler.runtime.record import Change
from pooler.runtime.slotfiles import SlotFiles
from pooler.runtime.starter import Bounds
from pooler.runtime.turns import Kit, Outcome, Turn

PAGE_ROWS = 20
OPERATIONS = [
    Operation("work", "read", method="work"),
    Operation("write", "write", method="work"),
    Operation("wrong", "read", method="wrong"),
    Operation("leave_trace", "read", method="leave_trace"),
    Operation("see_trace", "read", method="see_trace"),
    Operation("put", "write", method="put"),
    Operation("count", "read", method="count"),
    Operation("echo", "read", method="echo"),
    Operation("rows", "read", method="rows", page_rows=PAGE_ROWS),
]
AdapterT = TypeVar("AdapterT", bound=SimulatedAdapter)


class Call:
    """One submitted turn, and everything that was seen of it."""

    def __init__(self, number: int, turn: Turn, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.turn = turn
        self.cancelled_at: float | None = None
        self.killed_at: float | None = None
        self.delivered_at: float | None = None
        self.leave: Callable[[], None] = lambda: None
        """What its caller does to leave, where that is no cancel of the driver's."""
        self.tried = 0
        """How often it was given to a connection, but for those that it had to leave to somebody else."""
        self.moved = False
        """Whether it had to leave one."""
        self.executed: list[tuple[float, Session]] = []
        """When, and by which session, its work was begun."""
        self.outcomes: list[Outcome] = []
        self.done: asyncio.Future[Outcome] = loop.create_future()

    def deliver(self, outcome: Outcome) -> None:
        """Takes an outcome; the second one would be a bug, and is kept to show it."""
        self.outcomes.append(outcome)
        self.delivered_at = asyncio.get_running_loop().time()
        if not self.done.done():
            self.done.set_result(outcome)

    @property
    def answered(self) -> bool:
        """Whether the backend's answer came back, and nothing else."""
        return [type(outcome.result) for outcome in self.outcomes] == [Answer]

    @property
    def fault(self) -> Fault:
        """How it failed; it must have one outcome, and that a fault."""
        (result,) = [outcome.result for outcome in self.outcomes]
        assert isinstance(result, Fault), result
        return result

    @property
    def reason(self) -> Reason:
        """Why it failed."""
        return self.fault.reason


class WatchedSystem(System):
    """Notes each arrival that the rules do not allow."""

    def __init__(self, manners: Settings, rig: "Rig") -> None:
        super().__init__(manners)
        self._rig = rig
        self.starting_peak = 0
        self.arrivals: list[float] = []

    def arrive(self, owner: str) -> Session:
        """A client connects: is there room for it by the system's own count?"""
        session = super().arrive(owner)
        self.arrivals.append(self._rig.now)
        rules, counts = self._rig.driver.pool.rules, self.counts()
        self.starting_peak = max(self.starting_peak, counts.starting)
        if counts.total > rules.cap:
            self._rig.violated(f"{counts} exceed the cap of {rules.cap}")
        if counts.starting > rules.parallel_starts:
            self._rig.violated(f"{counts.starting} start at once, {rules.parallel_starts} may")
        return session


class Watched:
    """Hears of submitted work before its caller does."""

    def __init__(self, adapter: "WatchedAdapter", connection: LocalConnection, call: Call, done: shared.Done) -> None:
        self.done = done
        self._ended = partial(adapter.ended, connection, call)

    def __call__(self, result: shared.Result) -> None:
        """The work has ended."""
        self._ended(result)
        self.done(result)


class WatchedAdapter(SimulatedAdapter):
    """Notes which call begins work, where and when, and whether it may."""

    def __init__(self, system: System, rig: "Rig", streams: int = 1) -> None:
        super().__init__(system, streams)
        self._rig = rig
        self._submitted: dict[Session, list[Call]] = defaultdict(list)
        """What was submitted to each session and has not ended, the oldest first."""
        self._bad: set[Session] = set()
        self.retired_at: float | None = None

    async def execute(self, connection: SimulatedConnection, work: Work) -> Answer:
        """Work begins."""
        assert isinstance(connection, LocalConnection)
        call = self._rig.calls[int(work.caller.request_id)]
        self._check(call, connection.session)
        call.tried += 1
        call.executed.append((self._rig.now, connection.session))
        try:
            return await super().execute(connection, work)
        except Exception as error:
            failure = self.classify(error)
            if failure.kind is not FailureKind.USER_ERROR:
                self._bad.add(connection.session)
            if not failure.started:
                call.executed.pop()
            raise

    def submit(self, connection: SimulatedConnection, work: Work, done: shared.Done) -> None:
        """Work is sent, which may begin from now on."""
        assert isinstance(connection, LocalConnection)
        call = self._rig.calls[int(work.caller.request_id)]
        self._check(call, connection.session)
        call.tried += 1
        call.executed.append((self._rig.now, connection.session))
        self._submitted[connection.session].append(call)
        super().submit(connection, work, Watched(self, connection, call, done))

    def ended(self, connection: LocalConnection, call: Call, result: shared.Result) -> None:
        """Submitted work has ended."""
        self._submitted[connection.session].remove(call)
        if isinstance(result, shared.NoPageError):
            self._leaves(call)
        elif not isinstance(result, Answer) and self.classify(result).kind is not FailureKind.USER_ERROR:
            self._bad.add(connection.session)

    def at_work(self, connection: SimulatedConnection) -> shared.Done | None:
        """By its own name, under which it was submitted."""
        head = super().at_work(connection)
        return head.done if isinstance(head, Watched) else None

    def leave_behind(self, connection: SimulatedConnection) -> None:
        """Those behind the head go elsewhere."""
        assert isinstance(connection, LocalConnection)
        _, *others = self._submitted[connection.session]
        for call in others:
            self._leaves(call)
        del self._submitted[connection.session][1:]
        super().leave_behind(connection)

    async def cancel(self, connection: SimulatedConnection) -> Verdict:
        """Nobody is told any more of what was submitted."""
        assert isinstance(connection, LocalConnection)
        self._submitted.pop(connection.session, None)
        return await super().cancel(connection)

    async def reset(self, connection: SimulatedConnection) -> Verdict:
        """The same."""
        assert isinstance(connection, LocalConnection)
        self._submitted.pop(connection.session, None)
        return await super().reset(connection)

    def _leaves(self, call: Call) -> None:
        call.tried -= 1
        call.moved = True

    def classify(self, error: BaseException) -> base.Failure:
        """Says what an error means; one that nobody foresaw is a bug of ours here."""
        failure = super().classify(error)
        if failure.kind is FailureKind.BUG:
            self._rig.violated(f"unforeseen: {error!r}")
        return failure

    def _check(self, call: Call, session: Session) -> None:
        if self._rig.now >= call.turn.deadline:
            self._rig.violated(f"call {call.number} begins work after its deadline")
        if call.cancelled_at is not None:
            self._rig.violated(f"call {call.number} begins work after its cancel")
        if call.outcomes:
            self._rig.violated(f"call {call.number} begins work after its outcome")
        if call.tried == 2 or (call.executed and not call.turn.read):
            self._rig.violated(f"call {call.number} is sent once too often")
        if session in self._bad:
            self._rig.violated(f"call {call.number} gets session {session.number}, which is known to be bad")
        if call.turn.granted_at > self._rig.moved_at and session.number <= self._rig.moved_after:
            self._rig.violated(f"call {call.number} gets session {session.number}, from before the backend moved")
        if self.retired_at is not None and call.turn.granted_at > self.retired_at:
            self._rig.violated(f"call {call.number} gets a connection of an adapter that was replaced")


class Rig:
    """One pool and its simulated backend, on the running loop."""

    def __init__(
        self,
        rules: Mapping[str, Any] | None = None,
        bounds: Bounds | None = None,
        seed: int = 0,
        files: SlotFiles | None = None,
        streams: int = 1,
        **manners: Any,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.system = WatchedSystem(Settings(seed=seed, **manners), self)
        self.streams = streams
        """How many calls that share it a connection carries at once."""
        self.adapter = WatchedAdapter(self.system, self, streams)
        self.driver = Driver(
            "legacy",
            self._kit(),
            Rules(**{"cap": 2, **(rules or {})}),
            bounds or Bounds(),
            "sim",
            files,
            clock=self._loop.time,
            randomness=random.Random(seed),
        )
        self.changes: list[Change] = []
        self.orders = Orders(self.driver, self.changes.append)
        self.moved_at = float("-inf")
        self.moved_after = 0

    @property
    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def violated(self, what: str) -> None:
        """Notes a broken promise."""
        self.violations.append(
            f"t={self.now - 1000:.6f} {what}; {self.driver.pool!r}, the system counts {self.system.counts()}"
        )

    def submit(
        self,
        seconds: float = 0.0,
        *,
        operation: str = "work",
        timeout: float = 60.0,
        patience: float = 3600.0,
        deadline: float | None = None,
        priority: Priority = Priority.INTERACTIVE,
        tenant: str = "default",
        share: bool = False,
        count: int = 1,
    ) -> Call:
        """Sends a call on its way. Times in seconds from now; `patience` bounds the wait for a place.

        `share`: not for itself alone, where connections carry several at once. `count`: of `rows`.
        """
        now, number = self.now, len(self.calls)
        until = now + (patience + timeout if deadline is None else deadline)
        turn = Turn(
            asked_at=now,
            give_up_at=min(now + patience, until),
            tenant=tenant,
            priority=priority,
            operation=operation,
            whole=self.streams > 1 and not share,
            read=operation != "write",
            arguments={"seconds": seconds, "value": number, "count": count},
            caller=Caller(tenant, "somebody", str(number)),
            deadline=until,
            timeout_seconds=timeout,
        )
        call = Call(number, turn, self._loop)
        turn.deliver = call.deliver
        self.calls.append(call)
        self.driver.submit(turn)
        return call

    def cancel(self, call: Call) -> None:
        """The caller leaves."""
        if call.cancelled_at is None and not call.outcomes:
            call.cancelled_at = self.now
        self.driver.cancel(call.turn)

    def retire(self) -> None:
        """The backend has moved: no session of today may serve another call."""
        self.moved_at, self.moved_after = self.now, self.system.logins_total
        self.orders.retire()

    def kill(self, call: Call) -> int:
        """An administrator ends a call, and with it all of its name."""
        self._note_kill(call)
        return self.orders.kill_call(call.turn.caller.request_id)

    def kill_connection(self, slot: Slot) -> None:
        """An administrator ends a connection, with the calls on it."""
        for turn in slot.grants:
            assert isinstance(turn, Turn)
            if turn.errand is None:
                self._note_kill(self.calls[int(turn.caller.request_id)])
        self.orders.kill_connection(slot.number)

    def _note_kill(self, call: Call) -> None:
        if not call.outcomes:
            call.killed_at = self.now

    def resize(self, **changes: Any) -> None:
        """New rules."""
        self.driver.reconfigure(self.driver.kit, replace(self.driver.pool.rules, **changes), self.driver.bounds)

    def replace_adapter(self) -> None:
        """A new configuration of the same system: the adapter is another one."""
        old, self.adapter = self.adapter, WatchedAdapter(self.system, self, self.streams)
        self.driver.reconfigure(self._kit(), self.driver.pool.rules, self.driver.bounds)
        old.retired_at = self.now

    def stand_in(self, adapter_class: type[AdapterT]) -> AdapterT:
        """Puts an adapter with manners of its own before the system; nothing may have been opened yet."""
        assert not self.system.logins_total
        adapter = adapter_class(self.system)
        self.driver.kit = replace(self.driver.kit, adapter=adapter)
        return adapter

    def executed_by_session(self) -> Mapping[int, list[int]]:
        """The calls that each session has worked for, by number."""
        found: dict[int, list[int]] = defaultdict(list)
        for call in self.calls:
            for _, session in call.executed:
                found[session.number].append(call.number)
        return found

    def busy(self) -> int:
        """How many sessions are at work, by the system's count."""
        return sum(session.state is State.BUSY for session in self.system.sessions)

    def _kit(self) -> Kit:
        return Kit(
            "simulated", self.adapter, {operation.name: self.adapter.prepare(operation) for operation in OPERATIONS}
        )


async def until(condition: Any, seconds: float = 600.0) -> None:
    """Waits, in virtual time, until a condition holds. Raises TimeoutError when it never does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - most conditions are the system's, which tells nobody
            await asyncio.sleep(0.01)


async def finished(calls: list[Call], seconds: float = 3600.0) -> list[Outcome]:
    """The outcomes of calls, when all have one."""
    async with asyncio.timeout(seconds):
        return [await call.done for call in calls]
