"""Whether what an operation says of shared answers fits the operation and its backend. Starts nothing."""

import re
from collections.abc import Sequence

from pooler.config.caching import CacheConfig
from pooler.config.document import Document
from pooler.config.faults import KeyPath, nearest
from pooler.config.model import BackendConfig
from pooler.config.operations import OperationConfig
from pooler.config.watching import check_channel
from pooler.runtime.reuse.tags import PLACE


def check_sharing(operation: OperationConfig, backend: BackendConfig | None, path: KeyPath, document: Document) -> None:
    """What is wrong with its `cache`, `flight` and `invalidates`. `backend`: None where it is known to be faulty."""
    if operation.cache is not None:
        _check_reads(operation, backend, (*path, "cache"), document)
        _check_cache(operation.cache, backend, (*path, "cache"), document)
        _check_tags(operation.cache.tags, operation, (*path, "cache", "tags"), document)
    elif operation.flight:
        _check_reads(operation, backend, (*path, "flight"), document)
    if operation.invalidates:
        here = (*path, "invalidates")
        if operation.effect != "write":
            document.fault(here, "is for operations that write; leave it out, or say `effect: write`", at_key=True)
        _check_tags(operation.invalidates, operation, here, document)


def check_invalidation(name: str, backend: BackendConfig, document: Document) -> None:
    """Whether a backend can say by itself what has changed."""
    if (said := backend.keeping.invalidate) is not None:
        path = ("backends", name, "invalidate", "channel")
        check_channel(said.channel, name, backend, path, document, "a `ttl_seconds` that is short")


def _check_reads(operation: OperationConfig, backend: BackendConfig | None, path: KeyPath, document: Document) -> None:
    """Only what changes nothing, asks nobody and is the same for everybody can be shared."""
    if operation.effect != "read":
        document.fault(path, "is for operations that read: a write is done for each caller; leave it out", at_key=True)
    if operation.confirm is not None or operation.asks:
        document.fault(path, "is for operations that ask nobody; leave it out", at_key=True)
    if backend is not None and backend.keeping.pin is not None:
        sentence = "is for backends that answer all callers alike, and this one pins them to connections; leave it out"
        document.fault(path, sentence, at_key=True)


def _check_cache(cache: CacheConfig, backend: BackendConfig | None, path: KeyPath, document: Document) -> None:
    if cache.strict:
        for key in ("stale_seconds", "stale_if_down", "near"):
            if getattr(cache, key):
                document.fault((*path, key), "gives answers that a write has made wrong, and `strict` never does")
    if cache.stale_if_down and backend is not None and backend.keeping.invalidate is not None:
        sentence = (
            "has nothing to give: when its backend is down nobody hears what `invalidate.channel` would say, and "
            "everything is given up; leave out one of the two"
        )
        document.fault((*path, "stale_if_down"), sentence)


def _check_tags(tags: Sequence[str], operation: OperationConfig, path: KeyPath, document: Document) -> None:
    """Each place is an argument that every call has: nobody could name the tag of one that was left out."""
    known = set(operation.required()) | {name for name, schema in operation.arguments.items() if "default" in schema}
    for index, tag in enumerate(tags):
        here = (*path, index)
        if re.search(r"[{}]", PLACE.sub("", tag)):
            document.fault(here, "has a brace without its other half, or nothing that could be a name in one")
            continue
        for place in dict.fromkeys(PLACE.findall(tag)):
            if place not in operation.arguments:
                document.fault(here, f"the place {{{place}}} is no argument; {nearest(place, operation.arguments)}")
            elif place not in known:
                document.fault(here, f"the argument {place!r} may be left out: give it a default, or require it")
