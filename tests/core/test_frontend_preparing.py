"""From a request to the call that it asks for."""

import json

import orjson
import pytest

from frontend.catalogue import Catalogue
from frontend.errors import ProtocolError
from frontend.operations import Offer, Operation, Prompt, PromptArgument
from frontend.preparing import Prepared, digest_of, encoded_arguments, prepare_prompt, prepare_resource, prepare_tool
from frontend.rendering import PROMPT, RESOURCE, TOOL, Note

SCHEMA = {"type": "object", "properties": {"loan": {"type": "string"}}, "required": ["loan"]}
LOOK = Operation("look", input_schema=SCHEMA, resource="loans://{loan}", mime_type="text/plain")
CATALOGUE = Catalogue(
    Offer(
        "1",
        (LOOK,),
        (
            Prompt("text", text="Look at {loan}.", arguments=(PromptArgument("loan", required=True),)),
            Prompt("made", operation="look", description="d", arguments=(PromptArgument("loan"),)),
        ),
    )
)


def test_each_kind_of_request_becomes_a_call_and_a_note():
    expected = b'{"loan":"7"}'
    assert prepare_tool(CATALOGUE, "look", {"loan": "7"}) == Prepared(LOOK, expected, Note(TOOL, "look"))
    note = Note(RESOURCE, "loans://7", mime_type="text/plain")
    assert prepare_resource(CATALOGUE, "loans://7") == Prepared(LOOK, expected, note)
    assert prepare_prompt(CATALOGUE, "made", {"loan": "7"}) == Prepared(
        LOOK, expected, Note(PROMPT, "made", description="d")
    )


def test_what_needs_no_call_is_answered_at_once():
    answer = prepare_prompt(CATALOGUE, "text", {"loan": "7"})
    assert isinstance(answer, dict)
    assert answer["messages"][0]["content"]["text"] == "Look at 7."


def test_a_tools_misfits_are_for_its_model_and_anything_elses_for_its_program():
    answer = prepare_tool(CATALOGUE, "look", {"loan": 7})
    assert isinstance(answer, dict)
    assert answer["isError"] is True
    with pytest.raises(ProtocolError):
        prepare_prompt(CATALOGUE, "made", {})


def test_what_the_catalogue_lacks_is_no_call():
    for wrong in (
        lambda: prepare_tool(CATALOGUE, "lok", {}),
        lambda: prepare_resource(CATALOGUE, "other://7"),
        lambda: prepare_prompt(CATALOGUE, "tex", {}),
    ):
        with pytest.raises(ProtocolError) as caught:
            wrong()
        assert caught.value.code == -32602


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_in_json_is_refused_and_not_sent_on_as_null(number: float):
    with pytest.raises(ProtocolError) as caught:
        prepare_tool(CATALOGUE, "look", {"loan": "null", "deep": [{"x": number}]})
    assert caught.value.code == -32602


@pytest.mark.parametrize("value", [None, [None, 1.5], "null", 2**70])
def test_arguments_are_sent_on_as_they_came(value: object):
    assert json.loads(encoded_arguments({"value": value})) == {"value": value}


def test_the_same_arguments_have_the_same_digest_in_whatever_order():
    assert digest_of(b'{"a":1,"b":[2]}') == digest_of(b'{ "b": [2], "a": 1 }')
    assert digest_of(b'{"a":1}') != digest_of(b'{"a":"1"}')
    assert digest_of(orjson.dumps({"a": 2**63})) != digest_of(orjson.dumps({"a": 2**63 + 1}))
