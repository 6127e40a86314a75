"""Requests made by chance: sound calls, of which some are then broken in their headers, their JSON or their bytes.

Most of what is broken is broken in one place only, since a second fault is seldom read behind a first.
"""

import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.interaction.differential import headers as known
from tests.interaction.differential.calls import ENDINGS, MISFITS, PLAIN, TEXTS
from tests.interaction.differential.case import EVERYWHERE, MORE_ERAS, Case
from tests.interaction.differential.raw_client import Reading
from tests.interaction.differential.request import Request

POOLS: dict[str, tuple[str, ...]] = {
    "accept": known.ACCEPTS,
    "content-type": known.CONTENT_TYPES,
    "host": known.HOSTS,
    "origin": known.ORIGINS,
    "mcp-protocol-version": known.VERSIONS,
    "mcp-method": known.METHODS,
    "mcp-name": known.NAMES,
    "mcp-session-id": known.SESSIONS,
    "authorization": known.AUTHORIZATIONS,
    **known.OTHERS,
}
"""By header, values that are read as something."""

numbers = st.one_of(st.integers(), st.integers(-(2**66), 2**66), st.floats(allow_nan=False, allow_infinity=False))
texts = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
identifiers = st.one_of(st.integers(-(2**63), 2**63), texts, scalars, values)


@st.composite
def sound_calls(draw: st.DrawFn) -> Request:
    """A call as a well-behaved client makes it, of any revision."""
    call = MORE_ERAS[draw(st.sampled_from(sorted(MORE_ERAS)))]
    kind = draw(st.sampled_from(("value", "value", "value", "known", "misfit")))
    if kind == "value":
        name, arguments = draw(st.sampled_from(("echo", "explain", "blocks"))), {"value": draw(values)}
    elif kind == "known":
        name, arguments = draw(st.sampled_from(sorted((PLAIN | ENDINGS).items())))
    else:
        name, arguments = draw(st.sampled_from(sorted(MISFITS.values(), key=str)))
    request = call(name, arguments, draw(st.one_of(st.just(1), st.integers(0, 10**6), texts)))
    if draw(st.booleans()):
        request = request.and_header("authorization", "Bearer @token@")
    return request


@st.composite
def with_odd_headers(draw: st.DrawFn, request: Request) -> Request:
    """One header more, fewer, twice, otherwise or elsewhere."""
    own = [name for name, _ in request.headers]
    name = draw(st.sampled_from(own + sorted(POOLS)))
    value = draw(
        st.one_of(st.sampled_from(POOLS.get(name, ("",))), st.text(st.characters(max_codepoint=255), max_size=9))
    )
    value = value.replace("\r", "").replace("\n", "").replace("\0", "")
    match draw(st.sampled_from(("drop", "set", "add", "twice", "rename", "blank", "shuffle"))):
        case "drop":
            return request.without(name)
        case "set":
            return request.with_header(name, value)
        case "add":
            return request.and_header(name, value)
        case "twice":
            return request.and_header(name, dict(request.headers).get(name, value))
        case "rename":
            return request.renamed(
                name, draw(st.sampled_from((name.upper(), name.title(), name + " ", name.replace("-", "_"))))
            )
        case "blank":
            return replace(request, headers=tuple((each, f"  {its} \t") for each, its in request.headers))
        case _:
            return replace(request, headers=tuple(draw(st.permutations(request.headers))))


@st.composite
def with_odd_json(draw: st.DrawFn, request: Request) -> Request:
    """One member of the message more, fewer, twice, or otherwise; or spelt as JSON may be."""
    said: Any = json.loads(request.body)
    place = said
    for _ in range(draw(st.integers(0, 3))):
        inner = [value for value in place.values() if isinstance(value, dict) and value]
        place = draw(st.sampled_from(inner)) if inner else place
    name = draw(st.sampled_from(sorted(place)))
    match draw(st.sampled_from(("drop", "set", "add", "twice", "text", "ascii", "indented", "sorted"))):
        case "drop":
            del place[name]
        case "set":
            place[name] = draw(values)
        case "add":
            place[draw(st.one_of(texts, st.sampled_from(("id", "_meta", "name", "task", "cursor", "session"))))] = draw(
                values
            )
        case "twice":
            body = json.dumps(said, ensure_ascii=False).replace(
                f'"{name}":', f'"{name}":{json.dumps(draw(scalars))},"{name}":', 1
            )
            return request.with_body(body)
        case "text":
            place[name] = "(here)"
            body = json.dumps(said, ensure_ascii=False).replace(
                '"(here)"', draw(st.sampled_from(sorted(TEXTS.values()))), 1
            )
            return request.with_body(body)
        case "ascii":
            return request.with_body(json.dumps(said))
        case "indented":
            return request.with_body(json.dumps(said, indent=draw(st.integers(0, 2)), ensure_ascii=False))
        case _:
            return request.with_body(json.dumps(said, sort_keys=True, ensure_ascii=False))
    return request.with_body(json.dumps(said, separators=(",", ":"), ensure_ascii=False))


@st.composite
def with_odd_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """A few bytes more, fewer, or otherwise, anywhere."""
    at = draw(st.integers(0, len(data)))
    gone = draw(st.integers(0, 3))
    put = draw(
        st.one_of(st.binary(max_size=3), st.sampled_from((b'"', b"\\", b"{", b"}", b",", b"\r\n", b"\0", b" ", b"0")))
    )
    return data[:at] + put + data[at + gone :]


@st.composite
def with_odd_framing(draw: st.DrawFn, request: Request) -> Request:
    """Another length, chunks, path, method or version."""
    match draw(st.sampled_from(("chunks", "length", "target", "method", "version", "connection", "expect"))):
        case "chunks":
            return request.chunked(*draw(st.lists(st.integers(1, 40), max_size=5)))
        case "length":
            size = max(len(request.body) - draw(st.integers(0, 20)), 0)
            return replace(request, framed=False).and_header("content-length", str(size))
        case "target":
            return replace(
                request, target=draw(st.sampled_from(("/mcp/", "/mcp?x=1", "/", "/healthz", "/mc%70", "//mcp")))
            )
        case "method":
            # In a conversation that is one, GET would listen for ever and DELETE end it for all that follow.
            talks = any("@talk@" in value for _, value in request.headers)
            methods = ("HEAD", "PUT", "OPTIONS") if talks else ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
            return replace(request, method=draw(st.sampled_from(methods)))
        case "version":
            return replace(request, version=draw(st.sampled_from(("HTTP/1.0", "HTTP/1.2"))))
        case "connection":
            return request.and_header("connection", draw(st.sampled_from(("close", "keep-alive", "upgrade"))))
        case _:
            return request.and_header("expect", "100-continue")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, sound or broken."""
    request = draw(sound_calls())
    kind = draw(st.sampled_from(("sound", "headers", "headers", "json", "json", "body", "head", "framing", "both")))
    if kind in ("headers", "both"):
        request = draw(with_odd_headers(request))
    if kind in ("json", "both"):
        request = draw(with_odd_json(request))
    if kind == "body":
        request = request.with_body(draw(with_odd_bytes(request.body)))
    if kind == "framing":
        request = draw(with_odd_framing(request))
    raw = request.raw()
    if kind == "head":
        end = raw.index(b"\r\n\r\n")
        raw = draw(with_odd_bytes(raw[:end])) + raw[end:]
    return raw


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """What is sent over one connection: mostly one request as a whole."""
    drawn = [draw(requests()) for _ in range(draw(st.sampled_from((1, 1, 1, 1, 2, 3))))]
    readings = [Reading(each) for each in drawn]
    if not all(each.whole and not each.broken for each in readings):
        # What follows a request without an end has none of its own.
        drawn, readings = drawn[:1], readings[:1]
    raw, settings = b"".join(drawn), draw(st.sampled_from((*EVERYWHERE, "foreign")))
    pieces: tuple[bytes, ...] = (raw,)
    if not readings[0].broken and draw(st.integers(0, 5)) == 0:
        cuts = sorted(draw(st.lists(st.integers(0, len(raw)), min_size=1, max_size=4)))
        pieces = tuple(raw[at:to] for at, to in zip([0, *cuts], [*cuts, len(raw)], strict=True))
    return Case("made by chance", pieces, settings=(settings,), cut_off=Reading(raw).broken)
