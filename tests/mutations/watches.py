"""The breaks of the connection that listens for watchers, beside those of the pool itself in `breaks`."""

from tests.mutations.change import Break

LISTENING = "pooler/runtime/watches/listening.py"

BREAKS = (
    Break(
        1,
        "has a connection for each channel, outside of the pool's count of who shares what",
        "pooler/runtime/watches/room.py",
        "        if driver not in self._listenings:\n",
        "        if True:\n",
    ),
    Break(
        2,
        "listens with the only connection that a smaller cap leaves",
        LISTENING,
        "spared and pool.rules.places >= PLACES_MIN and",
        "spared and",
    ),
    Break(
        2,
        "goes on listening over a connection that is to be closed",
        LISTENING,
        " and slot.state is ConnectionState.IN_USE",
        "",
    ),
    Break(
        31,
        "begins to listen anew in the midst of a drain",
        LISTENING,
        " and not pool.draining and not driver.ending",
        "",
    ),
)
