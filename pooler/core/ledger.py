"""The slots of one pool: which are taken, how many stand in each state, and which connection is used next.

It counts, and keeps the idle ones in order; what becomes of a slot is decided in `pool`.
"""

from collections import Counter
from itertools import takewhile

from pooler.core.slots import Slot, Waiter
from pooler.core.states import (
    BEGINNINGS,
    CLOSING,
    DRAINING,
    GONE,
    IDLE,
    IN_USE,
    ConnectionEvent,
    ConnectionState,
    next_connection_state,
)

ALIVE = (ConnectionState.IDLE, ConnectionState.IN_USE, ConnectionState.VALIDATING, ConnectionState.RESETTING)
COMING = (ConnectionState.STARTING, ConnectionState.VALIDATING, ConnectionState.RESETTING)
LEAVING = (ConnectionState.DRAINING, ConnectionState.CLOSING)


class Ledger:
    """Every slot that is taken, by number. All but `shared` and `starting` take constant time."""

    def __init__(self) -> None:
        self.slots: dict[int, Slot] = {}
        self.sharing = True
        """Whether any call shares a connection with others."""
        self.grants: dict[Waiter, None] = {}
        """Grants under way, on all connections, the oldest first."""
        self._numbers = 0
        self._streams = self._streams_max = 1
        self._shares = False
        self._idle: dict[Slot, None] = {}
        self._states = dict.fromkeys(ConnectionState, 0)

    def take(self, generation: int, now: float) -> Slot:
        """Takes a slot for a start."""
        return self._add(Slot(self._numbers + 1, generation, started_at=now))

    def adopt(self, number: int, generation: int, now: float) -> Slot:
        """Takes a slot for a connection that is only waited out. Its number is given to no other."""
        return self._add(Slot(number, generation, started_at=now, state=ConnectionState.CLOSING))

    def _add(self, slot: Slot) -> Slot:
        assert slot.state in BEGINNINGS
        assert slot.number not in self.slots
        self._numbers = max(self._numbers, slot.number)
        self.slots[slot.number] = slot
        self._states[slot.state] += 1
        return slot

    def open(self, slot: Slot, streams: int, now: float, expires_at: float) -> None:
        """Takes note of what a start has brought."""
        slot.streams, slot.opened_at, slot.expires_at = streams, now, expires_at
        self._streams, self._streams_max = streams, max(streams, self._streams_max)
        self._shares |= streams > 1

    def move(self, slot: Slot, event: ConnectionEvent, now: float = 0.0) -> None:
        """Moves a slot to the state that the table gives. `now` is needed for what may make it idle."""
        before = slot.state
        after = slot.state = next_connection_state(slot.number, before, event)
        self._states[before] -= 1
        if before is IDLE:
            del self._idle[slot]
        if after is GONE:
            del self.slots[slot.number]
            return
        self._states[after] += 1
        if after is IDLE:
            slot.idle_since = now
            self._idle[slot] = None

    @property
    def streams(self) -> int:
        """What the connection opened last takes at once: the guess for those to come."""
        return self._streams if self.sharing else 1

    @property
    def maybe_free(self) -> bool:
        """Whether it is worth asking for a connection: false as long as all are in use, and none can be shared."""
        return bool(self._idle) or (self._shares and self.sharing)

    def idle(self) -> Slot | None:
        """The idle connection used last, so that the others can age out."""
        return next(reversed(self._idle)) if self._idle else None

    def shared(self) -> Slot | None:
        """A connection in use with room for another call, and no fuller than others are; None: there is no room.

        One that somebody has soiled empties first. Asked with every call, so it stops at the first that will do.
        """
        states, under_way = self._states, len(self.grants)
        users = states[IN_USE]
        if not (self._shares and self.sharing) or under_way >= (users + states[DRAINING]) * self._streams_max:
            return None
        found, least = None, under_way
        for slot in self.slots.values():
            if slot.state is IN_USE and (count := len(slot.grants)) <= least and slot.shareable:
                if count * users <= under_way:
                    return slot
                found, least = slot, count
        return found

    def count(self, *states: ConnectionState) -> int:
        """How many slots are in any of these states."""
        found, total = self._states, 0
        for state in states:
            total += found[state]
        return total

    def stuck(self, moment: float) -> int:
        """How many places are kept by grants that have been under way since before a moment.

        Such a grant keeps its own, and all of a connection that nobody may join. Takes time only for those it counts.
        """
        kept: Counter[Slot] = Counter()
        for waiter in takewhile(lambda waiter: waiter.granted_at < moment, self.grants):
            if waiter.slot is not None and waiter.slot.state is IN_USE:
                kept[waiter.slot] += 1
        streams = self.streams
        return sum(streams if slot.shut or count >= streams else count for slot, count in kept.items())

    @property
    def held(self) -> int:
        """Slots taken, in whatever state."""
        return len(self.slots)

    @property
    def alive(self) -> int:
        """Connections that serve, or will again."""
        return self.count(*ALIVE)

    @property
    def let_in(self) -> int:
        """Connections that the backend has let in, and that nobody has begun to close."""
        return self.held - self.starting - self.count(ConnectionState.CLOSING)

    @property
    def coming(self) -> int:
        """Connections that will be free without anybody's return."""
        return self.count(*COMING)

    @property
    def staying(self) -> int:
        """Slots that nothing has put on their way out."""
        states = self._states  # asked with every call, so without `count`
        return len(self.slots) - states[DRAINING] - states[CLOSING]

    @property
    def starting(self) -> int:
        """Starts under way, those included that were given up and have not ended yet."""
        starting = self._states[ConnectionState.STARTING]
        if self._states[ConnectionState.DRAINING]:
            starting += sum(s.state is ConnectionState.DRAINING and not s.opened_at for s in self.slots.values())
        return starting

    def __repr__(self) -> str:
        return " ".join(f"{state.value}={count}" for state, count in self._states.items() if count) or "empty"
