"""What only passes while a run waits and works: its place, a start, progress, lines; told at a pace that can be borne.

A worker may report a thousand times a second for a day. The latest of it is told a few times a second while the run is
young, and ever more rarely as it grows old, so that the log, its store and its followers keep up. It knows nothing of
how a run begins or ends.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from pooler.clock import Clock
from pooler.runtime.runs.happenings import Happening, Line, Progress, Starting, Working
from pooler.runtime.runs.outlook import Prospect

PACE_SECONDS = 0.25
"""How long after one passing event the next may be told."""
PACE_SHARE = 0.005
"""The same as a share of the run's age: one of a day tells of its progress some 1,500 times, and not 350,000."""
STARTING_SECONDS = 5.0
"""How often it is said again that a client is still starting."""
LINES_MAX = 10_000
"""How many lines one run may have for its user."""


class Teller:
    """One run's passing events, on their way to its log. It is the `News` of the run's work."""

    def __init__(self, add: Callable[[Happening], None], clock: Clock) -> None:
        self._add = add
        self._clock = clock
        self._begun_at = clock()
        self._loop = asyncio.get_running_loop()
        self._told_at = float("-inf")
        self._prospect: Prospect | None = None
        """What was last said of the wait."""
        self._held: Progress | None = None
        """Progress that is not told yet, because something was told just now."""
        self._timer: asyncio.TimerHandle | None = None
        self._lines = 0

    def prospect(self, prospect: Prospect) -> None:
        """What holds of the wait now. Told where it says something new."""
        before = self._prospect
        if isinstance(prospect, Working):
            self._working()
        elif prospect == before or (before is not None and not self._due()):
            return
        elif isinstance(prospect, Starting) and isinstance(before, Starting):
            if self._clock() - self._told_at >= STARTING_SECONDS:
                self._tell(prospect)
        else:
            self._prospect = prospect
            self._tell(prospect)

    def waiting(self) -> None:
        """It will wait for a connection again."""
        self._prospect = None

    def progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        """So much is done. Told at once or a little later; the latest counts."""
        self._working()
        self._held = Progress(progress, total, message)
        if self._due():
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._told_at + self._pace() - self._clock(), self.flush)

    def log(self, level: str, data: Any, logger: str = "") -> None:
        """A line for the user. Past the bound they are dropped, which is said once."""
        self._lines += 1
        if self._lines > LINES_MAX:
            return
        self._working()
        self.flush()
        if self._lines == LINES_MAX:
            level, data, logger = "warning", f"{LINES_MAX} lines have been told; further ones are left out", ""
        self._add(Line(level, logger, orjson.dumps(data, default=str)))

    def flush(self) -> None:
        """Tells what was held back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, None
        if held is not None:
            self._tell(held)

    def _working(self) -> None:
        if not isinstance(self._prospect, Working):
            self._prospect = Working()
            self._add(Working())

    def _tell(self, what: Happening) -> None:
        self._told_at = self._clock()
        self._add(what)

    def _due(self) -> bool:
        return self._clock() - self._told_at >= self._pace()

    def _pace(self) -> float:
        return max(PACE_SECONDS, PACE_SHARE * (self._clock() - self._begun_at))
