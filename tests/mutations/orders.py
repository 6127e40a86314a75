"""The breaks of what an administrator may order, beside those of the pool itself in `breaks`."""

from tests.mutations.change import Break

POOL, DRIVER = "pooler/core/pool.py", "pooler/runtime/driver.py"
ORDERS, APP = "pooler/runtime/orders.py", "pooler/app.py"

BREAKS = (
    Break(
        2,
        "takes an order for another cap for done",
        ORDERS,
        'self._carry_out("set_cap", order,',
        'self._carry_out("set_cap", lambda now: [],',
    ),
    Break(
        2,
        "lets an administrator set a cap that leaves no connection for calls",
        ORDERS,
        "        if not rules.reserve < cap <= CAP_MAX:",
        "        if not rules.reserve <= cap <= CAP_MAX:",
    ),
    Break(
        2,
        "keeps the cap that an order said, whatever is reloaded",
        DRIVER,
        "        self._conclude(self.pool.reconfigure(rules, now))",
        "        self._conclude(self.pool.reconfigure(self.pool.rules, now))",
    ),
    Break(
        2,
        "goes on with a start for which those on their way out leave no room under a smaller cap",
        "pooler/core/decisions.py",
        "return self.ledger.held - given_up > self.rules.places",
        "return False",
    ),
    Break(
        2,
        "lets cancels of before a reload and those after it each have the reserve",
        DRIVER,
        "        if rules.reserve != self.pool.rules.reserve:",
        "        if rules:",
    ),
    Break(
        31,
        "takes a backend that was drained before, and resumed, for empty when it ends",
        DRIVER,
        "        self._empty.clear()",
        "        pass",
    ),
    Break(
        31,
        "obeys orders while it is being shut down",
        ORDERS,
        "        if driver.ending and name not in KILLS:\n",
        "        if not driver:\n",
    ),
    Break(
        31,
        "leaves what a reload has removed alone when it stops in the midst of it",
        APP,
        "        if self._readings:\n",
        "        if not self._readings:\n",
    ),
    Break(
        33,
        "forgets after a pause who waits",
        POOL,
        "        self.paused = self.draining = False\n        return self.tick(now)",
        "        self.paused = self.draining = False\n        return []",
    ),
    Break(
        33,
        "refuses calls for ever after a drain",
        POOL,
        "        self.paused = self.draining = False",
        "        self.paused = False",
    ),
    Break(
        33,
        "drains nothing by order",
        ORDERS,
        'self._carry_out("drain", self._pool.drain, self._mode)',
        'self._carry_out("drain", self._pool.tick, self._mode)',
    ),
    Break(
        33,
        "kills whoever bears a name, whosever call it is",
        ORDERS,
        "        if (tenants := len({turn.tenant for turn in found})) > 1:",
        "        if (tenants := len({turn.tenant for turn in found})) > 2:",
    ),
    Break(
        33,
        "finds no call to be killed that waits",
        ORDERS,
        "[*at_work(self._pool), *waiting(self._pool)]",
        "[*at_work(self._pool)]",
    ),
    Break(
        33,
        "finds no call to be killed that waits for a connection to be empty",
        ORDERS,
        "    return _turns([*pool.queue, *promised])",
        "    return _turns([*pool.queue])",
    ),
    Break(
        33,
        "lets those work on whose connection was killed",
        POOL,
        "for waiter in list(slot.grants) for action in self._dismiss(waiter, Reason.KILLED, now)",
        "for waiter in list(slot.grants)[:0] for action in self._dismiss(waiter, Reason.KILLED, now)",
    ),
    Break(
        34,
        "retires nothing by order",
        ORDERS,
        'self._carry_out("retire", self._pool.retire,',
        'self._carry_out("retire", self._pool.tick,',
    ),
)
