"""The rules of one backend's pool: who gets a connection, when one is started, checked, reset, closed.

Every public method is told what happened and when, and returns what the hands must do about it, in order. Each ends in
`_settle`, where all decisions that concern more than one connection stand: look, enqueue and grant are one step, so no
wake-up can be lost and no sweeper is needed. It never waits, never reads a clock and never talks to a backend.
"""

from collections import Counter
from collections.abc import Callable

from pooler.core.actions import Action, Check, Close, GiveUp, Interrupt, Offer, Open, Refuse, Reset
from pooler.core.fairness import Queue
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Slot, Waiter
from pooler.core.starts import Mean, Starts
from pooler.core.states import ConnectionEvent, ConnectionState, GrantEvent, GrantState
from pooler.errors import Reason

LIFETIME_SPREAD = 0.25
"""Connections born together live between 75 % and 100 % of the lifetime, so that they do not die together."""
ALIVE = frozenset({ConnectionState.IDLE, ConnectionState.IN_USE, ConnectionState.VALIDATING, ConnectionState.RESETTING})
COMING = (ConnectionState.STARTING, ConnectionState.VALIDATING, ConnectionState.RESETTING)


class Pool:
    """One backend's slots, queue and start policy. `jitter` returns numbers from 0 to 1."""

    def __init__(self, rules: Rules, jitter: Callable[[], float]) -> None:
        self.rules = rules
        self.generation = 0
        self.draining = False
        self.slots: dict[int, Slot] = {}
        self.queue = Queue()
        self.starts = Starts(rules.parallel_starts, jitter)
        self.work = Mean()
        self._jitter = jitter
        self._numbers = 0
        self._streams = 1
        self._idle: list[Slot] = []
        self._states: Counter[ConnectionState] = Counter()

    # Callers

    def ask(self, waiter: Waiter, now: float, again: bool = False) -> list[Action]:
        """A call wants a place. `again`: it has had one, and lost it through no fault of its own."""
        if again:
            waiter.grant = waiter.slot = None
            self.queue.push_front(waiter)
            return self._settle(now)
        if self.draining:
            return [Refuse(waiter, Reason.DRAINING)]
        if len(self.queue) >= self.rules.queue_max and self._place() is None:
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
            self.queue.remove(waiter)
            return []
        if waiter.grant is GrantState.OFFERED:
            waiter.happen(GrantEvent.DECLINED)
            return self._part(waiter, Fate.SOUND, now)
        if waiter.grant is GrantState.RUNNING:
            waiter.happen(GrantEvent.CANCELLED)
            return [Interrupt(waiter)]
        return []

    def stopping(self, waiter: Waiter) -> None:
        """A grant's work is being stopped by its own bound: from here on, its caller's leaving changes nothing."""
        waiter.happen(GrantEvent.CANCELLED)

    def expire(self, waiter: Waiter) -> list[Action]:
        """A waiter's time is over. Nothing happens when it was served, or left, in the meantime."""
        return [self._too_late(waiter)] if self.queue.remove(waiter) else []

    def finish(self, waiter: Waiter, fate: Fate, now: float) -> list[Action]:
        """A grant's work has ended, and this is what it left."""
        waiter.happen(GrantEvent.FINISHED)
        self.work.learn(now - waiter.granted_at)
        return self._part(waiter, fate, now)

    # Connections

    def opened(self, slot: Slot, streams: int, now: float) -> list[Action]:
        """A start has succeeded; the connection takes this many requests at once."""
        slot.streams, slot.opened_at = streams, now
        self._streams = streams
        slot.expires_at = now + self.rules.lifetime_seconds * (1 - LIFETIME_SPREAD * self._jitter())
        self.starts.succeeded(now - slot.started_at)
        return self._rest(slot, ConnectionEvent.OPENED, now)

    def start_failed(self, slot: Slot, failure: StartFailure, words: str, now: float) -> list[Action]:
        """A start has failed; the slot stays taken until `gone`."""
        self._move(slot, ConnectionEvent.FAILED)
        if slot.doomed:
            return self._settle(now)  # we gave it up ourselves: that proves nothing
        if failure is StartFailure.LIMIT:
            self.starts.limited(now, sum(self._states[state] for state in ALIVE), words)
        else:
            self.starts.failed(now, words)
        return self._settle(now)

    def checked(self, slot: Slot, sound: bool, now: float) -> list[Action]:
        """A check has ended. One failure condemns the generation, so nobody waits for a second one."""
        if sound:
            return self._rest(slot, ConnectionEvent.SOUND, now)
        self._move(slot, ConnectionEvent.UNSOUND)
        actions: list[Action] = [Close(slot, force=True)]
        if self.rules.shared_fate and slot.generation == self.generation:
            actions += self._retire_all()
        return actions + self._settle(now)

    def was_reset(self, slot: Slot, clean: bool, now: float) -> list[Action]:
        """A reset has ended. A connection that is not clean never serves again."""
        if clean:
            return self._rest(slot, ConnectionEvent.CLEAN, now)
        self._move(slot, ConnectionEvent.UNSOUND)
        return [Close(slot, force=True), *self._settle(now)]

    def gone(self, slot: Slot, now: float) -> list[Action]:
        """A connection's death is confirmed: only now is its slot free."""
        self._move(slot, ConnectionEvent.CONFIRMED)
        del self._states[ConnectionState.GONE]
        del self.slots[slot.number]
        return self._settle(now)

    # Upkeep and orders

    def tick(self, now: float) -> list[Action]:
        """Retires what has idled or lived too long, and keeps `warm` connections. To be called about once a second."""
        actions: list[Action] = []
        idle_first = sorted(self.slots.values(), key=lambda slot: slot.state is not ConnectionState.IDLE)
        for slot in idle_first:
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
        for slot in list(self.slots.values()):
            for waiter in list(slot.grants):
                actions += self.leave(waiter, now)
        return actions + self.tick(now)

    # What can be seen

    @property
    def held(self) -> int:
        """Slots taken, in whatever state."""
        return len(self.slots)

    @property
    def serving(self) -> bool:
        """Whether a call could be served, as far as anybody knows."""
        return self.starts.proven and (self.starts.failures == 0 or self._alive > 0)

    def count(self, state: ConnectionState) -> int:
        """How many connections are in a state."""
        return self._states[state]

    def __repr__(self) -> str:
        states = " ".join(f"{state.value}={count}" for state, count in self._states.items() if count)
        return f"<pool cap={self.rules.cap} held={self.held} {states} queue={len(self.queue)} g{self.generation}>"

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
            for slot in list(self.slots.values()):
                actions += self._retire(slot)
        return actions

    def _serve(self, now: float, actions: list[Action]) -> None:
        while self.queue:
            slot = self._place()
            if slot is None:
                return
            if slot.state is ConnectionState.IDLE and now - slot.idle_since >= self.rules.validate_after_seconds:
                if self._states[ConnectionState.VALIDATING] >= len(self.queue):
                    return
                self._idle.pop()
                self._move(slot, ConnectionEvent.CHECKED)
                actions.append(Check(slot))
                continue
            waiter = self.queue.pop()
            if now >= waiter.give_up_at:
                actions.append(self._too_late(waiter))
                continue
            self._grant(slot, waiter, now)
            actions.append(Offer(waiter))

    def _place(self) -> Slot | None:
        """The connection to use next: the idle one used last (so that the others can age out), else a shared one."""
        if self._idle:
            return self._idle[-1]
        if self._streams == 1:
            return None
        shared = (s for s in self.slots.values() if s.state is ConnectionState.IN_USE and len(s.grants) < s.streams)
        return min(shared, key=lambda slot: len(slot.grants), default=None)

    def _grant(self, slot: Slot, waiter: Waiter, now: float) -> None:
        if slot.state is ConnectionState.IDLE:
            self._idle.pop()
        waiter.offered(slot, now)
        slot.grants.add(waiter)
        slot.uses += 1
        self._move(slot, ConnectionEvent.GRANTED)

    def _hopeless(self, now: float) -> bool:
        """Whether everybody may as well hear now what the backend said: nothing is open, nothing on its way."""
        return self.starts.failures > 0 and now < self.starts.retry_at and not self._alive and not self._coming

    def _starts_wanted(self, now: float) -> int:
        """Starts whose demand has gone are simply not wanted any more: nothing is queued that would need dropping."""
        room = self.starts.limit(self.rules.places, now) - self.held
        window = self.starts.window(now) - self._states[ConnectionState.STARTING]
        if room <= 0 or window <= 0:
            return 0
        backlog = -(-len(self.queue) // self._streams) - self._coming
        upkeep = 0 if self.draining else max(self.rules.warm, self._proof_needed) - self._alive_or_starting
        return max(0, min(room, window, max(backlog, upkeep)))

    @property
    def _proof_needed(self) -> int:
        """One connection is opened without demand, at first and after failures: is the backend there?"""
        return 0 if self.starts.proven and self.starts.failures == 0 else 1

    def _start(self, now: float) -> Action:
        self._numbers += 1
        slot = Slot(self._numbers, self.generation, started_at=now)
        self.slots[slot.number] = slot
        self._states[slot.state] += 1
        self.starts.total += 1
        return Open(slot)

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
            self._move(slot, ConnectionEvent.CONDEMNED)
            actions.append(Close(slot, force=slot.doomed))
        elif slot.soiled:
            slot.soiled, slot.reset_at = False, now
            self._move(slot, ConnectionEvent.SOILED)
            actions.append(Reset(slot))
        else:
            return self._rest(slot, ConnectionEvent.EMPTIED, now)
        return actions + self._settle(now)

    def _rest(self, slot: Slot, event: ConnectionEvent, now: float) -> list[Action]:
        """A connection becomes idle; it may be wanted at once, or never again."""
        self._move(slot, event)
        slot.idle_since = now
        self._idle.append(slot)
        actions = self._retire(slot) if self._unwanted(slot, now) else []
        return actions + self._settle(now)

    def _retire(self, slot: Slot) -> list[Action]:
        """Takes a connection out of service as soon as its state allows; what is under way sees to it on its return."""
        if slot.state is ConnectionState.IDLE:
            self._idle.remove(slot)
            self._move(slot, ConnectionEvent.RETIRED)
            return [Close(slot, force=slot.doomed)]
        if slot.state is ConnectionState.IN_USE:
            self._move(slot, ConnectionEvent.RETIRED)
        elif slot.state is ConnectionState.STARTING and not slot.doomed:
            slot.doomed = True
            return [GiveUp(slot)]
        return []

    def _retire_all(self) -> list[Action]:
        self.generation += 1
        return [action for slot in list(self.slots.values()) for action in self._retire(slot)]

    def _unwanted(self, slot: Slot, now: float) -> bool:
        if slot.doomed or slot.state is ConnectionState.DRAINING or slot.generation != self.generation:
            return True
        leaving = self._states[ConnectionState.CLOSING] + self._states[ConnectionState.DRAINING]
        return now >= slot.expires_at or self.held - leaving > self.rules.places

    def _idled(self, slot: Slot, now: float) -> bool:
        idle = slot.state is ConnectionState.IDLE and now - slot.idle_since >= self.rules.idle_seconds
        return idle and self._alive_or_starting > self.rules.warm

    def _too_late(self, waiter: Waiter) -> Refuse:
        starting = not self._alive and self._states[ConnectionState.STARTING] > 0
        return Refuse(waiter, Reason.START_TIMEOUT if starting else Reason.QUEUE_TIMEOUT, None, self.starts.words)

    def _move(self, slot: Slot, event: ConnectionEvent) -> None:
        self._states[slot.state] -= 1
        slot.happen(event)
        self._states[slot.state] += 1

    def _clearing_seconds(self) -> float:
        """About how long until a place in the queue is free: one service time, spread over the open connections."""
        return max(0.05, self.work.seconds / max(1, self._alive), self.starts.took.seconds if not self._alive else 0)

    @property
    def _alive(self) -> int:
        return sum(self._states[state] for state in ALIVE)

    @property
    def _alive_or_starting(self) -> int:
        return self._alive + self._states[ConnectionState.STARTING]

    @property
    def _coming(self) -> int:
        """Connections that will be free without anybody's return."""
        return sum(self._states[state] for state in COMING)
