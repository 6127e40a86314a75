"""What a break is: one text of one file, and what stands there instead. It applies nothing by itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Break:
    """One change, and the promise that it breaks. `what` says what the pool does wrong afterwards."""

    promise: int
    what: str
    file: str
    old: str
    new: str
