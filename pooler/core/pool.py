"""The rules of one backend's pool, by what may happen to it: callers come and leave, connections open, fail and die.

Every public method is told what happened and when, and returns what the hands must do about it, in order. Each ends in
`_settle`, where who gets what is decided: look, enqueue and grant are one step, so no wake-up can be lost and no
sweeper is needed. It never waits, never reads a clock and never talks to a backend.
"""

from pooler.core.actions import Action, Close, Refuse
from pooler.core.adaptive import Adaptive
from pooler.core.decisions import Decisions
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Slot, Waiter
from pooler.core.states import (
    ACCEPTED,
    FINISHED,
    OFFERED,
    RUNNING,
    ConnectionEvent,
    ConnectionState,
    GrantEvent,
    GrantState,
)
from pooler.errors import Reason

LIFETIME_SPREAD = 0.25
"""Connections born together live between 75 % and 100 % of the lifetime, so that they do not die together."""


class Pool(Decisions):
    """One backend's pool. `jitter` returns numbers from 0 to 1."""

    # Callers

    def ask(self, waiter: Waiter, now: float, again: bool = False) -> list[Action]:
        """A call wants a place. `again`: it has had one, and lost it through no fault of its own."""
        if again:
            waiter.grant = waiter.slot = None
            self.queue.push(waiter, front=True)
            return self._settle(now)
        if self.draining:
            return [Refuse(waiter, Reason.DRAINING)]
        actions: list[Action] = []
        if (loser := self._crowded_out(waiter)) is not None:
            actions.append(Refuse(loser, Reason.QUEUE_FULL, self._clearing_seconds()))
            if loser is waiter:
                return actions
            self.queue.remove(loser)
        waiter.expected_seconds = self.judge.expected(waiter.operation)
        self.queue.push(waiter)
        return actions + self._settle(now)

    def accept(self, waiter: Waiter) -> bool:
        """The offer reached its caller. False when the caller has left in between: then nothing may be done for it."""
        if waiter.grant is not OFFERED:
            return False
        waiter.happen(ACCEPTED)
        return True

    def leave(self, waiter: Waiter, now: float) -> list[Action]:
        """The caller is gone: its place in the queue, its offer or its work is given up. Harmless when repeated."""
        return self._dismiss(waiter, Reason.CANCELLED, now)

    def kill(self, waiter: Waiter, now: float) -> list[Action]:
        """Somebody with the right to do so ends a call, wherever it stands. Harmless when it has ended."""
        if waiter.grant is None:
            return [Refuse(waiter, Reason.KILLED), *self._settle(now)] if self._withdraw(waiter) else []
        return self._dismiss(waiter, Reason.KILLED, now)

    def stopping(self, waiter: Waiter) -> None:
        """A grant's work is being stopped by its own bound: from here on, its caller's leaving changes nothing."""
        if waiter.grant is GrantState.RUNNING:
            waiter.happen(GrantEvent.CANCELLED)

    def expire(self, waiter: Waiter, now: float) -> list[Action]:
        """A waiter's time is over. Nothing happens when it was served, or left, in the meantime."""
        return [self._too_late(waiter), *self._settle(now)] if self._withdraw(waiter) else []

    def lateness(self, waiter: Waiter) -> Refuse:
        """What to tell a caller whose time is over while it waits; it changes nothing."""
        return self._too_late(waiter)

    def finish(self, waiter: Waiter, fate: Fate, now: float) -> list[Action]:
        """A grant's work has ended, and this is what it left."""
        if waiter.teaches:
            self._learn(waiter, now)
        waiter.happen(FINISHED)
        return self._part(waiter, fate, now)

    def clear_behind(self, head: Waiter, now: float) -> list[Action]:
        """A grant's work stands in the way of all others on its connection: it has that for itself from now on.

        Those others' work is begun anew elsewhere, before all who wait and however long they waited before; whoever
        has left in the meantime is let go.
        """
        slot = head.slot
        assert slot is not None
        slot.whole = True
        self._keep_promise(slot)
        for waiter in [each for each in reversed(self.ledger.grants) if each.slot is slot and each is not head]:
            wanted = waiter.grant is RUNNING
            waiter.happen(FINISHED)
            self._release(slot, waiter, 0.0)
            if wanted:
                waiter.grant = waiter.slot = None
                waiter.give_up_at = waiter.deadline
                self.queue.push(waiter, front=True)
        return self._settle(now)

    def misfit(self, waiter: Waiter, now: float) -> float | None:
        """A grant's work does not belong on a connection that others share.

        Returns for how many seconds its operation is kept apart from now on; None: it goes on sharing.
        """
        return self.sharing.misfit(waiter.operation, self.judge.seen(waiter.operation), now)

    def _learn(self, waiter: Waiter, now: float) -> None:
        if waiter.grant is not RUNNING and waiter.answered_at is None:
            self.judge.outlast(waiter.operation, min(now, waiter.deadline) - waiter.granted_at)
            return
        self.starts.work.learn(now - waiter.granted_at)
        answered_at = now if waiter.answered_at is None else waiter.answered_at
        seconds = answered_at - waiter.granted_at  # what comes after the first page is not what its caller waits for
        self.judge.learn(waiter.operation, seconds)
        if self.adaptive:
            self.adaptive.learn(waiter.operation, seconds, now)

    # Connections

    def adopt(self, number: int, now: float) -> Slot:
        """Takes the slot of a connection that a killed pooler has left under this number; past the cap if need be.

        It serves nobody, and is held until `gone`.
        """
        return self.ledger.adopt(number, self.generation, now)

    def opened(self, slot: Slot, streams: int, now: float) -> list[Action]:
        """A start has succeeded; the connection takes this many requests at once."""
        lifetime = self.rules.lifetime_seconds * (1 - LIFETIME_SPREAD * self._jitter())
        self.starts.succeeded(now - slot.started_at, self.ledger.let_in + 1)
        self.ledger.open(slot, streams, now, now + lifetime)
        self._widen()
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
        for slot in sorted(self.ledger.slots.values(), key=_missed):
            if self._unwanted(slot, now) or self._idled(slot, now) or self._too_many(slot):
                actions += self._retire(slot)
        return actions + self._settle(now)

    def retire(self, now: float) -> list[Action]:
        """The backend has moved: no connection of today, nor one whose start has begun, serves another call."""
        return self._retire_all() + self._settle(now)

    def reconfigure(self, rules: Rules, now: float) -> list[Action]:
        """New rules, at once. Where the cap shrank, connections in use end with their present users."""
        if (rules.adaptive, rules.places) != (self.rules.adaptive, self.rules.places):
            self.adaptive = Adaptive(rules.places) if rules.adaptive else None
        self.rules = rules
        self.ledger.sharing = rules.sharing
        self._widen()
        self.starts.parallel_max = rules.parallel_starts
        self.queue.reconfigure(rules.shares)
        return self.tick(now)

    def _widen(self) -> None:
        if self.adaptive:
            self.adaptive.widen(self.rules.places * self.ledger.streams)

    def pause(self) -> None:
        """Nobody is served from now on; who waits goes on waiting, and what runs goes on running."""
        self.paused = True

    def resume(self, now: float) -> list[Action]:
        """Serves again, in order; also after a drain."""
        self.paused = self.draining = False
        return self.tick(now)

    def kill_connection(self, slot: Slot, now: float) -> list[Action]:
        """Somebody with the right to do so ends a connection, with whatever runs on it."""
        slot.doomed = True
        actions = [action for waiter in list(slot.grants) for action in self._dismiss(waiter, Reason.KILLED, now)]
        return actions + self._retire(slot) + self._settle(now)

    def drain(self, now: float) -> list[Action]:
        """No new callers; those who wait are served; then every connection is closed."""
        self.draining = True
        return self.tick(now)

    def abort(self, now: float) -> list[Action]:
        """The end of patience: waiters are refused, and running work is stopped."""
        self.draining = True
        for slot in self.ledger.slots.values():
            self._keep_promise(slot)
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
        if self.draining:
            return False
        return self.starts.proven and (self.starts.failures == 0 or self.ledger.alive > 0)

    def count(self, state: ConnectionState) -> int:
        """How many connections are in a state."""
        return self.ledger.count(state)

    def __repr__(self) -> str:
        held = f"held={self.ledger.held} {self.ledger!r}"
        return f"<pool cap={self.rules.cap} {held} queue={len(self.queue)} g{self.generation}>"


def _missed(slot: Slot) -> tuple[int, int]:
    """Where fewer connections are allowed, the latest start goes first, which the backend may not have seen yet."""
    if slot.state is ConnectionState.STARTING:
        return 0, -slot.number
    return (1 if slot.state is ConnectionState.IDLE else 2), slot.number
