"""Calls as clients make them: every kind of tool, arguments that fit, and arguments that do not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.interaction.differential.case import ERAS, EVERYWHERE, MORE_ERAS, STATELESS_ERAS, Calls, Case, Cases, one
from tests.interaction.differential.request import Request, modern, modern_meta

VALUES: dict[str, Any] = {
    "text": "plain",
    "empty text": "",
    "text beyond latin": "Zürich – 東京 \U0001f6b0",
    "separators of lines": "a\u2028b\u2029c\x85d",
    "control characters": "tab\t nul\0 escape\x1b del\x7f \r\n",
    "quotes and slashes": 'a "quoted" \\ back / slash </script>',
    "what looks like a request": '{"jsonrpc":"2.0","id":1}',
    "a long text": "x" * 5000,
    "null": None,
    "true": True,
    "zero": 0,
    "an integer": -17,
    "the largest exact integer": 2**53,
    "beyond what is exact": 2**53 + 1,
    "the largest of 64 bits": 2**64 - 1,
    "the least of 64 bits": -(2**63),
    "a fraction": 0.1,
    "a whole fraction": 1.0,
    "a large fraction": 1e16,
    "a tiny fraction": 5e-324,
    "minus zero": -0.0,
    "a list": [1, "two", None, [3.5, {}]],
    "an empty list": [],
    "an object": {"b": 1, "a": {"c": [True]}, "": 0},
    "deep": [[[[[[[[[[[[[[[[["bottom"]]]]]]]]]]]]]]]]],
    "keys beyond latin": {"ключ": "значение", "\U0001f6b0": 1},
}

TEXTS: dict[str, str] = {
    "an integer beyond 64 bits": "18446744073709551616",
    "an integer below 64 bits": "-9223372036854775809",
    "a huge integer": "1" * 400,
    "an integer of too many digits": "1" * 5000,
    "a fraction beyond doubles": "1e400",
    "a fraction of many digits": "0.1234567890123456789012345678901234567890",
    "an exponent in capitals": "1E5",
    "an exponent with a plus": "1e+5",
    "minus zero, whole": "-0",
    "not a number": "NaN",
    "infinity": "Infinity",
    "less than nothing": "-Infinity",
    "a leading zero": "01",
    "a leading plus": "+1",
    "a trailing comma": "[1,]",
    "a comment": "1/*one*/",
    "single quotes": "'x'",
    "half a surrogate pair": '"\\ud800"',
    "the other half": '"\\udc00 x"',
    "a whole pair, escaped": '"\\ud83d\\udeb0"',
    "a half as a key": '{"\\ud800":1}',
    "an escaped slash": '"a\\/b"',
    "an escape that is none": '"\\x41"',
    "a raw control character": '"a\x01b"',
    "a raw line end": '"a\nb"',
    "the same key twice": '{"a":1,"a":2}',
    "keys of different escapes": '{"a":1,"\\u0061":2}',
    "white space": ' \t\r\n{ "a" : [ 1 , 2 ] } ',
    "a byte order mark within": "\ufeff1",
    "five hundred lists": "[" * 500 + "]" * 500,
    "five thousand lists": "[" * 5000 + "]" * 5000,
    "two thousand objects": '{"a":' * 2000 + "1" + "}" * 2000,
    "nothing": "",
    "a word": "nil",
    "True, as Python has it": "True",
}
"""Values as they are written, some of which are none."""

PLAIN: dict[str, Any] = {
    "echo": {"value": "x"},
    "alone": {"value": "x"},
    "rows": {"count": 3},
    "write": {"count": 2},
    "shaped": {"value": {"kind": "a", "size": 3, "tags": ["x", "y"]}},
    "either": {"value": "v", "phone": "1"},
    "resource": {"value": "r"},
    "explain": {"value": {"deep": [1, 2.5, None]}},
    "promised": {"value": "kept"},
    "blocks": {"value": [1]},
    "bare_blocks": {},
    "failing": {},
    "long": {"value": 1},
}
"""A sound call of each tool that answers at once."""

ENDINGS: dict[str, Any] = {
    "wrong": {},
    "refusing": {},
    "protocol_error": {},
    "no_blocks": {},
    "promised": {"value": 1},
    "bounded": {"value": "x" * 3000},
    "rows": {"count": 500},
}
"""Calls that end otherwise than well, or in pages."""

MISFITS: dict[str, Any] = {
    "too few": ("echo", {}),
    "too many": ("echo", {"value": 1, "more": 2}),
    "another name": ("echo", {"Value": 1}),
    "another type": ("resource", {"value": 5}),
    "a fraction for a count": ("rows", {"count": 1.5}),
    "a whole fraction for a count": ("rows", {"count": 2.0}),
    "a text for a count": ("rows", {"count": "3"}),
    "true for a count": ("rows", {"count": True}),
    "too small": ("rows", {"count": -1}),
    "out of an enumeration": ("shaped", {"value": {"kind": "c"}}),
    "three at once": ("shaped", {"value": {"kind": "c", "size": 11, "tags": ["same", "same", "too long"]}}),
    "an inner one missing": ("shaped", {"value": {}}),
    "an inner one too many": ("shaped", {"value": {"kind": "a", "more": 1}}),
    "none of several": ("either", {"value": "v"}),
    "a cursor that is none": ("rows", {"count": 30, "cursor": "none"}),
    "a cursor of a wrong type": ("rows", {"count": 30, "cursor": 7}),
    "a session that is none": ("echo", {"value": 1, "session": "none"}),
    "an empty session": ("echo", {"value": 1, "session": ""}),
    "a session of a wrong type": ("echo", {"value": 1, "session": 5}),
}

NOT_ARGUMENTS: dict[str, Any] = {
    "null": None, "a list": [], "a list of pairs": [["value", 1]], "a text": "value", "a number": 0, "false": False,
}  # fmt: skip

NO_TOOLS = ("", "nope", "Echo", "echo ", "hidden", "ech\u00f6", "x" * 300, "tools/call", "greet")


def plain() -> Cases:
    """What the short way is for."""
    for era, call in MORE_ERAS.items():
        for name, arguments in PLAIN.items():
            # Older revisions go the long way, and so do tools that are offered as tasks; in a conversation, all but
            # those that are declared short.
            hot = name == "echo" if era == "conversation" else era in STATELESS_ERAS and name != "long"
            settings = EVERYWHERE if era != "conversation" else EVERYWHERE[:2]
            yield one(f"{era}: {name}", _shown(call(name, arguments)), hot, settings)


def values() -> Cases:
    """One argument of every kind, and what is none."""
    for era, call in STATELESS_ERAS.items():
        for kind, value in VALUES.items():
            yield one(f"{era}: {kind}", call("echo", {"value": value}))
            yield one(f"{era}: {kind}, escaped", _escaped(call("echo", {"value": value})))
        for kind, text in TEXTS.items():
            yield one(f"{era}: {kind}", _written(call, "echo", text))
            yield one(f"{era}: {kind}, to a worker", _written(call, "explain", text))


def endings() -> Cases:
    for era, call in ERAS.items():
        for name, arguments in ENDINGS.items():
            yield one(f"{era}: {name}, otherwise", call(name, arguments))


def misfits() -> Cases:
    for era, call in ERAS.items():
        for kind, (name, arguments) in MISFITS.items():
            yield one(f"{era}: {kind}", call(name, arguments))
        for kind, arguments in NOT_ARGUMENTS.items():
            request = call("echo", {"value": 1})
            yield one(f"{era}: {kind} for arguments", _param(request, "arguments", arguments))
        yield one(f"{era}: no arguments", _without_param(call("write", {}), "arguments"))
        yield one(f"{era}: no arguments where one is needed", _without_param(call("echo", {}), "arguments"))


def tools() -> Cases:
    """Names that no tool has, and tools that are not for the short way."""
    for era, call in ERAS.items():
        for name in NO_TOOLS:
            if name.isascii() and name == name.strip():
                yield one(f"{era}: {name[:20]!r} for a tool", call(name, {"value": 1}), hot=False)
        for none in (None, 5, ["echo"], {"name": "echo"}, True):
            yield one(f"{era}: {none!r} for a name", _param(call("echo", {"value": 1}), "name", none), hot=False)
        yield one(f"{era}: no name", _without_param(call("echo", {"value": 1}), "name"), hot=False)
    for era, call in STATELESS_ERAS.items():
        yield one(f"{era}: what asks first", call("confirmed", {"count": 3}), hot=False)
        yield one(f"{era}: what a worker asks", call("asking"), hot=False)
    able = modern_meta(**{"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}})
    yield one("what asks a client that can be asked", modern("confirmed", {"count": 3}, meta=able), hot=False)
    yield one("what a worker asks a client that can be", modern("asking", meta=able), hot=False)
    yield one("an answer to nothing", modern("asking", meta=able, inputResponses={"who": {}}), hot=False)
    yield one("a state that is none", modern("asking", meta=able, requestState="none"), hot=False)
    yield one("a state for what never asks", modern("echo", {"value": 1}, requestState="none"), hot=False)


def headers_of_arguments() -> Cases:
    """Arguments that travel as headers too."""
    given = {"value": "north", "size": 5, "sure": True}
    told = {"Mcp-Param-Region": "north", "Mcp-Param-Size": "5", "Mcp-Param-Sure": "true"}
    for name, headers, arguments in _argument_headers(given, told):
        request = modern("routed", arguments)
        for header, value in headers:
            request = request.and_header(header, value)
        yield one(name, request)
    yield one("a header of an argument before its time", ERAS["legacy"]("routed", given))
    stray = modern("echo", {"value": 1}).and_header("mcp-param-region", "north")
    yield one("a header of an argument that there is none of", stray)


def _argument_headers(given: dict[str, Any], told: dict[str, str]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    right = list(told.items())
    yield "all of them", right, given
    yield "none of them", [], given
    yield "none, and no such arguments but one", right[:1], {"value": "north"}
    yield "one too many", right, {"value": "north"}
    yield "another value", [("mcp-param-region", "south"), *right[1:]], given
    yield "one twice", [*right, right[0]], given
    yield "a number as it is not written", [right[0], ("mcp-param-size", "5.0"), right[2]], given
    yield "a number with a zero before", [right[0], ("mcp-param-size", "05"), right[2]], given
    yield "a truth in capitals", [*right[:2], ("mcp-param-sure", "TRUE")], given
    yield (
        "a text in disguise",
        [("mcp-param-region", "=?base64?WsO8cmljaA==?="), *right[1:]],
        given | {"value": "Zürich"},
    )
    yield "a disguise that is none", [("mcp-param-region", "=?base64?!?="), *right[1:]], given
    yield "null for one", [], {"value": None}


def _shown(request: Request) -> Request:
    """With the token that some frontends ask for, and the others do not read."""
    return request.and_header("authorization", "Bearer @token@")


def _escaped(request: Request) -> Request:
    """The same in ASCII alone."""
    return replace(request, body=json.dumps(json.loads(request.body)).encode())


def _written(call: Calls, name: str, text: str) -> Request:
    request = call(name, {"value": "(here)"})
    return request.with_body(request.body.replace(b'"(here)"', text.encode()))


def _param(request: Request, name: str, value: Any) -> Request:
    said = json.loads(request.body)
    said["params"][name] = value
    return request.with_body(json.dumps(said))


def _without_param(request: Request, name: str) -> Request:
    said = json.loads(request.body)
    del said["params"][name]
    return request.with_body(json.dumps(said))


def all_calls() -> list[Case]:
    return [case for family in (plain, values, endings, misfits, tools, headers_of_arguments) for case in family()]
