"""Who is next: a bounded queue, first come first served within a priority, and without starvation between them.

It holds waiters and their order; it knows nothing of connections, and never decides that a waiter gets a place.
"""

from collections import OrderedDict

from pooler.core.slots import Priority, Waiter

HANDICAP_SECONDS = {Priority.INTERACTIVE: 0.0, Priority.BATCH: 10.0}
"""A batch call stands as if it had come this much later, so it ages into the front instead of starving. Ten seconds is
about how long a person waits before giving up: a burst of people passes, a steady stream of them does not block it."""


class Queue:
    """Waiters in the order in which they will be served. Every operation takes constant time."""

    def __init__(self) -> None:
        self._lanes: dict[Priority, OrderedDict[Waiter, None]] = {priority: OrderedDict() for priority in Priority}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def __contains__(self, waiter: object) -> bool:
        return isinstance(waiter, Waiter) and waiter in self._lanes[waiter.priority]

    def push(self, waiter: Waiter) -> None:
        """Puts a waiter behind those of its priority."""
        self._lanes[waiter.priority][waiter] = None

    def push_front(self, waiter: Waiter) -> None:
        """Puts back a waiter that has had its turn already, and lost it through no fault of its own."""
        lane = self._lanes[waiter.priority]
        lane[waiter] = None
        lane.move_to_end(waiter, last=False)

    def remove(self, waiter: Waiter) -> bool:
        """Takes a waiter out, wherever it stands. False when it was not waiting."""
        lane = self._lanes[waiter.priority]
        if waiter not in lane:
            return False
        del lane[waiter]
        return True

    def pop(self) -> Waiter:
        """Takes the next one out. Raises KeyError when nobody waits."""
        lane = min(filter(None, self._lanes.values()), key=_turn, default=None)
        if lane is None:
            raise KeyError("nobody waits")
        return lane.popitem(last=False)[0]

    def oldest(self) -> Waiter | None:
        """Whoever has waited longest."""
        heads = [next(iter(lane)) for lane in self._lanes.values() if lane]
        return min(heads, key=lambda waiter: waiter.asked_at, default=None)

    def clear(self) -> list[Waiter]:
        """Takes everybody out, in order."""
        everybody = []
        while self:
            everybody.append(self.pop())
        return everybody


def _turn(lane: OrderedDict[Waiter, None]) -> float:
    head = next(iter(lane))
    return head.asked_at + HANDICAP_SECONDS[head.priority]
