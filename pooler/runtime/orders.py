"""What an administrator may order of one backend's pool: each order acts at once, and none breaks the cap.

An order is checked, carried out through the driver, and noted with what was before and after. To find one call it
looks at all, which takes milliseconds where ten thousand wait; the calls themselves pay nothing for it. It does not
know who orders, and keeps nothing of its own: what holds after an order is the pool's state.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from pooler.core.actions import Action
from pooler.core.pool import Pool
from pooler.core.slots import Waiter
from pooler.errors import Fault, Reason
from pooler.runtime.driver import Driver
from pooler.runtime.record import Change
from pooler.runtime.turns import Turn

CAP_MAX = 1_000_000
"""The most that a configuration may say, too."""
KILLS = ("kill_connection", "kill_call")
"""What is obeyed while a backend is being shut down as well: one stuck call may be what holds that up."""
TOLD_MAX = 20
"""How many connections a fault lists: what it says has to fit a status message."""


def waiting(pool: Pool) -> Iterator[Turn]:
    """Every call without a connection, in no order; those included for which one is being emptied."""
    promised = (slot.promised for slot in pool.ledger.slots.values() if slot.promised is not None)
    return _turns([*pool.queue, *promised])


def at_work(pool: Pool) -> Iterator[Turn]:
    """Every call that has a connection, the oldest grant first."""
    return _turns(list(pool.ledger.grants))


def _turns(waiters: list[Waiter]) -> Iterator[Turn]:
    for waiter in waiters:
        assert isinstance(waiter, Turn)
        yield waiter


class Orders:
    """The orders to one driver. Each raises Fault and changes nothing where it cannot be carried out.

    `note` is told of each that was.
    """

    def __init__(self, driver: Driver, note: Callable[[Change], None]) -> None:
        self._driver = driver
        self._pool = driver.pool
        self._note = note

    def set_cap(self, cap: int) -> int:
        """Changes the cap, until the next reload of a configuration or restart. Returns what it was.

        Where it shrinks, idle and starting connections go at once and those at work with the end of their calls; until
        then more than the new cap may be held, and nothing is started. `warm` stays what is configured, as far as the
        cap has room for it.
        """
        rules = self._pool.rules
        if not rules.reserve < cap <= CAP_MAX:
            kept = f" ({rules.reserve} of it is kept for cancels over a second connection)" if rules.reserve else ""
            bounds = f"it goes from {rules.reserve + 1} to {CAP_MAX}{kept}"
            raise self._fault(
                Reason.INVALID_ORDER,
                f"The cap of backend {self._driver.name} cannot be {cap}: {bounds}. It stays {rules.cap}.",
            )
        order = partial(self._pool.reconfigure, replace(rules, cap=cap))
        self._carry_out("set_cap", order, lambda: self._pool.rules.cap)
        return rules.cap

    def pause(self) -> None:
        """Serves nobody from now on: who comes waits, who waits goes on waiting, and what runs goes on running."""

        def order(_: float) -> list[Action]:
            self._pool.pause()
            return []

        self._carry_out("pause", order, self._mode)

    def resume(self) -> None:
        """Ends a pause, a drain, or both: who waits is served, in order."""
        self._carry_out("resume", self._pool.resume, self._mode)

    def drain(self) -> None:
        """Refuses new callers from now on. Who waits is served still, and every connection closed as soon as it can be.

        In a pause, who waits goes on waiting, and what they need stays open.
        """
        self._carry_out("drain", self._pool.drain, self._mode)

    def retire(self) -> None:
        """The backend has moved: no connection of today serves another call. What is at work may end."""
        self._carry_out("retire", self._pool.retire, lambda: self._pool.generation)

    def kill_connection(self, number: int) -> None:
        """Ends a connection, with whatever runs on it. It counts until its death is confirmed."""
        slot = self._pool.ledger.slots.get(number)
        if slot is None:
            sentence = f"Backend {self._driver.name} has no connection {number}; {self._held()}"
            raise self._fault(Reason.CONNECTION_NOT_FOUND, sentence)
        order = partial(self._pool.kill_connection, slot)
        self._carry_out("kill_connection", order, lambda: slot.state.value, connection=str(number))

    def kill_call(self, request_id: str, tenant: str = "") -> int:
        """Ends a call, wherever it stands; a connection that it had goes on to serve, once its work has stopped.

        A caller that sent several under one name means all of them. `tenant` is needed where several tenants use it.
        Returns how many there were.
        """
        found = self._named(request_id, tenant)
        before = _places(found)
        self._obey("kill_call", (partial(self._pool.kill, turn) for turn in found))
        facts = {"request": request_id, "tenant": found[0].tenant, "operation": found[0].operation}
        self._note(Change("kill_call", self._driver.name, before, "killed", facts))
        return len(found)

    def _named(self, request_id: str, tenant: str) -> list[Turn]:
        """The calls of this name, which are of one tenant."""
        name, calls = self._driver.name, [*at_work(self._pool), *waiting(self._pool)]
        if not request_id:
            raise self._fault(Reason.INVALID_ORDER, "Name the call to be killed by its request id.")
        found = [turn for turn in calls if turn.caller.request_id == request_id and tenant in ("", turn.tenant)]
        if not found:
            whose = f" of tenant {tenant!r}" if tenant else ""
            sentence = f"Backend {name} has no call {request_id!r}{whose}, waiting or at work; it may have ended."
            raise self._fault(Reason.CALL_NOT_FOUND, sentence)
        if (tenants := len({turn.tenant for turn in found})) > 1:
            sentence = f"Backend {name} has calls {request_id!r} of {tenants} tenants; say whose is meant."
            raise self._fault(Reason.INVALID_ORDER, sentence)
        return found

    def _carry_out(
        self, name: str, order: Callable[[float], list[Action]], state: Callable[[], object], **facts: str
    ) -> None:
        """`state` tells what the order is about, as it is when it is asked."""
        before = str(state())
        self._obey(name, [order])
        self._note(Change(name, self._driver.name, before, str(state()), facts))

    def _obey(self, name: str, orders: Iterable[Callable[[float], list[Action]]]) -> None:
        driver = self._driver
        if driver.ending and name not in KILLS:
            sentence = f"Backend {driver.name} is being shut down and takes no orders but kills."
            raise self._fault(Reason.DRAINING, sentence)
        for order in orders:
            driver.order(order)

    def _fault(self, reason: Reason, sentence: str) -> Fault:
        return Fault(reason, sentence, {"backend": self._driver.name})

    def _mode(self) -> str:
        modes = [word for word, holds in (("paused", self._pool.paused), ("drained", self._pool.draining)) if holds]
        return " and ".join(modes) or "open"

    def _held(self) -> str:
        numbers = sorted(self._pool.ledger.slots)
        if not numbers:
            return "it has none."
        more = f" and {len(numbers) - TOLD_MAX} more" if len(numbers) > TOLD_MAX else ""
        return f"it has {', '.join(map(str, numbers[:TOLD_MAX]))}{more}."


def _places(turns: list[Turn]) -> str:
    """Where calls stand: `running`, or `2 running, 7 waiting`."""
    places = Counter("waiting" if turn.grant is None else turn.grant.value for turn in turns)
    return next(iter(places)) if len(turns) == 1 else ", ".join(f"{count} {place}" for place, count in places.items())
