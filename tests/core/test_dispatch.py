"""What becomes of a call's arguments before a pool is asked, by plain calls."""

from typing import Any, cast

import jsonschema_rs
import pytest

from pooler.errors import Fault, Reason
from pooler.runtime.driver import Driver
from pooler.runtime.routes import FAULTS_TOLD, SENTENCE_MAX, Route

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "note": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["id"],
    "additionalProperties": False,
}


def route(**defaults: Any) -> Route:
    validator = jsonschema_rs.Draft202012Validator(SCHEMA)
    return Route("find", cast(Driver, None), True, False, 1.0, 1.0, validator, defaults)


def refused(body: bytes) -> str:
    with pytest.raises(Fault) as caught:
        route().arguments(body)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    return caught.value.message


def test_defaults_fill_what_was_left_out_and_nothing_else() -> None:
    assert route(limit=10).arguments(b'{"id": 1}') == {"id": 1, "limit": 10}
    assert route(limit=10).arguments(b'{"id": 1, "limit": 2}') == {"id": 1, "limit": 2}


@pytest.mark.parametrize("digits", ["9223372036854775808", "18446744073709551616", "-123456789012345678901234567890"])
def test_an_integer_keeps_every_digit(digits: str) -> None:
    assert route().arguments(b'{"id": %s}' % digits.encode()) == {"id": int(digits)}


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"id": NaN}', b'{"id": 1234567890123456789012, "limit": NaN}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert "no JSON" in refused(body)


def test_every_misfit_is_named_with_its_place() -> None:
    sentence = refused(b'{"note": 1, "limit": "x"}')
    assert "note: 1 is not of type" in sentence
    assert 'limit: "x" is not of type' in sentence
    assert '"id" is a required property' in sentence


def test_a_sentence_about_a_large_misfit_stays_short() -> None:
    assert len(refused(b'{"id": "%s"}' % (b"x" * 100_000))) < SENTENCE_MAX + 100


def test_only_the_first_misfits_are_listed_and_the_rest_counted() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    many = Route("find", cast(Driver, None), True, False, 1.0, 1.0, jsonschema_rs.Draft202012Validator(schema))
    with pytest.raises(Fault, match="and 3 more"):
        many.arguments(b"{%s}" % b",".join(b'"%d":"x"' % n for n in range(FAULTS_TOLD + 3)))
