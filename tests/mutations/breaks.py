"""The breaks: for each promise that is kept, a small change after which it is kept no more.

A break is a text that stands once in a file and another one in its place. It is applied to a copy of the tree alone.
"""

from tests.mutations import orders
from tests.mutations.change import Break

__all__ = ["BREAKS", "Break"]

POOL, DECISIONS, LEDGER = "pooler/core/pool.py", "pooler/core/decisions.py", "pooler/core/ledger.py"
STARTS, FAIRNESS, LEARNED = "pooler/core/starts.py", "pooler/core/fairness.py", "pooler/core/learned.py"
SHEDDING, RULES = "pooler/core/shedding.py", "pooler/core/rules.py"
DRIVER, STARTER = "pooler/runtime/driver.py", "pooler/runtime/starter.py"
SERVER, DATA = "pooler/service/server.py", "pooler/service/data.py"

BREAKS = (
    Break(
        1,
        "counts no connection that is on its way out",
        DECISIONS,
        "room = self.starts.limit(self.rules.places, now) - self.ledger.held",
        "room = self.starts.limit(self.rules.places, now) - self.ledger.staying",
    ),
    Break(
        2,
        "closes nothing when the cap shrinks",
        DECISIONS,
        "now >= slot.expires_at or self.ledger.staying > self.rules.places",
        "now >= slot.expires_at",
    ),
    Break(4, "leaves nothing of the cap for cancels", RULES, "return self.cap - self.reserve", "return self.cap"),
    Break(
        5,
        "forgets the connection that was offered to a caller who has just left",
        DECISIONS,
        "return [*told, *self._part(waiter, Fate.SOUND, now)]",
        "return told",
    ),
    Break(6, "lets work go on whose caller has left", DECISIONS, "return [Interrupt(waiter, reason)]", "return []"),
    Break(
        6,
        "tells the caller of a cancel, and cancels nothing",
        DRIVER,
        "        turn.task.cancel()\n        self._settle_turn(turn, faults.interrupted",
        "        self._settle_turn(turn, faults.interrupted",
    ),
    Break(
        7,
        "serves a caller whose time is over",
        DECISIONS,
        "            if now >= waiter.give_up_at:",
        "            if now > waiter.give_up_at + 1:",
    ),
    Break(
        7,
        "begins work whose deadline has passed since the offer",
        DRIVER,
        "        if began >= turn.deadline:",
        "        if began >= turn.deadline + 60:",
    ),
    Break(
        8,
        "looks at the queue with the next tick, when a connection has come back",
        DECISIONS,
        "            self.ledger.move(slot, EMPTIED, now)\n        return actions + self._settle(now)",
        "            self.ledger.move(slot, EMPTIED, now)\n        return actions",
    ),
    Break(
        9,
        "starts one client after the other",
        STARTS,
        "if self._ramp else self.parallel_max",
        "if self._ramp else 1",
    ),
    Break(
        9,
        "holds starts up until it knows what a call takes",
        STARTS,
        "            return -(-waiting // streams)\n",
        "            return 0 if self.took.samples else -(-waiting // streams)\n",
    ),
    Break(
        9,
        "waits for a long call to give back a connection that it has whole",
        LEDGER,
        "self.streams if slot.shut or count == slot.streams else count for",
        "count for",
    ),
    Break(
        9,
        "starts nothing for who waits for a connection to be empty",
        DECISIONS,
        "self.queue.servable + len(self._promises)",
        "self.queue.servable",
    ),
    Break(
        10,
        "serves nobody from a returned connection while another one starts",
        DECISIONS,
        "            self.ledger.move(slot, EMPTIED, now)\n        return actions + self._settle(now)",
        "            self.ledger.move(slot, EMPTIED, now)\n"
        "        return actions + ([] if self.ledger.starting else self._settle(now))",
    ),
    Break(
        11,
        "starts a client for each who waits",
        STARTS,
        "if not (self.took.samples and self.work.samples and waiting):",
        "if waiting or not (self.took.samples and self.work.samples):",
    ),
    Break(
        11,
        "believes the newest call more than the forty before it",
        STARTS,
        "lambda: Mean(rate=WORK_RATE)",
        "Mean",
    ),
    Break(
        12,
        "gives its starts up when somebody who waits for them leaves",
        DECISIONS,
        "return self._settle(now) if self._withdraw(waiter) else []\n        if waiter.grant is GrantState.OFFERED:",
        "return [] if not self._withdraw(waiter) else [a for s in list(self.ledger.slots.values())"
        " if s.state is ConnectionState.STARTING for a in self._retire(s)]\n"
        "        if waiter.grant is GrantState.OFFERED:",
    ),
    Break(
        13,
        "keeps what the backend said to itself",
        DECISIONS,
        "Refuse(waiter, Reason.START_FAILED, pause, words)",
        'Refuse(waiter, Reason.START_FAILED, pause, "")',
    ),
    Break(
        13,
        "keeps the slot of a start that has failed",
        DRIVER,
        "        self.let_go(slot, certain=True)\n",
        "",
    ),
    Break(
        14,
        "starts as many as it may as soon as the backend is back",
        STARTS,
        "        self._ramp = 1\n        self._failing",
        "        self._failing",
    ),
    Break(
        14,
        "tries again at once",
        STARTS,
        "self._began_at, self.until = now, now + seconds * (0.5 + 0.5 * share)",
        "self._began_at, self.until = now, now + 0.01 * share",
    ),
    Break(
        15,
        "waits twice as long after each failure, without a bound",
        STARTS,
        "min(PAUSE_FIRST_SECONDS * 2.0**self._doublings, PAUSE_MAX_SECONDS)",
        "PAUSE_FIRST_SECONDS * 2.0**self._doublings",
    ),
    Break(
        16,
        "learns nothing of the others when one connection fails its check",
        POOL,
        "if self.rules.shared_fate and slot.generation == self.generation:\n            actions += self._retire_all()",
        "pass",
    ),
    Break(
        17,
        "uses a connection again that could not be reset",
        POOL,
        "        if clean:\n            return self._rest(slot, ConnectionEvent.CLEAN, now)",
        "        if clean or not slot.doomed:\n            return self._rest(slot, ConnectionEvent.CLEAN, now)",
    ),
    Break(
        17,
        "uses a connection again whose work could not be stopped",
        DRIVER,
        "return Fate.SOILED if clean else Fate.BROKEN",
        "return Fate.SOILED",
    ),
    Break(
        17,
        "lets calls join the last one that a connection may serve",
        DECISIONS,
        "        if self._used_up(slot):\n            self.ledger.move(slot, ConnectionEvent.RETIRED)",
        "        if False:\n            self.ledger.move(slot, ConnectionEvent.RETIRED)",
    ),
    Break(18, "resets nothing", DECISIONS, "slot.soiled |= fate is Fate.SOILED", "slot.soiled = False"),
    Break(
        18,
        "resets whatever was used",
        DRIVER,
        "fate = Fate.SOILED if connection.dirty else Fate.SOUND",
        "fate = Fate.SOILED",
    ),
    Break(
        19,
        "gives a connection to the next one while its cancel is under way",
        DRIVER,
        "            fate = await self.stop(kit.adapter, connection)",
        "            self.spawn(self.stop(kit.adapter, connection))\n            fate = Fate.SOUND",
    ),
    Break(
        21,
        "serves whoever came last",
        FAIRNESS,
        "return own.popitem(last=False)[0]",
        "return own.popitem(last=True)[0]",
    ),
    Break(
        22,
        "gives whoever asks for less than its share nothing to the good",
        FAIRNESS,
        "self._now - BURST_CALLS * _price(waiter) / lane.share.weight",
        "self._now",
    ),
    Break(
        22,
        "lets tenants pay alike, whatever they use and weigh",
        FAIRNESS,
        "lane.start += seconds / lane.share.weight",
        "lane.start += 0.001",
    ),
    Break(
        22,
        "lets one tenant fill the queue for all",
        DECISIONS,
        "return self.queue.gives_way(newcomer.tenant) or newcomer",
        "return newcomer",
    ),
    Break(
        23,
        "lets everybody wait",
        DECISIONS,
        "if len(self.queue) < self.rules.queue_max or self._served_at_once(newcomer):",
        "if len(self.queue) >= 0:",
    ),
    Break(
        23,
        "keeps what nobody stands under any more in the order of the tenants",
        FAIRNESS,
        "if len(self._order) > 2 * len(self._lanes) + STALE_MAX:",
        "if not self._lanes:",
    ),
    Break(
        24,
        "begins work that cannot end in time",
        DECISIONS,
        "elif self.queue and self.judge.too_late(waiter, now):",
        "elif not waiter:",
    ),
    Break(
        24,
        "learns only from those who were quick enough",
        POOL,
        "self.judge.outlast(waiter.operation, min(now, waiter.deadline) - waiter.granted_at)",
        "pass",
    ),
    Break(
        28,
        "lets connections live equally long",
        POOL,
        "(1 - LIFETIME_SPREAD * self._jitter())",
        "1",
    ),
    Break(
        29,
        "closes warm connections because they idle",
        DECISIONS,
        "return idle and self.ledger.staying > self.rules.warm",
        "return idle",
    ),
    Break(
        30,
        "answers after the reset",
        DRIVER,
        "            self._settle_turn(turn, result, began)\n        self._returning",
        "            if connection.dirty:\n"
        "                await starter.reset(kit.adapter, connection, self.bounds.validate)\n"
        "            self._settle_turn(turn, result, began)\n        self._returning",
    ),
    Break(
        31,
        "takes calls while it drains",
        POOL,
        "        if self.draining:\n            return [Refuse(waiter, Reason.DRAINING)]\n",
        "",
    ),
    Break(
        31,
        "never stops what still runs when the grace is almost over",
        DRIVER,
        "            self._conclude(self.pool.abort(self._clock()))\n",
        "",
    ),
    Break(33, "serves in a pause", POOL, "        self.paused = True\n", "        self.paused = False\n"),
    Break(
        33,
        "tells who was killed that it has cancelled",
        DECISIONS,
        "return [Interrupt(waiter, reason)]",
        "return [Interrupt(waiter)]",
    ),
    Break(
        34,
        "goes on with what was starting when the backend moved",
        DECISIONS,
        "        self.generation += 1\n        return [action for slot in list(self.ledger.slots.values()) for",
        "        staying = (s for s in self.ledger.slots.values() if s.state is not ConnectionState.STARTING)\n"
        "        return [action for slot in list(staying) for",
    ),
    Break(
        36,
        "waits by the wall clock",
        "pooler/clock.py",
        "from time import monotonic\n",
        "from time import time as monotonic\n",
    ),
    Break(
        38,
        "keeps the places of callers who have left the queue",
        DECISIONS,
        "            return True\n        return self.queue.remove(waiter)",
        "            return True\n        return False",
    ),
    Break(
        38,
        "does not hear that a caller's connection was cut",
        DATA,
        "            leave()\n            raise",
        "            raise",
    ),
    Break(
        38,
        "gives a frozen caller a minute to reply",
        SERVER,
        '            ("grpc.http2.ping_timeout_ms", round(1000 * vanished_seconds * (1 - PING_SHARE))),\n',
        "",
    ),
    Break(
        39,
        "lets administrators stand in one line with everybody else",
        SERVER,
        "    built = grpc.aio.server(\n",
        "    built = grpc.aio.server(\n        maximum_concurrent_rpcs=20,\n",
    ),
    Break(
        40,
        "says that it serves before anything has proved it",
        POOL,
        "return self.starts.proven and (self.starts.failures == 0 or self.ledger.alive > 0)",
        "return True",
    ),
    *orders.BREAKS,
)
