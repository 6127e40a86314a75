"""The breaks of plain calls on the frontend's short way, beside those of the pool itself in `breaks`."""

from tests.mutations.change import Break

BREAKS = (
    Break(
        37,
        "goes on with a plain call whose client has vanished",
        "frontend/hot/protocol.py",
        "        if leave is not None:\n            leave()\n",
        "",
    ),
    Break(
        38,
        "remembers callers who have left before there was a catalogue",
        "frontend/hot/watch.py",
        "        if self._early:\n            self._early.pop(connection, None)\n",
        "",
    ),
)
