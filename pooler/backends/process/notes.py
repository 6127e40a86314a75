"""What a worker says about a request while it works: to whoever wants to hear of it, and in a form that he can take."""

from collections.abc import Callable, Mapping
from typing import Any

from pooler.backends.base import News

LEVELS = frozenset({"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"})
"""MCP's; what a worker calls otherwise is `info`."""

Mask = Callable[[str], str]


def tell(method: str, params: Mapping[str, Any], news: News, mask: Mask) -> None:
    """Passes on `progress` or `log`. Progress without a number is none; every other method is somebody else's."""
    if method == "log":
        level = text(params, "level")
        data = params["data"] if "data" in params else params.get("message", "")
        news.log(level if level in LEVELS else "info", masked(data, mask), masked(text(params, "logger"), mask))
    elif method == "progress" and (progress := number(params, "progress")) is not None:
        news.progress(progress, number(params, "total"), masked(text(params, "message"), mask))


def text(params: Mapping[str, Any], key: str) -> str:
    """A text, or an empty one."""
    value = params.get(key)
    return value if isinstance(value, str) else ""


def number(params: Mapping[str, Any], key: str) -> float | None:
    """A number, or None."""
    value = params.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def masked(value: Any, mask: Mask) -> Any:
    """A JSON value without any secret in its texts."""
    match value:
        case str():
            return mask(value)
        case list():
            return [masked(item, mask) for item in value]
        case dict():
            return {mask(key): masked(item, mask) for key, item in value.items()}
    return value
