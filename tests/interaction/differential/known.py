"""Requests that the two ways still answer differently, each with what is wrong. What is mended is taken out."""

_ORDER = "the members of a result that says what does not fit stand in another order"

KNOWN: dict[str, str] = dict.fromkeys(
    (
        "conversation: too few",
        "conversation: too many",
        "conversation: another name",
        "conversation: a session of a wrong type",
        "conversation: no arguments where one is needed",
    ),
    _ORDER,
)
"""By the case's name."""

PASSED_OVER: tuple[bytes, ...] = (b"mcp-session-id",)
"""What requests made by chance may not hold as long as it is known."""
