"""When two answers are the same: all that a client can tell, but for what no two answers share.

That is the time, where a call's time went, and names that are made by chance. JSON is compared by its values, its keys'
order and its kinds of numbers, not by how a character is escaped, which no JSON parser tells.
"""

import json
import re
from typing import Any

from tests.interaction.differential.raw_client import Answer, Header

TIMING = "penstock/timing"
NAMES = frozenset({"taskId", "createdAt", "lastUpdatedAt", "requestState", "next_cursor", "requestId", "session"})
"""Keys whose values are made anew for each call."""
PROGRESS = b'"method":"notifications/progress"'
_DATE = re.compile(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")
_NAME_IN_TEXT = re.compile(r'("(?:next_cursor|requestId|session)":)"[^"]+"')
_PAUSE_IN_TEXT = re.compile(r"again in [\d.]+ s")
_HANDLE = re.compile(rb"[\w.-]{20,}")


def unlike(hot: Answer, slow: Answer, at: str = "") -> list[str]:
    """Where a client can tell two answers from one another; empty where it cannot.

    In a conversation a client takes either form: one message, or a stream that could be gone on with and ends with it.
    """
    if _is_resumable(slow) and not _is_resumable(hot):
        response = slow.body.split(b"\r\n\r\n")[-2].rpartition(b"data: ")[2]
        return differences((hot.status, _json(hot.body)), (slow.status, _json(response)), at)
    return differences(told(hot), told(slow), at)


def _is_resumable(answer: Answer) -> bool:
    return answer.header(b"content-type").startswith(b"text/event-stream") and answer.body.startswith(b"id: ")


def told(answer: Answer) -> tuple[Any, ...]:
    """An answer as its client can tell it from another."""
    return answer.status, tuple(_header(each, answer) for each in answer.headers), _body(answer), answer.interim


def _header(header: Header, answer: Answer) -> Header:
    name, value = header
    if name == b"date" and _DATE.fullmatch(value):
        return name, b"(a date)"
    if name == b"content-length" and int(value) == len(answer.body):
        # Durations have as many digits as they have.
        return name, b"(as it is)"
    if name == b"mcp-session-id" and _HANDLE.fullmatch(value):
        return name, b"(a handle)"
    return name, value


def _body(answer: Answer) -> Any:
    kind = answer.header(b"content-type").partition(b";")[0]
    if kind == b"application/json":
        return _json(answer.body)
    if kind == b"text/event-stream":
        return tuple(_event(each) for each in answer.body.split(b"\r\n\r\n") if not _is_of_the_moment(each))
    return answer.body


def _is_of_the_moment(event: bytes) -> bool:
    """Whether it says how long a call has lasted, and nothing else: a sign of life, or progress."""
    return event.startswith(b":") or PROGRESS in event


def _event(event: bytes) -> tuple[Any, ...]:
    return tuple(_line(each) for each in event.split(b"\r\n"))


def _line(line: bytes) -> Any:
    name, _, value = line.partition(b": ")
    if name == b"id":
        return name, b"(a name)"
    return (name, _json(value)) if name == b"data" and value else line


def _json(text: bytes) -> Any:
    """A text of JSON as values that are equal only when a client may not tell them apart."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: ("object", tuple((name, _steady(name, its)) for name, its in pairs)),
            parse_int=lambda digits: ("integer", digits),
            parse_float=lambda digits: ("float", repr(float(digits))),
            parse_constant=lambda word: ("no JSON", word),
        )
    except ValueError:
        return ("no JSON", text)
    return value


def _steady(name: str, value: Any) -> Any:
    if name == TIMING:
        return _without_durations(value)
    if name in NAMES and isinstance(value, str):
        return f"({name})" if value else ""
    if name == "retry_after_ms":
        return value[0]
    if name == "ttlMs":
        return value[0], int(value[1]) // 1000
    if name == "text" and isinstance(value, str):
        return _PAUSE_IN_TEXT.sub("again in a while", _NAME_IN_TEXT.sub(r"\1(made anew)", value))
    return value


def _without_durations(value: Any) -> Any:
    """The names of what took time, where each has a number."""
    kind, pairs = value
    assert kind == "object", value
    return [(name, duration[0] in ("integer", "float")) for name, duration in pairs]


def differences(left: Any, right: Any, at: str = "") -> list[str]:
    """Where two such values differ, each place with both; empty where they do not."""
    if isinstance(left, tuple | list) and isinstance(right, tuple | list) and len(left) == len(right):
        return [each for place, pair in enumerate(zip(left, right, strict=True)) for each in _at(at, place, pair)]
    return [] if left == right and type(left) is type(right) else [f"{at or 'all of it'}: {left!r} / {right!r}"]


def _at(at: str, place: int, pair: tuple[Any, Any]) -> list[str]:
    return differences(*pair, f"{at}.{place}" if at else str(place))
