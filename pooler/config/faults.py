"""What is wrong with a configuration: every fault with its place in the file. Reads and decides nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

KeyPath = tuple[str | int, ...]
"""The keys and indices from the document's root to a value."""

NEARNESS = 0.6
"""difflib's own default: `timout` finds `timeout_seconds`' neighbours, and `banana` finds nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in the file; both count from one."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong, where, and what to do about it."""

    file: Path
    place: Place
    path: KeyPath
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.place.line}:{self.place.column}"
        return f"{where} {dotted(self.path)}: {self.message}" if self.path else f"{where} {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used. `faults` are all of its faults, in the order of the file."""

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.place, str(fault))))
        super().__init__("\n".join(map(str, self.faults)))


def dotted(path: KeyPath) -> str:
    """A path as people write it: `operations.find_orders.arguments.customer`."""
    return ".".join(map(str, path))


def nearest(word: str, known: Iterable[str]) -> str:
    """The words to add to "unknown": the nearest known name, or else all of them."""
    names = sorted(known)
    if close := get_close_matches(word, names, n=1, cutoff=NEARNESS):
        return f"did you mean {close[0]!r}?"
    return f"known are {listed(names)}" if names else "none are known here"


def listed(names: Sequence[str]) -> str:
    """Names for a sentence: `a`, `b` and `c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
