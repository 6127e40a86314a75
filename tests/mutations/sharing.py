"""The breaks of answers that are shared, beside those of the pool itself in `breaks`."""

from tests.mutations.change import Break

CACHE, FLIGHTS = "pooler/core/cache.py", "pooler/core/flights.py"
FLIGHT, READING = "pooler/runtime/reuse/flight.py", "pooler/runtime/reuse/reading.py"
WRITING, ROOM = "pooler/runtime/reuse/writing.py", "pooler/runtime/reuse/room.py"

BREAKS = (
    Break(
        25,
        "asks the backend once for each of those who ask the same",
        READING,
        "elif self.rule.joins and (flight",
        "elif not self.rule.joins and (flight",
    ),
    Break(
        25,
        "goes on with work for which nobody waits any more",
        FLIGHT,
        "            self.reading.driver.cancel(self)",
        "            pass",
    ),
    Break(
        25,
        "waits for a connection no longer than the first caller would",
        FLIGHT,
        "        if changed:\n",
        "        if not changed:\n",
    ),
    Break(
        25,
        "gives the further pages of a result to whoever is first to have left",
        FLIGHT,
        "            self.caller = heir.caller",
        "            pass",
    ),
    Break(
        25,
        "makes everybody wait until the last of a thousand callers was told",
        FLIGHT,
        "TOLD_AT_ONCE = 100",
        "TOLD_AT_ONCE = 100_000",
    ),
    Break(
        26,
        "shares across tenants",
        READING,
        "                return call.tenant, (self.tag, call.tenant, arguments, whole)\n",
        "                return SHARED, (self.tag, arguments, whole)\n",
    ),
    Break(
        26,
        "shares across principals what is each principal's own",
        READING,
        ", call.caller.principal)",
        ")",
    ),
    Break(
        26,
        "acknowledges a write before what it has changed is wrong",
        WRITING,
        "        self.room.wrote(self.driver.name, self.tags)\n        if not",
        "        self.room.loop.call_later(0.01, self.room.wrote, self.driver.name, self.tags)\n        if not",
    ),
    Break(
        26,
        "takes a write of which nobody knows what became for one that was not done",
        WRITING,
        "    if call.grant is None:\n        return False  # it",
        "    if call.grant is None or isinstance(outcome.result, Fault):\n        return False  # it",
    ),
    Break(
        26,
        "does not look after a write that takes effect when its caller has gone",
        WRITING,
        "        if not isinstance(outcome.result, Answer):\n            self",
        "        if False:\n            self",
    ),
    Break(
        26,
        "forgets with a commit what was written before it",
        WRITING,
        "        if tags is not None and",
        "        if tags is None and",
    ),
    Break(
        26,
        "strict operations see no more than what writes say of themselves",
        ROOM,
        '["write"] += 1\n        self._move(tags, self._strict.get(backend, ()))',
        '["write"] += 1\n        self._move(tags, ())',
    ),
    Break(
        26,
        "lets late comers join what was read before a write that they must see",
        FLIGHTS,
        "return young and not moved(self.marks, self.epoch)",
        "return young",
    ),
    Break(
        27,
        "notes what holds when an answer arrives, instead of when it was begun",
        FLIGHT,
        "self.flight.begin(room.epochs.now, now)",
        "self.flight.begin(10**9, now)",
    ),
    Break(
        27,
        "counts the age of an answer from its arrival",
        FLIGHTS,
        "            flight.began_at,\n",
        "            flight.began_at + 1e6,\n",
    ),
    Break(
        27,
        "gives what was invalidated",
        FLIGHTS,
        "        if entry is None or not entry.valid:\n            return None\n        age",
        "        if entry is None:\n            return None\n        age",
    ),
    Break(
        27,
        "gives old answers for a backend that is down without having been asked for that",
        FLIGHTS,
        "return entry if down and flight.terms.down and usable else None",
        "return entry if down else None",
    ),
    Break(
        27,
        "renews answers while others wait",
        READING,
        "return not self.driver.pool.queue",
        "return True",
    ),
    Break(
        27,
        "renews an answer for each caller who finds it stale",
        FLIGHTS,
        " and key not in self._flights",
        "",
    ),
    Break(
        27,
        "keeps more than it may",
        CACHE,
        "        while self.bytes > self._bytes_max:",
        "        while self.bytes > 2 * self._bytes_max:",
    ),
    Break(
        27,
        "drops the answers of whoever keeps the least",
        CACHE,
        "owner, shelf = max(",
        "owner, shelf = min(",
    ),
)
