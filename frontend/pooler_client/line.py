"""What carries an exchange: whole messages, in order, both ways; with room that is told, and an end with its cause.

An exchange knows its messages and no transport; a transport knows this contract and no frame. It decides nothing.
"""

from typing import Protocol


class Listener(Protocol):
    """Who is on a line."""

    def receive(self, message: bytes) -> None:
        """A message of the pooler's."""

    def flush(self) -> None:
        """The line may have room again."""

    def end(self, cause: str) -> None:
        """The line is gone, for this reason. Said once, unless it was closed from this side."""


class Line(Protocol):
    """The frontend's end of one carrier."""

    @property
    def ready(self) -> bool:
        """Whether it takes a message now. After one it may be full until the next `flush`."""

    def listen(self, listener: Listener) -> None:
        """Begins to tell of what comes. Once, before anything is written."""

    def write(self, message: bytes) -> None:
        """Sends a message; only when `ready`."""

    def close(self) -> None:
        """Drops the line, and what has not left. Harmless when it is gone."""

    async def gone(self) -> None:
        """Until nothing of a closed line runs any more."""
