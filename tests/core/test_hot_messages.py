"""Which bodies are plain calls: what every parser reads alike, and what holds nothing but a name and its arguments."""

from typing import Any

import orjson
import pytest

from frontend.hot import messages
from frontend.hot.heads import Form
from frontend.hot.messages import CAPABILITIES, CLIENT, VERSION, Message, Messages

META = {VERSION: "2026-07-28", CAPABILITIES: {}}


def body(meta: Any = META, **more: Any) -> bytes:
    params = {"name": "look", "arguments": {"a": 1}, "_meta": meta} | more
    return orjson.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})


def legacy(**params: Any) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": {"name": "look", **params}})


def test_a_plain_call_is_read_in_either_revision():
    assert Messages().read(body(), Form.MODERN) == Message(b"7", "look", {"a": 1}, b"", None)
    assert Messages().read(legacy(arguments={"a": None}), Form.STATELESS) == Message(
        b'"x"', "look", {"a": None}, b"", None
    )
    assert Messages().read(legacy(), Form.CONVERSATION) == Message(b'"x"', "look", {}, b"", None)


def test_what_a_client_says_that_it_can_is_passed_on():
    declared = {"elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {"deep": {"er": "x"}}}}
    meta = {**META, CAPABILITIES: declared, CLIENT: {"name": "c", "version": "1", "title": "C"}, "traceparent": "00-x"}
    known = Messages()
    for _ in range(2):
        read = known.read(body(meta), Form.MODERN)
        assert read is not None
        assert (orjson.loads(read.capabilities), read.trace) == (declared, "00-x")


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"\xef\xbb\xbf" + body(),
        body().decode().encode("utf-16"),
        body().replace(b'"look"', b'"\\ud800"'),
        body().replace(b'"a":1', b'"a":NaN'),
        body().replace(b'"a":1', b'"a":18446744073709551616'),
        body().replace(b'"a":1', b'"a":[123456789012345678901]'),
        body().replace(b'"a":1', b'"a":' + b"[" * 100 + b"]" * 100),
        body().replace(b'"id":7', b'"id":7.0'),
        body().replace(b'"id":7', b'"id":true'),
        body().replace(b'"id":7', b'"id":null'),
        body().replace(b'"id":7', b'"id":18446744073709551616'),
        body().replace(b'"2.0"', b'"1.0"'),
        body().replace(b"tools/call", b"tools/list"),
        body().replace(b'"id":7', b'"id":7,"x":1'),
        body(name=None),
        body(arguments=None),
        body(arguments=[1]),
        body(task={"ttl": 1}),
        body(requestState="x"),
        body(inputResponses={}),
        body(None),
        body({}),
        body({VERSION: "2026-07-28"}),
        body({**META, VERSION: "2025-11-25"}),
        body({**META, "progressToken": 1}),
        body({**META, "io.modelcontextprotocol/logLevel": "info"}),
        body({**META, "example.com/other": 1}),
        body({**META, CLIENT: {"name": "c"}}),
        body({**META, CLIENT: {"name": "c", "version": 1}}),
        body({**META, CLIENT: None}),
        body({**META, CAPABILITIES: None}),
        body({**META, CAPABILITIES: {"other": {}}}),
        body({**META, CAPABILITIES: {"roots": True}}),
        body({**META, CAPABILITIES: {"elicitation": {"form": 1}}}),
        body({**META, CAPABILITIES: {"elicitation": {"shape": {}}}}),
        body({**META, CAPABILITIES: {"extensions": {"x/y": {"n": 1e30}}}}),
        body({**META, CAPABILITIES: {"experimental": {"x": {}}}}).replace(
            b'{"x":{}', b'{"x":' * 300 + b"{}" + b"}" * 299
        ),
    ],
    ids=lambda wrong: wrong[-60:].decode("latin-1"),
)
def test_what_is_not_plainly_a_call_goes_the_long_way(wrong: bytes):
    assert Messages().read(wrong, Form.MODERN) is None


@pytest.mark.parametrize("meta", [{"progressToken": 1}, {"x": 1}, [], 1])
def test_a_call_that_wants_to_hear_more_goes_the_long_way(meta: Any):
    assert Messages().read(legacy(_meta=meta), Form.STATELESS) is None


def test_the_last_of_several_members_of_one_name_counts_as_it_does_on_the_long_way():
    twice = body().replace(b'"a":1', b'"a":1,"a":2')
    read = Messages().read(twice, Form.MODERN)
    assert read is not None
    assert read.arguments == orjson.loads(twice)["params"]["arguments"] == {"a": 2}


def test_no_more_clients_are_remembered_than_the_bound_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(messages, "KNOWN_MAX", 2)
    known = Messages()
    for number in range(4):
        assert known.read(body({**META, CLIENT: {"name": "c", "version": str(number)}}), Form.MODERN) is not None
    large = {**META, CLIENT: {"name": "c" * messages.KNOWN_BYTES_MAX, "version": "1"}}
    assert known.read(body(large), Form.MODERN) is not None
    assert len(known._known) == 2
