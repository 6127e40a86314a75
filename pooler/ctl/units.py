"""Numbers as tables show them: short, of one unit in a column, which its heading names."""

from datetime import datetime


def seconds(ms: float) -> str:
    """Milliseconds as seconds: `0.034`, `3.25`, `271`, `86,400`."""
    value = ms / 1000
    if value < 10:
        return f"{value:.3f}" if 0 < value < 0.1 else f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def milliseconds(ms: float) -> str:
    """`0.42`, `18.3`, `1,250`."""
    if ms < 10:
        return f"{ms:.2f}"
    return f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def count(number: int) -> str:
    """`1,234,567`."""
    return f"{number:,}"


def kilobytes(number: int) -> str:
    """Bytes as KiB, rounded up: what is kept is never nothing."""
    return f"{-(-number // 1024):,}"


def moment(unix_ms: int) -> str:
    """A time of day with its date, where the terminal is: `2026-11-22 18:47:29`."""
    return datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
