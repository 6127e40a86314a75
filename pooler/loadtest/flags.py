"""What the command line's texts mean, in a plan's own keys. Texts in, plain data out; a plan checks the values."""

import re
from collections.abc import Sequence
from typing import Any

from pooler.loadtest.fitting import PlanError

_RATE = r"(\d+(?:\.\d+)?)"
_STEP = re.compile(rf"{_RATE}(?:\.\.{_RATE})?(?:x{_RATE}s?)?")
_AFTER = re.compile(rf"{_RATE}(?:-{_RATE})?")


def steps_of(rates: str, seconds: float) -> list[dict[str, Any]]:
    """`50,100..400x30,100`: steps and ramps in turn, each as long as it says, or else `seconds`. Raises PlanError."""
    steps = []
    for text in rates.split(","):
        if (found := _STEP.fullmatch(text.strip())) is None:
            raise PlanError(f"--rate {text.strip()!r}: write 50 for a step, 50..400 for a ramp, 50x30 for 30 seconds")
        rate, to, own = found.groups()
        step = {"rate": float(rate), "seconds": float(own) if own else seconds}
        steps.append(step | ({"to": float(to)} if to else {}))
    return steps


def tenants_of(texts: Sequence[str]) -> dict[str, Any]:
    """`shop:3` as a tenant with three of the calls where another has one. Raises PlanError."""
    tenants: dict[str, Any] = {}
    for text in texts:
        name, colon, weight = text.rpartition(":")
        name, weight = (name, weight) if colon else (text, "1")
        if not name or not re.fullmatch(_RATE, weight):
            raise PlanError(f"--tenant {text!r}: write NAME or NAME:WEIGHT, for example shop:3")
        tenants[name] = {"weight": float(weight)}
    return tenants


def vanish_of(share: float, after_ms: str, *, drop: bool) -> dict[str, Any]:
    """Callers who leave after so many milliseconds, `50` or `10-200`. Raises PlanError."""
    if (found := _AFTER.fullmatch(after_ms.strip())) is None:
        raise PlanError(f"--vanish-after {after_ms!r}: write milliseconds, 50 or 10-200")
    least, most = found[1], found[2] or found[1]
    return {"share": share, "after_ms": [float(least), float(most)], "by": "drop" if drop else "cancel"}
