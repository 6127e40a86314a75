"""What MCP clients see of an offer: lists, look-ups, checks, prompts."""

from typing import Any

import pytest

from frontend import catalogue as module
from frontend.catalogue import Catalogue, render
from frontend.compiled import FAULTS_MAX
from frontend.errors import ProtocolError
from frontend.operations import Offer, Operation, Prompt, PromptArgument


def schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def catalogue(*operations: Operation, prompts: tuple[Prompt, ...] = ()) -> Catalogue:
    return Catalogue(Offer("r1", operations, prompts))


def test_a_tool_shows_its_schemas_and_what_it_does() -> None:
    operation = Operation(
        "find", "Find", "Finds.", schema(a={"type": "string"}), {"type": "object"}, reads=True, idempotent=False
    )
    assert catalogue(operation).list_tools(None) == {
        "tools": [
            {
                "name": "find",
                "title": "Find",
                "description": "Finds.",
                "inputSchema": schema(a={"type": "string"}),
                "outputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True},
            }
        ]
    }


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_write_is_destructive_and_idempotent_only_when_it_says_so(idempotent: bool) -> None:
    (tool,) = catalogue(Operation("w", idempotent=idempotent)).list_tools(None)["tools"]
    assert tool["annotations"] == {
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": idempotent,
    }


def test_an_operation_that_is_no_tool_is_neither_listed_nor_called() -> None:
    known = catalogue(Operation("a"), Operation("b", tool=False))
    assert [tool["name"] for tool in known.list_tools(None)["tools"]] == ["a"]
    with pytest.raises(ProtocolError, match="Unknown tool: 'b'"):
        known.tool("b")
    assert known.operation("b").name == "b"


def test_lists_are_in_the_order_of_names_whatever_the_offers_order() -> None:
    names = ["b", "a.z", "A", "a"]
    tools = catalogue(*map(Operation, names)).list_tools(None)["tools"]
    assert [tool["name"] for tool in tools] == sorted(names)


def test_pages_show_every_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ENTRIES", 3)
    known = catalogue(*(Operation(f"t{number}") for number in range(7)))
    pages, cursor = [], None
    while True:
        page = known.list_tools(cursor)
        pages.append([tool["name"] for tool in page["tools"]])
        if (cursor := page.get("nextCursor")) is None:
            break
    assert pages == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]


def test_an_entry_that_goes_between_two_pages_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ENTRIES", 2)
    before = catalogue(*(Operation(name) for name in "abcd"))
    cursor = before.list_tools(None)["nextCursor"]
    after = catalogue(*(Operation(name) for name in "bcd"))
    assert [tool["name"] for tool in after.list_tools(cursor)["tools"]] == ["c", "d"]


@pytest.mark.parametrize("cursor", ["?", "ab", "//79"])
def test_a_cursor_from_elsewhere_is_a_fault_of_the_request(cursor: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        catalogue(Operation("a")).list_tools(cursor)
    assert caught.value.code == -32602


def test_arguments_that_fit_have_no_faults() -> None:
    operation = Operation("f", input_schema=schema(a={"type": "string"}))
    assert catalogue(operation).faults(operation, {"a": "x"}) == []


def test_all_faults_of_the_arguments_are_found_with_their_places() -> None:
    operation = Operation("f", input_schema=schema(a={"type": "string"}, b={"type": "array", "items": {"minimum": 3}}))
    assert sorted(catalogue(operation).faults(operation, {"b": [5, 1], "c": 0})) == [
        '"a" is a required property',
        "Additional properties are not allowed ('c' was unexpected)",
        "b.1: 1 is less than the minimum of 3",
    ]


def test_the_faults_of_one_answer_are_bounded() -> None:
    operation = Operation("f", input_schema={"type": "object", "additionalProperties": {"type": "string"}})
    many = catalogue(operation).faults(operation, {f"a{number}": number for number in range(100)})
    assert len(many) == FAULTS_MAX


def test_one_broken_schema_leaves_the_others_on_offer() -> None:
    known = catalogue(Operation("bad", input_schema={"type": "strang"}), Operation("good"))
    assert list(known.operations) == ["good"]


def test_a_schema_never_makes_the_frontend_fetch_anything() -> None:
    remote = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    assert catalogue(Operation("remote", input_schema=remote)).operations == {}


def test_the_input_schema_of_a_tool_is_a_look_up() -> None:
    known = catalogue(Operation("a", input_schema=schema()), Operation("b", tool=False))
    assert known.input_schema("a") == schema()
    assert known.input_schema("b") is None


GREETING = Prompt(
    "greet",
    description="Greets.",
    text="Dear {name}, {wish} {unknown}",
    arguments=(PromptArgument("name", "Who", required=True), PromptArgument("wish")),
)


def test_a_prompt_is_listed_with_its_arguments() -> None:
    assert catalogue(prompts=(GREETING,)).list_prompts(None) == {
        "prompts": [
            {
                "name": "greet",
                "description": "Greets.",
                "arguments": [
                    {"name": "name", "required": True, "description": "Who"},
                    {"name": "wish", "required": False},
                ],
            }
        ]
    }


def test_a_prompts_places_are_filled_once_and_what_is_no_place_stays() -> None:
    assert render(GREETING, {"name": "{wish}", "wish": "hello"}) == "Dear {wish}, hello {unknown}"
    assert render(GREETING, {"name": "Ana"}) == "Dear Ana,  {unknown}"


def test_everything_wrong_with_a_prompts_arguments_is_said_at_once() -> None:
    with pytest.raises(ProtocolError) as caught:
        render(GREETING, {"nam": "x"})
    assert caught.value.code == -32602
    assert caught.value.message == "Arguments of prompt 'greet': missing name; unknown nam (it takes name, wish)"
