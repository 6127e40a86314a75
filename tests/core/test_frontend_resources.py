"""From addresses to operations, and from half a word to its completions."""

from typing import Any

import orjson
import pytest

from frontend.catalogue import Catalogue
from frontend.completion import VALUES_MAX, arguments_for, completion_of, operation_for
from frontend.errors import ProtocolError
from frontend.operations import Offer, Operation, Prompt, PromptArgument
from frontend.resources import Resources


def reading(name: str, resource: str, **properties: Any) -> Operation:
    return Operation(name, input_schema={"type": "object", "properties": properties}, resource=resource)


def matched(resources: Resources, uri: str) -> tuple[str, dict[str, Any]] | None:
    found = resources.match(uri)
    return None if found is None else (found[0].name, found[1])


def test_a_template_gives_its_variables_as_arguments() -> None:
    resources = Resources([reading("orders", "orders://{customer}/{year}")])
    assert matched(resources, "orders://A%20B/2026") == ("orders", {"customer": "A B", "year": "2026"})
    assert matched(resources, "orders://A") is None


def test_a_plain_address_is_preferred_to_a_template() -> None:
    resources = Resources([reading("any", "orders://{customer}"), reading("open", "orders://open")])
    assert matched(resources, "orders://open") == ("open", {})
    assert matched(resources, "orders://x") == ("any", {"customer": "x"})


def test_of_two_templates_the_one_with_fewer_variables_answers() -> None:
    resources = Resources([reading("a", "x://{p}/{q}"), reading("z", "x://{p}/all")])
    assert matched(resources, "x://1/all") == ("z", {"p": "1"})


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("integer", "12", 12),
        ("integer", "123456789012345678901234567890", 123456789012345678901234567890),
        ("integer", "1_000", "1_000"),
        ("integer", "twelve", "twelve"),
        ("number", "1.5", 1.5),
        ("number", "NaN", "NaN"),
        ("number", "[1]", "[1]"),
        ("boolean", "true", True),
        ("string", "12", "12"),
        (["integer", "null"], "12", 12),
        (["integer", "string"], "12", "12"),
    ],
)
def test_a_value_of_an_address_takes_the_type_that_is_asked_for(type_: Any, text: str, value: Any) -> None:
    resources = Resources([reading("r", "r://{v}", v={"type": type_})])
    assert matched(resources, f"r://{text}") == ("r", {"v": value})


def test_a_value_without_a_type_stays_text() -> None:
    assert matched(Resources([reading("r", "r://{v}", v={"enum": [1]})]), "r://1") == ("r", {"v": "1"})


def test_one_wrong_template_hides_no_other_resource() -> None:
    resources = Resources([reading("bad", "r://{a}{b}"), reading("good", "r://x/{a}")])
    assert [entry["name"] for entry in resources.template_entries()] == ["good"]


def test_resources_and_templates_are_listed_apart() -> None:
    resources = Resources([reading("t", "r://{a}"), reading("p", "r://p"), Operation("none")])
    assert list(resources.plain_entries()) == [{"uri": "r://p", "name": "p"}]
    assert list(resources.template_entries()) == [{"uriTemplate": "r://{a}", "name": "t"}]


CODES = Operation("codes", input_schema={"type": "object", "properties": {"value": {}, "region": {}}})
KNOWN = Catalogue(
    Offer(
        "r",
        (CODES, Operation("orders", resource="orders://{customer}", completions={"customer": "codes"})),
        (Prompt("p", arguments=(PromptArgument("who", completion="codes"), PromptArgument("what"))),),
    )
)


@pytest.mark.parametrize(
    ("ref", "argument", "expected"),
    [
        ({"type": "ref/prompt", "name": "p"}, "who", CODES),
        ({"type": "ref/prompt", "name": "p"}, "what", None),
        ({"type": "ref/prompt", "name": "p"}, "none", None),
        ({"type": "ref/resource", "uri": "orders://{customer}"}, "customer", CODES),
        ({"type": "ref/resource", "uri": "orders://{customer}"}, "year", None),
    ],
)
def test_an_argument_is_completed_by_the_operation_that_it_names(
    ref: dict[str, str], argument: str, expected: Operation | None
) -> None:
    assert operation_for(KNOWN, ref, argument) == expected


@pytest.mark.parametrize("ref", [{"type": "ref/prompt", "name": "q"}, {"type": "ref/resource", "uri": "x://{y}"}])
def test_completing_for_what_nobody_offers_is_a_fault_of_the_request(ref: dict[str, str]) -> None:
    with pytest.raises(ProtocolError) as caught:
        operation_for(KNOWN, ref, "a")
    assert caught.value.code == -32602


def test_a_completing_operation_gets_what_it_declares() -> None:
    assert arguments_for(CODES, "customer", "AC", {"region": "eu", "year": "2026"}) == {"value": "AC", "region": "eu"}


def completed(answer: Any, prefix: str = "") -> Any:
    return completion_of(orjson.dumps(answer), prefix)["completion"]


def test_a_tables_first_column_completes() -> None:
    table = {"columns": ["code", "n"], "rows": [["A", 1], [7, 2], [None, 3]], "row_count": 3}
    assert completed(table) == {"values": ["A", "7"], "hasMore": False, "total": 2}


def test_a_list_completes_and_is_filtered_where_the_operation_did_not() -> None:
    assert completed({"result": ["Acme", "acorn", "Bolt"]}, prefix="AC")["values"] == ["Acme", "acorn"]


def test_no_more_than_a_hundred_values_are_told() -> None:
    answer = completed({"result": [str(number) for number in range(150)]})
    assert (len(answer["values"]), answer["hasMore"], answer["total"]) == (VALUES_MAX, True, 150)


def test_a_cut_table_has_more_and_nobody_knows_how_much() -> None:
    for more in ({"truncated": True}, {"next_cursor": "cursor.x.y"}):
        table = {"columns": ["c"], "rows": [["a"]], "row_count": 1, **more}
        assert completed(table) == {"values": ["a"], "hasMore": True}
