"""The rules of one backend's pool: who gets a connection, when one is started, checked, reset, closed.

Every public method is told what happened and when, and returns what the hands must do about it, in order. Each ends in
`_settle`, where all decisions that concern more than one connection stand: look, enqueue and grant are one step, so no
wake-up can be lost and no sweeper is needed. It never waits, never reads a clock and never talks to a backend.
"""

from collections.abc import Callable

from pooler.core.actions import Action, Check, Close, GiveUp, Interrupt, Offer, Open, Refuse, Reset
from pooler.core.fairness import Queue
from pooler.core.ledger import LEAVING, Ledger
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Slot, Waiter
from pooler.core.starts import Mean, Starts
from pooler.core.states import ConnectionEvent, ConnectionState, GrantEvent, GrantState
from pooler.errors import Reason

LIFETIME_SPREAD = 0.25
"""Connections born together live between 75 % and 100 % of the lifetime, so that they do not die together."""
LEAST_MISSED = (ConnectionState.IDLE, ConnectionState.STARTING)
"""Where fewer connections are allowed, these go first."""


class Pool:
    """One backend's slots, queue and start policy. `jitter` returns numbers from 0 to 1."""

    def __init__(self, rules: Rules, jitter: Callable[[], float]) -> None:
        self.rules = rules
        self.generation = 0
        self.draining = False
        self.ledger = Ledger()
        self.queue = Queue()
        self.starts = Starts(rules.parallel_starts, jitter)
        self.work = Mean()
        self._jitter = jitter

    # Callers

    def ask(self, waiter: Waiter, now: float, again: bool = False) -> list[Action]:
        """A call wants a place. `again`: it has had one, and lost it through no fault of its own."""
        if again:
            waiter.grant = waiter.slot = None
            self.queue.push_front(waiter)
            return self._settle(now)
        if self.draining:
            return [Refuse(waiter, Reason.DRAINING)]
        if len(self.queue) >= self.rules.queue_max and not self._room:
            return [Refuse(waiter, Reason.QUEUE_FULL, self._clearing_seconds())]
        self.queue.push(waiter)
        return self._settle(now)

    def accept(self, waiter: Waiter) -> bool:
        """The offer reached its caller. False when the caller has left in between: then nothing may be done for it."""
        if waiter.grant is not GrantState.OFFERED:
            return False
        waiter.happen(GrantEvent.ACCEPTED)
        return True

    def leave(self, waiter: Waiter, now: float) -> list[Action]:
        """The caller is gone: its place in the queue, its offer or its work is given up. Harmless when repeated."""
        if waiter.grant is None:
            return self._settle(now) if self.queue.remove(waiter) else []
        if waiter.grant is GrantState.OFFERED:
            waiter.happen(GrantEvent.DECLINED)
            return self._part(waiter, Fate.SOUND, now)
        if waiter.grant is GrantState.RUNNING:
            waiter.happen(GrantEvent.CANCELLED)
            return [Interrupt(waiter)]
        return []

    def stopping(self, waiter: Waiter) -> None:
        """A grant's work is being stopped by its own bound: from here on, its caller's leaving changes nothing."""
        if waiter.grant is GrantState.RUNNING:
            waiter.happen(GrantEvent.CANCELLED)

    def expire(self, waiter: Waiter, now: float) -> list[Action]:
        """A waiter's time is over. Nothing happens when it was served, or left, in the meantime."""
        return [self._too_late(waiter), *self._settle(now)] if self.queue.remove(waiter) else []

    def finish(self, waiter: Waiter, fate: Fate, now: float) -> list[Action]:
        """A grant's work has ended, and this is what it left."""
        waiter.happen(GrantEvent.FINISHED)
        self.work.learn(now - waiter.granted_at)
        return self._part(waiter, fate, now)

    # Connections

    def adopt(self, now: float, number: int | None = None) -> Slot:
        """Takes a slot, past the cap if need be, for a connection that was not started here and serves nobody: one that
        a killed pooler left under this number, or one that only asks after those. It is held until `gone`."""
        return self.ledger.adopt(number, self.generation, now)

    def opened(self, slot: Slot, streams: int, now: float) -> list[Action]:
        """A start has succeeded; the connection takes this many requests at once."""
        lifetime = self.rules.lifetime_seconds * (1 - LIFETIME_SPREAD * self._jitter())
        self.starts.succeeded(now - slot.started_at, self.ledger.let_in + 1)
        self.ledger.open(slot, streams, now, now + lifetime)
        return self._rest(slot, ConnectionEvent.OPENED, now)

    def start_failed(self, slot: Slot, failure: StartFailure, words: str, now: float) -> list[Action]:
        """A start has failed; the slot stays taken until `gone`."""
        if slot.state is ConnectionState.DRAINING:
            pass  # we gave it up ourselves: that proves nothing
        elif failure is StartFailure.LIMIT:
            self.starts.limited(slot.started_at, now, self.held - 1, words)
        else:
            self.starts.failed(slot.started_at, now, words)
        self.ledger.move(slot, ConnectionEvent.FAILED)
        return self._settle(now)

    def checked(self, slot: Slot, sound: bool, now: float) -> list[Action]:
        """A check has ended. One failure condemns the generation, so nobody waits for a second one."""
        if sound:
            return self._rest(slot, ConnectionEvent.SOUND, now)
        self.ledger.move(slot, ConnectionEvent.UNSOUND)
        actions: list[Action] = [Close(slot, force=True)]
        if self.rules.shared_fate and slot.generation == self.generation:
            actions += self._retire_all()
        return actions + self._settle(now)

    def lost(self, slot: Slot, now: float) -> list[Action]:
        """An idle connection has died by itself. Nothing happens when it was taken up in the meantime."""
        if slot.state is not ConnectionState.IDLE:
            return []
        slot.doomed = True
        return self._retire(slot) + self._settle(now)

    def was_reset(self, slot: Slot, clean: bool, now: float) -> list[Action]:
        """A reset has ended. A connection that is not clean never serves again."""
        if clean:
            return self._rest(slot, ConnectionEvent.CLEAN, now)
        self.ledger.move(slot, ConnectionEvent.UNSOUND)
        return [Close(slot, force=True), *self._settle(now)]

    def gone(self, slot: Slot, now: float) -> list[Action]:
        """A connection's death is confirmed: only now is its slot free."""
        self.ledger.move(slot, ConnectionEvent.CONFIRMED)
        return self._settle(now)

    # Upkeep and orders

    def tick(self, now: float) -> list[Action]:
        """Retires what has idled or lived too long, and keeps `warm` connections. To be called about once a second."""
        actions: list[Action] = []
        for slot in sorted(self.ledger.slots.values(), key=lambda slot: slot.state not in LEAST_MISSED):
            if self._unwanted(slot, now) or self._idled(slot, now):
                actions += self._retire(slot)
        return actions + self._settle(now)

    def retire(self, now: float) -> list[Action]:
        """The backend has moved: no connection of today, nor one whose start has begun, serves another call."""
        return self._retire_all() + self._settle(now)

    def reconfigure(self, rules: Rules, now: float) -> list[Action]:
        """New rules, at once. Where the cap shrank, connections in use end with their present users."""
        self.rules = rules
        self.starts.parallel_max = rules.parallel_starts
        return self.tick(now)

    def drain(self, now: float) -> list[Action]:
        """No new callers; those who wait are served; then every connection is closed."""
        self.draining = True
        return self.tick(now)

    def abort(self, now: float) -> list[Action]:
        """The end of patience: waiters are refused, and running work is stopped."""
        self.draining = True
        actions: list[Action] = [Refuse(waiter, Reason.DRAINING) for waiter in self.queue.clear()]
        for slot in list(self.ledger.slots.values()):
            for waiter in list(slot.grants):
                actions += self.leave(waiter, now)
        return actions + self.tick(now)

    # What can be seen

    @property
    def held(self) -> int:
        """Slots taken, in whatever state."""
        return self.ledger.held

    @property
    def serving(self) -> bool:
        """Whether a call could be served, as far as anybody knows."""
        return self.starts.proven and (self.starts.failures == 0 or self.ledger.alive > 0)

    def count(self, state: ConnectionState) -> int:
        """How many connections are in a state."""
        return self.ledger.count(state)

    def __repr__(self) -> str:
        held = f"held={self.ledger.held} {self.ledger!r}"
        return f"<pool cap={self.rules.cap} {held} queue={len(self.queue)} g{self.generation}>"

    # Decisions

    def _settle(self, now: float) -> list[Action]:
        actions: list[Action] = []
        self._serve(now, actions)
        if self.queue and self._hopeless(now):
            words, pause = self.starts.words, self.starts.retry_at - now
            actions += [Refuse(waiter, Reason.START_FAILED, pause, words) for waiter in self.queue.clear()]
        for _ in range(self._starts_wanted(now)):
            actions.append(self._start(now))
        if self.draining and not self.queue:
            for slot in list(self.ledger.slots.values()):
                actions += self._retire(slot)
        return actions

    def _serve(self, now: float, actions: list[Action]) -> None:
        while self.queue:
            slot = self._place(now)
            if slot is None:
                return
            if self._stale(slot, now):
                self.ledger.move(slot, ConnectionEvent.CHECKED)
                actions.append(Check(slot))
                continue
            waiter = self.queue.pop()
            if now >= waiter.give_up_at:
                actions.append(self._too_late(waiter))
                continue
            self._grant(slot, waiter, now)
            actions.append(Offer(waiter))

    def _place(self, now: float) -> Slot | None:
        """The connection to use next: the idle one used last (so that the others can age out), else a shared one.

        A stale one is checked first, but no more of them at once than there are waiters.
        """
        idle, checking = self.ledger.idle(), self.ledger.count(ConnectionState.VALIDATING)
        if idle and (checking < len(self.queue) or not self._stale(idle, now)):
            return idle
        return self.ledger.shared()

    @property
    def _room(self) -> bool:
        """Whether another call could be served without anybody's return."""
        return self.ledger.idle() is not None or self.ledger.shared() is not None

    def _stale(self, slot: Slot, now: float) -> bool:
        """Whether a connection has idled so long that it is asked whether it lives before a call gets it."""
        return slot.state is ConnectionState.IDLE and now - slot.idle_since >= self.rules.validate_after_seconds

    def _grant(self, slot: Slot, waiter: Waiter, now: float) -> None:
        waiter.offered(slot, now)
        slot.grants.add(waiter)
        slot.uses += 1
        self.ledger.move(slot, ConnectionEvent.GRANTED)

    def _hopeless(self, now: float) -> bool:
        """Whether everybody may as well hear now what the backend said: nothing is open, nothing on its way."""
        pausing = self.starts.failures > 0 and now < self.starts.retry_at
        return pausing and not self.ledger.alive and not self.ledger.coming

    def _starts_wanted(self, now: float) -> int:
        """Starts whose demand has gone are simply not wanted any more: nothing is queued that would need dropping."""
        room = self.starts.limit(self.rules.places, now) - self.ledger.held
        window = self.starts.window(now) - self.ledger.starting
        if room <= 0 or window <= 0:
            return 0
        backlog = -(-len(self.queue) // self.ledger.streams) - self.ledger.coming
        upkeep = 0 if self.draining else max(self.rules.warm, self._proof_needed) - self.ledger.staying
        return max(0, min(room, window, max(backlog, upkeep)))

    @property
    def _proof_needed(self) -> int:
        """One connection is opened without demand, at first and after failures: is the backend there?"""
        return 0 if self.starts.proven and self.starts.failures == 0 else 1

    def _start(self, now: float) -> Action:
        self.starts.total += 1
        return Open(self.ledger.take(self.generation, now))

    # Steps

    def _part(self, waiter: Waiter, fate: Fate, now: float) -> list[Action]:
        """A grant leaves its connection."""
        slot = waiter.slot
        assert slot is not None
        slot.grants.remove(waiter)
        actions: list[Action] = []
        if fate in (Fate.BROKEN, Fate.DEAD):
            slot.doomed = True
            if fate is Fate.DEAD and self.rules.shared_fate and slot.generation == self.generation:
                actions += self._retire_all()
        slot.soiled |= fate is Fate.SOILED
        if slot.grants:
            actions += self._retire(slot) if slot.doomed and slot.state is ConnectionState.IN_USE else []
        elif self._unwanted(slot, now):
            self.ledger.move(slot, ConnectionEvent.CONDEMNED)
            actions.append(Close(slot, force=slot.doomed))
        elif slot.soiled:
            slot.soiled, slot.reset_at = False, now
            self.ledger.move(slot, ConnectionEvent.SOILED)
            actions.append(Reset(slot))
        else:
            return self._rest(slot, ConnectionEvent.EMPTIED, now)
        return actions + self._settle(now)

    def _rest(self, slot: Slot, event: ConnectionEvent, now: float) -> list[Action]:
        """A connection becomes idle; it may be wanted at once, or never again."""
        self.ledger.move(slot, event, now)
        if slot.state is ConnectionState.CLOSING:  # it was retired in the meantime
            return [Close(slot, force=False), *self._settle(now)]
        actions = self._retire(slot) if self._unwanted(slot, now) else []
        return actions + self._settle(now)

    def _retire(self, slot: Slot) -> list[Action]:
        """Takes a connection out of service as soon as its state allows; what is under way sees to it on its return."""
        if slot.state in LEAVING:
            return []
        before = slot.state
        self.ledger.move(slot, ConnectionEvent.RETIRED)
        if before is ConnectionState.IDLE:
            return [Close(slot, force=slot.doomed)]
        return [GiveUp(slot)] if before is ConnectionState.STARTING else []

    def _retire_all(self) -> list[Action]:
        self.generation += 1
        return [action for slot in list(self.ledger.slots.values()) for action in self._retire(slot)]

    def _unwanted(self, slot: Slot, now: float) -> bool:
        if slot.doomed or slot.state is ConnectionState.DRAINING or slot.generation != self.generation:
            return True
        return now >= slot.expires_at or self.ledger.staying > self.rules.places

    def _idled(self, slot: Slot, now: float) -> bool:
        idle = slot.state is ConnectionState.IDLE and now - slot.idle_since >= self.rules.idle_seconds
        return idle and self.ledger.staying > self.rules.warm

    def _too_late(self, waiter: Waiter) -> Refuse:
        starting = not self.ledger.alive and self.ledger.count(ConnectionState.STARTING) > 0
        return Refuse(waiter, Reason.START_TIMEOUT if starting else Reason.QUEUE_TIMEOUT, None, self.starts.words)

    def _clearing_seconds(self) -> float:
        """About how long until a place in the queue is free: one service time, spread over the open connections."""
        alive = self.ledger.alive
        return max(0.05, self.work.seconds / max(1, alive), 0 if alive else self.starts.took.seconds)
