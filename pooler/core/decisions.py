"""What is decided in a pool, and the steps that follow: who is served, what is started, what is done with a connection.

`_settle` is where all decisions that concern more than one connection stand. Nothing here is called from outside: what
may happen to a pool stands in `pool`.
"""

from collections.abc import Callable

from pooler.core.actions import Action, Check, Close, GiveUp, Interrupt, Offer, Open, Refuse, Reset
from pooler.core.adaptive import Adaptive
from pooler.core.fairness import Queue
from pooler.core.ledger import LEAVING, Ledger
from pooler.core.rules import Fate, Rules
from pooler.core.sharing import Sharing
from pooler.core.shedding import Judge
from pooler.core.slots import Slot, Waiter
from pooler.core.starts import Starts
from pooler.core.states import (
    DRAINING,
    EMPTIED,
    GRANTED,
    IN_USE,
    ConnectionEvent,
    ConnectionState,
    GrantEvent,
    GrantState,
)
from pooler.errors import Reason

UNUSABLE = (Fate.BROKEN, Fate.DEAD)
OVERDUE = 3.0
"""A call that has taken so many times the mean is no longer expected to end soon."""


class Decisions:
    """One backend's slots, queue and start policy, and what is decided about them."""

    def __init__(self, rules: Rules, jitter: Callable[[], float]) -> None:
        self.rules = rules
        self.generation = 0
        self.draining = False
        self.paused = False
        self._promises: dict[Slot, None] = {}
        """Connections that somebody gets whole once they are empty."""
        self.ledger = Ledger()
        self.ledger.sharing = rules.sharing
        self.queue = Queue(rules.shares)
        self.starts = Starts(rules.parallel_starts, jitter)
        self.judge = Judge()
        self.sharing = Sharing()
        self.adaptive = Adaptive(rules.places) if rules.adaptive else None
        self._jitter = jitter

    def _settle(self, now: float) -> list[Action]:
        actions = self._serve(now)
        if self.starts.failures and self.queue and not self.paused and self._hopeless(now):
            words, pause = self.starts.words, self.starts.retry_at - now
            actions += [Refuse(waiter, Reason.START_FAILED, pause, words) for waiter in self.queue.clear()]
        if len(self.ledger.slots) < self.rules.places:
            for _ in range(self._starts_wanted(now)):
                actions.append(self._start(now))
        if self.draining and not self.queue and not self._promises:
            for slot in list(self.ledger.slots.values()):
                actions += self._retire(slot)
        return actions

    def _serve(self, now: float) -> list[Action]:
        """Gives what is free to whoever is next. Refusals stand last: nobody's work waits until they have been told."""
        actions: list[Action] = []
        refused: list[Action] = []
        if self._promises and self.ledger.idle():
            for promising in reversed(list(self._promises)):  # each goes before all others
                self._keep_promise(promising)
        ledger, queue = self.ledger, self.queue
        while queue.servable and ledger.maybe_free and not self._held_back:
            slot = ledger.idle()  # the one used last, so that the others can age out
            if slot is None:
                slot = ledger.shared()
            elif now - slot.idle_since >= self.rules.validate_after_seconds:
                if ledger.count(ConnectionState.VALIDATING) < len(queue):
                    ledger.move(slot, ConnectionEvent.CHECKED)  # no more of them at once than there are waiters
                    actions.append(Check(slot))
                    continue
                slot = ledger.shared()
            if slot is None:
                break
            waiter = queue.pop()
            if now >= waiter.give_up_at:
                refused.append(self._too_late(waiter))
            elif queue and self.judge.too_late(waiter, now):
                refused.append(Refuse(waiter, Reason.SHED))
            elif waiter.whole and slot.grants:
                slot.promised, waiter.slot = waiter, slot
                self._promises[slot] = None
            else:
                self._grant(slot, waiter, now)
                actions.append(Offer(waiter))
        return actions + refused if refused else actions

    def _crowded_out(self, newcomer: Waiter) -> Waiter | None:
        """Who finds no place in the queue when this one comes: nobody, the newcomer, or one of a greedier tenant."""
        if self.rules.shares and self.queue.full(newcomer.tenant):
            return newcomer
        if len(self.queue) < self.rules.queue_max or self._served_at_once(newcomer):
            return None
        return self.queue.gives_way(newcomer.tenant) or newcomer

    def _served_at_once(self, newcomer: Waiter) -> bool:
        """Whether a call needs nobody's return, and so no place in the queue."""
        free = self.ledger.idle() is not None or self.ledger.shared() is not None
        return free and not self._held_back and self.queue.would_serve(newcomer.tenant)

    def _grant(self, slot: Slot, waiter: Waiter, now: float) -> None:
        waiter.offered(slot, now)
        self.queue.granted(waiter)
        self.ledger.grants[waiter] = None
        slot.grants.add(waiter)
        slot.whole = waiter.whole
        waiter.expected_seconds /= len(slot.grants)  # its tenant pays for its part of the connection
        slot.uses += 1
        self.ledger.move(slot, GRANTED)
        if self._used_up(slot):
            self.ledger.move(slot, ConnectionEvent.RETIRED)  # at once: nobody may join its last user

    def _hopeless(self, now: float) -> bool:
        """Whether everybody may as well hear now what the backend said: nothing is open, nothing on its way."""
        return now < self.starts.retry_at and not self.ledger.alive and not self.ledger.coming

    def _starts_wanted(self, now: float) -> int:
        """Starts whose demand has gone are simply not wanted any more: nothing is queued that would need dropping."""
        room = self.starts.limit(self.rules.places, now) - self.ledger.held
        window = self.starts.window(now) - self.ledger.starting
        if room <= 0 or window <= 0:
            return 0
        backlog = 0 if self.paused else self._worth_having(now) - self.ledger.coming
        upkeep = 0 if self.draining else max(self.rules.warm, self._proof_needed) - self.ledger.staying
        return max(0, min(room, window, max(backlog, upkeep)))

    def _worth_having(self, now: float) -> int:
        """How many more connections those who wait would pay for. A place whose user is long overdue serves nobody."""
        streams, waiting = self.ledger.streams, self.queue.servable + len(self._promises)
        if streams > 1:  # who needs a connection for itself takes all of its places
            waiting += (streams - 1) * (min(self.queue.whole, self.queue.servable) + len(self._promises))
        stuck = self.ledger.stuck(now - OVERDUE * self.starts.work.seconds)
        return self.starts.worth(waiting, self.ledger.alive * streams - stuck, streams)

    @property
    def _held_back(self) -> bool:
        """Whether nobody may be served now, whatever is free."""
        return self.paused or (self.adaptive is not None and len(self.ledger.grants) >= self.adaptive.grants_max)

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
        self._release(slot, waiter, now - waiter.granted_at)
        if slot.promised and not slot.grants:
            self._keep_promise(slot)
        actions: list[Action] = []
        if fate in UNUSABLE:
            slot.doomed = True
            if fate is Fate.DEAD and self.rules.shared_fate and slot.generation == self.generation:
                actions += self._retire_all()
        slot.soiled |= fate is Fate.SOILED
        if slot.grants:
            actions += self._retire(slot) if slot.doomed and slot.state is IN_USE else []
        elif self._unwanted(slot, now):
            self.ledger.move(slot, ConnectionEvent.CONDEMNED)
            actions.append(Close(slot, force=slot.doomed))
        elif slot.soiled:
            slot.soiled, slot.reset_at = False, now
            self.ledger.move(slot, ConnectionEvent.SOILED)
            actions.append(Reset(slot))
        else:
            self.ledger.move(slot, EMPTIED, now)
        return actions + self._settle(now)

    def _release(self, slot: Slot, waiter: Waiter, seconds: float) -> None:
        """A grant ends. For `seconds` its tenant pays, together with those who share the connection at that moment."""
        self.queue.returned(waiter, seconds / len(slot.grants))
        slot.grants.remove(waiter)
        del self.ledger.grants[waiter]

    def _keep_promise(self, slot: Slot) -> None:
        """Whoever waited for this connection to be empty is next, on it or on another one that is free first."""
        waiter, slot.promised = slot.promised, None
        self._promises.pop(slot, None)
        if waiter is not None:
            waiter.slot = None
            self.queue.push(waiter, front=True)

    def _withdraw(self, waiter: Waiter) -> bool:
        """Takes out a call that has no grant. False when it was not waiting."""
        if waiter.grant is None and waiter.slot is not None:
            waiter.slot.promised = None
            del self._promises[waiter.slot]
            waiter.slot = None
            return True
        return self.queue.remove(waiter)

    def _dismiss(self, waiter: Waiter, reason: Reason, now: float) -> list[Action]:
        """Gives up a call's place, its offer or its work."""
        if waiter.grant is None:
            return self._settle(now) if self._withdraw(waiter) else []
        if waiter.grant is GrantState.OFFERED:
            waiter.happen(GrantEvent.DECLINED)
            told = [] if reason is Reason.CANCELLED else [Refuse(waiter, reason)]
            return [*told, *self._part(waiter, Fate.SOUND, now)]
        if waiter.grant is GrantState.RUNNING:
            waiter.happen(GrantEvent.CANCELLED)
            return [Interrupt(waiter, reason)]
        return []

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
        if slot.doomed or slot.state is DRAINING or slot.generation != self.generation:
            return True
        return self._used_up(slot) or now >= slot.expires_at or self.ledger.staying > self.rules.places

    def _used_up(self, slot: Slot) -> bool:
        return self.rules.max_uses is not None and slot.uses >= self.rules.max_uses

    def _too_many(self, slot: Slot) -> bool:
        """Whether a start would arrive beside more than there may be now, those included that are on their way out."""
        if slot.state is not ConnectionState.STARTING:
            return False
        given_up = self.ledger.starting - self.ledger.count(ConnectionState.STARTING)
        return self.ledger.held - given_up > self.rules.places

    def _idled(self, slot: Slot, now: float) -> bool:
        idle = slot.state is ConnectionState.IDLE and now - slot.idle_since >= self.rules.idle_seconds
        return idle and self.ledger.staying > self.rules.warm

    def _too_late(self, waiter: Waiter) -> Refuse:
        if self.paused:
            return Refuse(waiter, Reason.PAUSED)
        starting = not self.ledger.alive and self.ledger.count(ConnectionState.STARTING) > 0
        return Refuse(waiter, Reason.START_TIMEOUT if starting else Reason.QUEUE_TIMEOUT, None, self.starts.words)

    def _clearing_seconds(self) -> float:
        """About how long until a place in the queue is free: one service time, spread over the open connections."""
        alive = self.ledger.alive
        return max(0.05, self.starts.work.seconds / max(1, alive), 0 if alive else self.starts.took.seconds)
