"""What the outside world does to a pool, event by event. The history chooses; this carries out, and looks each time."""

from pooler.core.actions import Action, Refuse
from pooler.core.rules import Fate, Rules, StartFailure
from pooler.core.slots import Slot, Waiter
from pooler.core.states import ConnectionState
from tests.model.outside import Outside, Place, Step

Thing = Slot | Waiter
"""Something that is under way: on a connection, or a caller's turn."""


class Hands(Outside):
    """The outside world, and how things in it come to their end."""

    def tell(self, actions: list[Action], settled: bool = True) -> None:
        """Carries out the orders, and looks whether starts are under way where everything was decided anew."""
        self.intact = False
        self.obey(actions)
        self.check()
        self.intact = True
        if settled:
            self.check_that_starts_are_under_way()

    def tick(self) -> None:
        """The upkeep that comes about once a second."""
        self.ticked_at = self.now
        self.tell(self.pool.tick(self.now))

    def ask(self, waiter: Waiter) -> None:
        """A caller asks for a place."""
        self.line_up(waiter)
        actions = self.pool.ask(waiter, self.now)
        self.tell(actions, settled=not any(isinstance(action, Refuse) for action in actions))

    def under_way(self) -> list[Thing]:
        """Everything that will come to an end."""
        busy = [slot for slot, step in self.slots.items() if step is not Step.NOTHING]
        return [*busy, *self.at(Place.OFFERED, Place.RUNNING, Place.STOPPING)]

    def goes_well(self, thing: Thing, fate: Fate = Fate.SOUND) -> None:
        """Whatever is under way there ends as it should."""
        if isinstance(thing, Waiter):
            self.accept(thing) if self.callers[thing] is Place.OFFERED else self.finish(thing, fate)
            return
        match self.slots[thing]:
            case Step.OPENING:
                self.opened(thing)
            case Step.CHECKING:
                self.checked(thing, True)
            case Step.RESETTING:
                self.was_reset(thing, True)
            case Step.CLOSING:
                self.gone(thing)

    def goes_wrong(self, thing: Thing, fate: Fate, failure: StartFailure) -> None:
        """Whatever is under way there ends badly; a death is confirmed nevertheless, and an offer is not taken."""
        if isinstance(thing, Waiter):
            self.leave(thing) if self.callers[thing] is Place.OFFERED else self.finish(thing, fate)
            return
        match self.slots[thing]:
            case Step.OPENING:
                self.start_failed(thing, failure)
            case Step.CHECKING:
                self.checked(thing, False)
            case Step.RESETTING:
                self.was_reset(thing, False)
            case Step.CLOSING:
                self.gone(thing)

    # Callers

    def accept(self, waiter: Waiter) -> None:
        """A caller takes its offer."""
        assert self.pool.accept(waiter)
        self.callers[waiter] = Place.RUNNING

    def leave(self, waiter: Waiter) -> None:
        """A caller leaves, wherever it stands."""
        actions = self.pool.leave(waiter, self.now)
        if self.callers[waiter] in (Place.WAITING, Place.OFFERED):
            self.step_out(waiter, Place.LEFT)
        self.tell(actions, settled=False)
        assert not self.pool.accept(waiter), "a caller who has left is served"

    def kill(self, waiter: Waiter) -> None:
        """An administrator ends a call, wherever it stands."""
        self.tell(self.pool.kill(waiter, self.now), settled=False)
        assert self.callers[waiter] not in (Place.WAITING, Place.OFFERED, Place.RUNNING)

    def stop(self, waiter: Waiter) -> None:
        """A call's own bound is over: its work is being stopped."""
        self.pool.stopping(waiter)
        if self.callers[waiter] is Place.RUNNING:
            self.callers[waiter] = Place.STOPPING

    def expire(self) -> None:
        """The timers of all those ring whose time is over."""
        for waiter in self.at(Place.WAITING):
            if self.now >= waiter.give_up_at and self.callers[waiter] is Place.WAITING:
                self.tell(self.pool.expire(waiter, self.now))
                assert self.callers[waiter] is Place.REFUSED

    def finish(self, waiter: Waiter, fate: Fate) -> None:
        """A call's work ends. A running one whose connection died under it asks once more."""
        slot, again = waiter.slot, fate is Fate.DEAD and self.callers[waiter] is Place.RUNNING
        assert slot is not None
        self.callers[waiter] = Place.DONE
        if fate in (Fate.BROKEN, Fate.DEAD):
            self.unfit.add(slot)
        elif fate is Fate.SOILED:
            self.dirty.add(slot)
        self.tell(self.pool.finish(waiter, fate, self.now))
        if again:
            self.line_up(waiter, front=True)
            self.tell(self.pool.ask(waiter, self.now, again=True))

    def clear_behind(self, head: Waiter) -> None:
        """A call lasts so long that whoever shares its connection is served elsewhere; the others are begun by then."""
        others = [waiter for waiter in self.pool.ledger.grants if waiter.slot is head.slot and waiter is not head]
        for waiter in others:
            if self.callers[waiter] is Place.OFFERED:
                self.accept(waiter)
        for waiter in reversed(others):
            if self.callers[waiter] is Place.RUNNING:
                self.line_up(waiter, front=True)
            else:
                self.callers[waiter] = Place.DONE
        self.tell(self.pool.clear_behind(head, self.now))
        assert head.slot is not None
        assert head.slot.grants == {head}

    # Connections

    def opened(self, slot: Slot) -> None:
        """A start succeeds."""
        self._ends(slot, well=slot not in self.given_up)
        self.tell(self.pool.opened(slot, self.streams, self.now))

    def start_failed(self, slot: Slot, failure: StartFailure) -> None:
        """A start fails; the slot is held until its death is confirmed."""
        self.slots[slot] = Step.CLOSING
        self.tell(self.pool.start_failed(slot, failure, "connection refused", self.now))

    def checked(self, slot: Slot, sound: bool) -> None:
        """A check ends."""
        self._ends(slot, sound)
        self.tell(self.pool.checked(slot, sound, self.now))

    def was_reset(self, slot: Slot, clean: bool) -> None:
        """A reset ends."""
        self._ends(slot, clean)
        if clean:
            self.dirty.discard(slot)
        self.tell(self.pool.was_reset(slot, clean, self.now))

    def gone(self, slot: Slot) -> None:
        """A connection's death is confirmed."""
        del self.slots[slot]
        self.tell(self.pool.gone(slot, self.now))

    def lost(self, slot: Slot) -> None:
        """An idle connection dies by itself; one in use has a user who will notice."""
        if slot.state is ConnectionState.IDLE:
            self.unfit.add(slot)
        self.tell(self.pool.lost(slot, self.now), settled=False)

    def _ends(self, slot: Slot, well: bool) -> None:
        self.slots[slot] = Step.NOTHING
        if not well:
            self.unfit.add(slot)

    # Orders

    def resume(self) -> None:
        self.tell(self.pool.resume(self.now))

    def pause(self) -> None:
        self.pool.pause()

    def drain(self) -> None:
        self.tell(self.pool.drain(self.now))

    def move(self) -> None:
        """The backend has moved: nothing of today may serve."""
        self.unfit |= self.slots.keys()
        self.tell(self.pool.retire(self.now))

    def abort(self) -> None:
        """The end of patience."""
        for waiter in self.at(Place.OFFERED):
            self.step_out(waiter, Place.LEFT)
        self.tell(self.pool.abort(self.now))
        assert self.at(Place.WAITING, Place.RUNNING) == []

    def adopt(self, numbers: list[int]) -> None:
        """A pooler that was killed has left connections under these numbers; past the cap if need be."""
        for number in numbers:
            self.take(self.pool.adopt(number, self.now), Step.CLOSING)
            self.check()

    def kill_connection(self, slot: Slot) -> None:
        """An administrator ends a connection, wherever it is in its life."""
        self.unfit.add(slot)
        self.tell(self.pool.kill_connection(slot, self.now))
        assert all(self.callers[waiter] is Place.STOPPING for waiter in slot.grants)

    def reconfigure(self, rules: Rules) -> None:
        """New rules, which are kept from now on."""
        self.ticked_at = self.now
        self.tell(self.pool.reconfigure(rules, self.now))

    # Good days

    def everything_ends_well(self) -> None:
        """With a backend that behaves, everybody who waits is served, and everything comes to rest."""
        self.resume()
        for _ in range(1000):
            for thing in self.under_way():
                if thing in self.under_way():
                    self.goes_well(thing)
            self.expire()
            if not self.at(Place.WAITING, Place.OFFERED, Place.RUNNING, Place.STOPPING):
                return
            self.now += 1
            self.tick()
        raise AssertionError(f"somebody waits for ever: {self.at(Place.WAITING)} at {self.pool}")

    def take_the_whole_cap(self) -> None:
        """No slot is lost: as many callers as there are places can all be served at once."""
        rules = Rules(cap=self.pool.rules.cap, queue_max=100)
        self.reconfigure(rules)
        self.move()
        for _ in range(1000):
            for _ in range(self.places - len(self.at(Place.WAITING, Place.OFFERED))):
                self.ask(Waiter(self.now, float("inf")))
            for slot in [thing for thing in self.under_way() if isinstance(thing, Slot)]:
                self.goes_well(slot)
            if len(self.at(Place.OFFERED)) == self.places:
                return
            self.now += 1
            self.tick()
        raise AssertionError(f"a slot is lost: {self.pool}")
