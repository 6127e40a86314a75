"""W3C trace context, as far as it is passed on: checked, or nothing."""

import re
from typing import Any

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(said: Any, header: str | None) -> str:
    """A caller's trace: what the request itself says, else the header that carried it; empty where that is none."""
    found = header if said is None else said
    return found if isinstance(found, str) and _TRACEPARENT.fullmatch(found) else ""
