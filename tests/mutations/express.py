"""Breaks of connections that several calls share."""

from tests.mutations.change import Break

EXPRESS, POOL, PIPELINE = "pooler/runtime/express.py", "pooler/core/pool.py", "pooler/backends/postgres/pipeline.py"

BREAKS = (
    Break(
        19,
        "stops a call in the backend while others wait behind it on its connection",
        EXPRESS,
        "        if turn in self._alone:\n            self._alone.discard(turn)\n            self._driver.spawn",
        "        if turn.slot is not None:\n            self._alone.discard(turn)\n            self._driver.spawn",
    ),
    Break(
        6,
        "begins the work of a caller again who has left behind a slow one",
        POOL,
        "            if wanted:\n                waiter.grant = waiter.slot = None\n",
        "            if waiter.slot is not None:\n                waiter.grant = waiter.slot = None\n",
    ),
    Break(
        37,
        "lets a slow call at the head hold those behind it",
        EXPRESS,
        "        if looks <= LOOKS:\n",
        "        if looks:\n",
    ),
    Break(
        18,
        "gives a connection to the next while what was left behind a slow call is still done on it",
        EXPRESS,
        "            fate = Fate.SOILED if fate is Fate.SOUND else fate  # what was left behind it ends in the reset\n",
        "",
    ),
    Break(
        16,
        "sends a call whose shared connection has died no second time",
        EXPRESS,
        "            turn.retried = True\n        else:\n",
        "            again = False\n        if not again:\n",
    ),
)
