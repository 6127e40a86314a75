"""Results of tool calls as bytes: the pooler's own JSON goes into an answer untouched, and once more as its text.

Nothing here decodes a row, and nothing here needs the SDK. Members stand in the order in which the SDK writes them.
"""

from typing import Any

import orjson

from frontend.events import Reply

TIMING_META = "penstock/timing"
"""Where a call's timing stands in a result's `_meta`."""

CACHE_META = "penstock/cache"
"""Where stands how much of an answer is somebody else's, for operations whose answers are shared."""

_TIMING = orjson.dumps(TIMING_META)
_CACHE = orjson.dumps(CACHE_META)


def meta_of(reply: Reply) -> dict[str, Any]:
    """What a result says of how it came to be."""
    meta: dict[str, Any] = {TIMING_META: dict(reply.timing_ms)}
    if reply.reuse is not None:
        meta[CACHE_META] = {"cache": reply.reuse.state, "age_ms": reply.reuse.age_ms}
    return meta


def spliced(reply: Reply, stamp: bytes = b"", completes: bytes = b"") -> bytes:
    """A value as a tool's result. `stamp`: more members of its `_meta`; `completes`: members that close its text."""
    meta = b"%b:%b" % (_TIMING, orjson.dumps(reply.timing_ms))
    if reply.reuse is not None:
        said = {"cache": reply.reuse.state, "age_ms": reply.reuse.age_ms}
        meta = b"%b,%b:%b" % (meta, _CACHE, orjson.dumps(said))
    return b'{"_meta":{%b%b},"content":[{"text":%b,"type":"text"}],%b"structuredContent":%b}' % (
        meta,
        stamp,
        orjson.dumps(reply.body.decode()),
        completes,
        reply.body,
    )
