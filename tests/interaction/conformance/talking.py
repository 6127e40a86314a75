"""The fixture's tools that ask clients of the 2025-11-25 era, and the resource that they watch."""

import json
from typing import Any

from forms import Handler, Notify, Params, Result, answers, asked, content, contents, sample, text

Schema = dict[str, Any]
Fields = dict[str, Schema]

WATCHED = "test://watched-resource"

CHOICES = ["option1", "option2", "option3"]


def test_sampling(params: Params, note: Notify) -> Result:
    if (answer := answers(params).get("completion")) is None:
        return asked(completion=sample(params["prompt"], 100))
    return content(text(f"LLM response: {answer['content']['text']}"))


def test_elicitation(params: Params, note: Notify) -> Result:
    fields: Fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return _elicited(params, "User response: ", params["message"], fields, required=list(fields))


def test_elicitation_sep1034_defaults(params: Params, note: Notify) -> Result:
    fields: Fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return _elicited(params, "Elicitation completed: ", "Please check these values", fields)


def test_elicitation_sep1330_enums(params: Params, note: Notify) -> Result:
    options = ["opt1", "opt2", "opt3"]
    names = ["Option One", "Option Two", "Option Three"]
    fields: Fields = {
        "untitledSingle": {"type": "string", "enum": CHOICES},
        "titledSingle": {"type": "string", "oneOf": _titled("Option")},
        "legacyEnum": {"type": "string", "enum": options, "enumNames": names},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": CHOICES}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled("Choice")}},
    }
    return _elicited(params, "Elicitation completed: ", "Please choose", fields)


def watched_resource(params: Params, note: Notify) -> Result:
    return contents(WATCHED, "text/plain", text="This text may be watched.")


def _titled(word: str) -> list[Schema]:
    return [
        {"const": f"value{number}", "title": f"{ordinal} {word}"}
        for number, ordinal in enumerate(("First", "Second", "Third"), 1)
    ]


def _elicited(params: Params, prefix: str, message: str, fields: Fields, required: list[str] | None = None) -> Result:
    """Asks once, and then says what the user has answered."""
    if (answer := answers(params).get("form")) is None:
        schema = {"type": "object", "properties": fields} | ({"required": required} if required else {})
        return asked(form={"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
    return content(text(f"{prefix}action={answer['action']}, content={json.dumps(answer.get('content', {}))}"))


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        test_sampling,
        test_elicitation,
        test_elicitation_sep1034_defaults,
        test_elicitation_sep1330_enums,
        watched_resource,
    )
}
