"""Puts what a child process says into the log, at a rate that the log and the loop can bear.

It never makes the child wait: what comes too fast is counted and left out.
"""

from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger

LINES_PER_SECOND = 50
"""A traceback of an ordinary depth fits into a second's share; a loop that prints does not fill a disk."""
LEVELS = {"debug": "debug", "info": "info", "notice": "info", "warning": "warning", "error": "error"}
"""What a worker may call a level (MCP's names), and the log's name for it; any higher one is an error."""


class Chatter:
    """One child's voice in the log."""

    def __init__(self, log: FilteringBoundLogger, mask: Callable[[str], str], clock: Callable[[], float]) -> None:
        self._log = log
        self._mask = mask
        self._clock = clock
        self._second = 0
        self._said = 0
        self._left_out = 0

    def say(self, level: str, event: str, text: str, **facts: Any) -> None:
        """Logs one text, masked, unless this second's share is used up."""
        second = int(self._clock())
        if second != self._second:
            self.account()
            self._second, self._said = second, 0
        self._said += 1
        if self._said > LINES_PER_SECOND:
            self._left_out += 1
            return
        getattr(self._log, LEVELS.get(level, "error"))(event, text=self._mask(text), **facts)

    def account(self) -> None:
        """Says how many texts were left out since the last account."""
        if self._left_out:
            self._log.warning("worker said more than is logged", left_out=self._left_out, per_second=LINES_PER_SECOND)
            self._left_out = 0
