"""Requests that the two ways still answer differently, each with what is wrong. What is mended is taken out."""

_STAMP = "results that a worker made in MCP's own form lack what the revision stamps each result with"
_DEEP = (
    "arguments deeper than what the encoder takes (254) end in an exception, and in a 400 that closes the connection"
)
_EMPTY = "an empty Mcp-Session-Id is taken for none"

KNOWN: dict[str, str] = {
    "modern: blocks": _STAMP,
    "modern: failing": _STAMP,
    "modern: no_blocks, otherwise": _STAMP,
    "modern: five hundred lists": _DEEP,
    "modern: five hundred lists, to a worker": _DEEP,
    "legacy: five hundred lists": _DEEP,
    "legacy: five hundred lists, to a worker": _DEEP,
    "legacy: mcp-session-id: ''": _EMPTY,
    "conversation: mcp-session-id: ''": _EMPTY,
}
"""By the case's name."""

PASSED_OVER: tuple[bytes, ...] = (b'"name":"blocks"', b'"name":"failing"', b'"name":"no_blocks"')
"""What requests made by chance may not hold as long as it is known."""
