"""Which operations may share connections at present: those that were seen to stand in others' way pay for it.

A call that stands at the head of a shared connection for long, or whose result does not fit one page, costs all those
behind it their place. Where more than one call in twenty does so, the operation has its connections for itself for a
while, each time twice as long. It knows no clock and no connection.
"""

from dataclasses import dataclass

RARE = 20
"""A misfit among so many calls of its operation is borne: it costs those behind it a hand-over, and nobody a call."""
APART_FIRST_SECONDS = 1.0
"""A server that stalls makes a misfit of whatever it is doing: sharing is back before anybody misses it."""
APART_MAX_SECONDS = 60.0
OPERATIONS_MAX = 1000
"""How many operations are remembered; a reload may rename them all."""


@dataclass(slots=True)
class Record:
    """What is known of one operation that did not fit. Times in seconds."""

    ended: int = 0
    """How many calls of it had ended when it did so last."""
    until: float = float("-inf")
    """How long it is kept apart."""
    pause: float = 0.0
    """How long it was kept apart the last time."""


class Sharing:
    """The operations of one pool that were seen not to fit, by name."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self.misfits_total = 0
        self.demotions_total = 0

    def apart(self, operation: str, now: float) -> bool:
        """Whether an operation has its connections for itself at this moment."""
        return bool(self._records) and operation in self._records and now < self._records[operation].until

    def apart_now(self, now: float) -> list[str]:
        """All of those."""
        return [operation for operation, record in self._records.items() if now < record.until]

    def misfit(self, operation: str, ended: int, now: float) -> float | None:
        """A call did not fit; `ended`: how many of its operation have ended until now.

        Returns for how many seconds the operation is kept apart from now on; None: it goes on sharing.
        """
        self.misfits_total += 1
        record = self._records.get(operation)
        if record is None:
            if len(self._records) >= OPERATIONS_MAX:
                del self._records[next(iter(self._records))]
            record = self._records[operation] = Record()
        since, record.ended = ended - record.ended, ended
        if now < record.until or since >= RARE:
            return None
        again = now < record.until + 2 * record.pause
        record.pause = min(2 * record.pause, APART_MAX_SECONDS) if again else APART_FIRST_SECONDS
        record.until = now + record.pause
        self.demotions_total += 1
        return record.pause
