"""One seed's world: callers who come, wait, leave; a backend that misbehaves; a DBA with all of his orders.

Everything is drawn from the seed. While it runs, the rig watches; at the end the oracles ask whether each call was
answered once and in time, whether the whole cap can still be taken, and whether draining leaves nothing behind.
"""

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from pooler.backends.base import Answer
from pooler.core.fairness import Share
from pooler.core.slots import Priority
from pooler.errors import Fault, Reason
from pooler.runtime.starter import Bounds
from tests.simulation.rig import PAGE_ROWS, Call, Rig, finished
from tests.simulation.virtual import STARTED_AT

TRACE = "PENSTOCK_TRACE"
"""Set in the environment, it prints one line of state per event."""
MOMENT = 1e-6
"""What counts as the same time, in seconds."""
LASTS_SECONDS = 60.0
SHARES = {"large": Share(weight=3.0), "small": Share(queue_max=4, connections_max=1)}
SOUND: dict[str, Any] = {
    "limit": None,
    "refuse": None,
    "hang": frozenset(),
    "ignore_cancel": False,
    "poison_after": None,
    "die_after": None,
    "lie": False,
}


class World:
    """A pool, its callers, its backend and its DBA, for one minute."""

    def __init__(self, seed: int, streams: int = 1) -> None:
        self.seed = seed
        self.chance = chance = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self._stuck = chance.random() < 0.5
        """Whether steps may hang; else the system may ignore cancels. Both together never end, for anybody."""
        rules = {
            "cap": chance.randint(1, 6),
            "parallel_starts": chance.randint(1, 4),
            "warm": chance.randint(0, 2),
            "queue_max": chance.choice([2, 10, 100]),
            "idle_seconds": chance.choice([2.0, 10.0, 60.0]),
            "lifetime_seconds": chance.choice([5.0, 20.0, 600.0]),
            "validate_after_seconds": chance.choice([0.5, 2.0, 30.0]),
            "max_uses": chance.choice([None, None, 3, 40]),
            "adaptive": chance.random() < 0.2,
            "shares": chance.choice([{}, SHARES]),
        }
        bounds = Bounds(start=chance.choice([5.0, 20.0]), validate=1.0, cancel=2.0, close=4.0, reap=20.0)
        self.rig = Rig(
            rules,
            bounds,
            seed,
            start_seconds=chance.choice([0.0, 0.2, 3.0]),
            work_seconds=chance.choice([0.0, 0.05]),
            dying_seconds=chance.choice([0.0, 0.5, 2.0]),
            confirm_death=chance.random() < 0.8,
            spread=0.5,
            streams=streams,
        )
        self._rate = chance.choice([1.0, 5.0, 20.0])
        self._patience = chance.choice([0.3, 3.0, 30.0])

    def note(self, event: str) -> None:
        """One line of state, when asked for."""
        if TRACE in os.environ:
            now = self.rig.now - STARTED_AT
            print(f"t={now:9.4f} {event:28} {self.rig.driver.pool!r} {self.rig.system.counts()}")

    async def live(self) -> None:
        """The minute itself."""
        self.rig.driver.run()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._callers())
            group.create_task(self._misfortunes())
            group.create_task(self._orders())

    async def recover(self) -> None:
        """The backend behaves again; every call comes to its end, and then the whole cap can be taken at once."""
        self.rig.system.behave(**SOUND)
        self.note("recovery")
        await finished(self.rig.calls, 300)
        places = self.rig.driver.pool.rules.places
        self.rig.resize(queue_max=100, adaptive=False)
        everybody: list[Call] = []
        async with asyncio.timeout(300):
            while self.rig.busy() < places:
                waiting = [call for call in everybody if not call.outcomes]
                everybody += [self.rig.submit(1000.0, timeout=2000.0) for _ in range(places - len(waiting))]
                await asyncio.sleep(0.25)
        self.note("whole cap at work")
        for call in everybody:
            self.rig.cancel(call)

    async def end(self) -> None:
        """Draining, in the midst of more calls; with a short grace the backend may count the dying for a moment."""
        late = [self.rig.submit(self.chance.uniform(0, 1)) for _ in range(5)]
        grace, began = self.chance.choice([1.0, 300.0]), self.rig.now
        await self.rig.driver.drain(grace)
        self.note("drained")
        assert self.rig.now - began <= grace + MOMENT, "draining took longer than its grace"
        if grace > 1:
            assert self.rig.driver.pool.held == 0
        else:
            await self.rig.system.quiet()
        assert self.rig.system.counts().total == 0
        await finished([*late, self.rig.submit()], 1)

    async def _callers(self) -> None:
        until_when = self.rig.now + LASTS_SECONDS
        while self.rig.now < until_when:
            await asyncio.sleep(self.chance.expovariate(self._rate))
            for _ in range(self.chance.choice([1, 1, 1, 1, 12])):
                self._come()

    def _come(self) -> None:
        chance = self.chance
        call = self.rig.submit(
            **self._wish(),
            timeout=chance.choice([0.2, 2.0, 10.0]),
            patience=chance.uniform(0, self._patience),
            deadline=chance.choice([None, None, chance.uniform(0, self._patience)]),
            priority=chance.choice(list(Priority)),
            tenant=chance.choice(["default", "default", "large", "small"]),
        )
        self.note(f"call {call.number} comes")
        if chance.random() < 0.3:
            delay = chance.choice([0.0, chance.expovariate(2), call.turn.give_up_at - self.rig.now])
            asyncio.get_running_loop().call_later(delay, self._leave, call)

    def _wish(self) -> dict[str, Any]:
        """What a caller wants: most that share are short, and now and then one is in everybody's way."""
        chance = self.chance
        if self.rig.streams > 1 and chance.random() < 0.7:
            return {
                "seconds": chance.choice([0.0, 0.001, 0.01, 0.05, chance.expovariate(2)]),
                "operation": chance.choice(["echo", "echo", "work", "rows", "wrong"]),
                "count": chance.choice([0, 1, PAGE_ROWS, PAGE_ROWS + 1, 500]),
                "share": True,
            }
        return {
            "seconds": chance.expovariate(4),
            "operation": chance.choice(["work", "work", "write", "leave_trace", "see_trace", "wrong"]),
        }

    def _leave(self, call: Call) -> None:
        self.rig.cancel(call)
        self.note(f"call {call.number} leaves")

    async def _misfortunes(self) -> None:
        until_when = self.rig.now + LASTS_SECONDS
        while self.rig.now < until_when:
            await asyncio.sleep(self.chance.expovariate(0.3))
            name, strike = self.chance.choice(self._possible())
            strike()
            self.note(name)
            await asyncio.sleep(self.chance.expovariate(0.5))
            self.rig.system.behave(**SOUND)
            self.note("well again")

    def _possible(self) -> list[tuple[str, Callable[[], None]]]:
        chance, system = self.chance, self.rig.system
        steps = ["open", "validate", "execute", "cancel", "reset"]
        stuck: dict[str, Any] = {"hang": frozenset(chance.sample(steps, chance.randint(1, 3)))}
        return [
            ("refuses", lambda: system.behave(refuse="down")),
            ("few licences", lambda: system.behave(limit=chance.randint(1, self.rig.driver.pool.rules.cap))),
            ("poisons", lambda: system.behave(poison_after=chance.randint(1, 5), lie=chance.random() < 0.5)),
            ("dies at work", lambda: system.behave(die_after=chance.randint(1, 5))),
            ("stuck or deaf", lambda: system.behave(**(stuck if self._stuck else {"ignore_cancel": True}))),
            ("kills one", self._kill_one),
            ("restarts", self._restart),
        ]

    def _kill_one(self) -> None:
        if self.rig.system.sessions:
            self.rig.system.kill(self.chance.choice(self.rig.system.sessions))

    def _restart(self) -> None:
        self.rig.system.behave(refuse="restarting", lie=self.chance.random() < 0.3)
        for session in list(self.rig.system.sessions):
            self.rig.system.kill(session)

    async def _orders(self) -> None:
        until_when = self.rig.now + LASTS_SECONDS
        while self.rig.now < until_when:
            await asyncio.sleep(self.chance.expovariate(0.2))
            name, order = self.chance.choice(self._orderable())
            order()
            self.note(name)
            if self.rig.driver.pool.paused or self.rig.driver.pool.draining:
                await asyncio.sleep(self.chance.expovariate(0.5))
                self.rig.orders.resume()
                self.note("resume")

    def _orderable(self) -> list[tuple[str, Callable[[], object]]]:
        chance, rig = self.chance, self.rig
        slots, calls = list(rig.driver.pool.ledger.slots.values()), [call for call in rig.calls if not call.outcomes]
        orders: list[tuple[str, Callable[[], object]]] = [
            ("set cap", lambda: rig.orders.set_cap(chance.randint(1, 8))),
            ("set cap", lambda: rig.orders.set_cap(chance.randint(1, 8))),
            ("pause", rig.orders.pause),
            ("drain", rig.orders.drain),
            ("retire", rig.retire),
            ("reload", lambda: rig.resize(cap=chance.randint(1, 8), warm=chance.randint(0, 1))),
            ("reload", lambda: rig.resize(parallel_starts=chance.randint(1, 4), queue_max=chance.choice([2, 50]))),
            ("reload", rig.replace_adapter),
        ]
        if slots:
            orders.append(("kill a connection", lambda: rig.kill_connection(chance.choice(slots))))
        if calls:
            orders.append(("kill a call", lambda: rig.kill(chance.choice(calls))))
        return orders

    def judge(self) -> None:
        """The oracles. Raises AssertionError with everything that was seen."""
        assert self.rig.violations == []
        for call in self.rig.calls:
            self._judge(call)
        self._judge_order()

    def _judge_order(self) -> None:
        """Within a tenant's priority, whoever came first was served first: through pauses, too.

        Who needs a connection that others share waits for them, on whichever is empty first; meanwhile others go by.
        """
        served: dict[tuple[str, Priority], float] = defaultdict(float)
        for call in self.rig.calls:
            turn = call.turn
            if turn.whole and self.rig.streams > 1:
                continue
            if turn.grant is not None and not turn.retried and not call.moved:  # else he was served twice
                lane = turn.tenant, turn.priority
                assert turn.granted_at >= served[lane], f"call {call.number} overtook one of its own lane"
                served[lane] = turn.granted_at

    def _judge(self, call: Call) -> None:
        assert len(call.outcomes) == 1, f"call {call.number} has {len(call.outcomes)} outcomes"
        result, turn = call.outcomes[0].result, call.turn
        self.outcomes[result.reason if isinstance(result, Fault) else "ANSWER"] += 1
        assert call.delivered_at is not None
        assert call.delivered_at <= turn.deadline + MOMENT, f"call {call.number} hears after its deadline"
        if isinstance(result, Answer):
            assert call.executed, f"call {call.number} was answered without any work"
            timing = call.outcomes[0].timing
            spent = timing.queue + timing.start + timing.reset + timing.backend
            assert abs(spent - (call.delivered_at - turn.asked_at)) < MOMENT, f"the times of call {call.number}"
            if turn.operation == "echo":
                assert result.body == b'{"result":%d}' % call.number, f"call {call.number} has somebody else's answer"
        elif result.reason is Reason.CANCELLED:
            assert call.cancelled_at is not None or self.rig.driver.pool.draining
        elif result.reason is Reason.KILLED:
            assert call.killed_at == call.delivered_at, f"call {call.number} was not killed at this moment"
        elif result.reason in (Reason.QUEUE_TIMEOUT, Reason.START_TIMEOUT, Reason.PAUSED):
            assert call.delivered_at >= turn.give_up_at - MOMENT, f"call {call.number} is refused before its time"
