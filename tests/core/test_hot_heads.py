"""Which headers are those of a plain call. All others have their answer from the long way."""

import pytest

from frontend.auth import Gatekeeper
from frontend.config import Settings
from frontend.hot.heads import Form, Head, Heads

TOKEN = "0123456789abcdef"

MODERN = {
    b"host": b"127.0.0.1:8080",
    b"content-type": b"application/json",
    b"accept": b"application/json, text/event-stream",
    b"mcp-protocol-version": b"2026-07-28",
    b"mcp-method": b"tools/call",
    b"mcp-name": b"look",
    b"content-length": b"12",
}
LEGACY = {name: value for name, value in MODERN.items() if name not in (b"mcp-method", b"mcp-name")} | {
    b"mcp-protocol-version": b"2025-11-25"
}


def read(headers: dict[bytes, bytes], settings: Settings | None = None) -> Head | None:
    settings = settings or Settings()
    return Heads(settings, Gatekeeper(settings)).read(list(headers.items()))


def test_the_headers_of_a_plain_call_say_how_it_is_to_be_answered():
    caller = Gatekeeper(Settings()).default
    assert read(MODERN) == Head(Form.MODERN, caller, 12, b"look")
    assert read(LEGACY) == Head(Form.STATELESS, caller, 12)
    talk = LEGACY | {b"mcp-session-id": b"conversation.x", b"traceparent": b"00-x"}
    assert read(talk) == Head(Form.CONVERSATION, caller, 12, b"", "conversation.x", "00-x")


@pytest.mark.parametrize(
    "wrong",
    [
        {b"host": b"evil.example.com"},
        {b"host": b""},
        {b"origin": b"http://127.0.0.1:3000"},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/jsonl"},
        {b"accept": b"application/json"},
        {b"accept": b"text/event-stream"},
        {b"mcp-protocol-version": b"2025-03-26"},
        {b"mcp-protocol-version": b"2026-07-28 "},
        {b"mcp-method": b"tools/list"},
        {b"mcp-name": b""},
        {b"mcp-name": b"=?base64?bG9vaw==?="},
        {b"mcp-name": "löök".encode()},
        {b"content-length": b"65537"},
        {b"content-length": b"+1"},
        {b"transfer-encoding": b"chunked"},
        {b"content-encoding": b"gzip"},
        {b"expect": b"100-continue"},
        {b"upgrade": b"websocket"},
    ],
    ids=lambda wrong: next(f"{name.decode()}: {value[:20]!r}" for name, value in wrong.items()),
)
def test_whatever_is_not_plainly_right_goes_the_long_way(wrong: dict[bytes, bytes]):
    assert read(MODERN | wrong) is None


def test_a_header_that_stands_twice_goes_the_long_way():
    settings = Settings()
    assert Heads(settings, Gatekeeper(settings)).read([*MODERN.items(), (b"x-twice", b"1"), (b"x-twice", b"2")]) is None


@pytest.mark.parametrize("missing", sorted(MODERN))
def test_a_header_that_is_missing_sends_it_the_long_way(missing: bytes):
    assert read({name: value for name, value in MODERN.items() if name != missing}) is None


def test_a_conversation_that_there_cannot_be_goes_the_long_way():
    assert read(LEGACY | {b"mcp-session-id": b""}) is None
    assert read(LEGACY | {b"mcp-session-id": b"conversation.x"}, Settings(conversations=False)) is None


def test_any_spelling_of_what_a_client_accepts_is_understood():
    for accepted in (b"*/*", b"application/*;q=0.9 , TEXT/*", b"text/event-stream,application/json;charset=utf-8"):
        assert read(MODERN | {b"accept": accepted}) is not None


def test_a_caller_is_known_by_his_token_alone():
    settings = Settings.model_validate({"tokens": [{"token": TOKEN, "tenant": "shop", "principal": "ana"}]})
    known = read(MODERN | {b"authorization": f"Bearer {TOKEN}".encode()}, settings)
    assert known is not None
    assert (known.caller.tenant, known.caller.principal) == ("shop", "ana")
    assert read(MODERN, settings) is None
    assert read(MODERN | {b"authorization": b"Bearer fedcba9876543210"}, settings) is None


def test_a_body_beyond_the_frontends_bound_goes_the_long_way():
    assert read(MODERN | {b"content-length": b"1025"}, Settings(request_bytes_max=1024)) is None
    assert read(MODERN | {b"content-length": b"1024"}, Settings(request_bytes_max=1024)) is not None
