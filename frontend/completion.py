"""Completion of a prompt's or a resource's argument, by an operation of the catalogue.

The completing operation gets, of these, what its schema declares: the text so far under the argument's own name and as
`value`, and the other arguments that the client has settled. An operation that takes neither form of the text is asked
for everything, and filtered here by the text as a prefix. It answers with a table (its first column) or a list.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from frontend.catalogue import Catalogue
from frontend.errors import invalid_params
from frontend.operations import Operation

VALUES_MAX = 100
"""The protocol's own bound."""


def operation_for(catalogue: Catalogue, ref: Mapping[str, Any], argument: str) -> Operation | None:
    """The operation that completes an argument of what `ref` names; None where the argument has no completion.

    Raises ProtocolError when the catalogue has nothing that is meant.
    """
    if ref.get("type") == "ref/prompt":
        prompt = catalogue.prompt(str(ref.get("name")))
        completion = next((each.completion for each in prompt.arguments if each.name == argument), "")
    else:
        resource = catalogue.resources.by_template(str(ref.get("uri")))
        if resource is None:
            raise invalid_params(f"No resource template is {str(ref.get('uri'))[:200]!r}")
        completion = resource.completions.get(argument, "")
    return catalogue.operation(completion) if completion else None


def arguments_for(operation: Operation, argument: str, text: str, settled: Mapping[str, str]) -> dict[str, Any]:
    """What of all that is known the completing operation takes."""
    known = {**settled, "value": text, argument: text}
    return {name: value for name, value in known.items() if name in operation.properties}


def completion_of(body: bytes, prefix: str) -> dict[str, Any]:
    """MCP's form of a table or a list. `prefix`: what to filter by, empty when the operation did that."""
    answer = orjson.loads(body)
    values = [value for value in _texts(answer) if value.casefold().startswith(prefix.casefold())]
    cut = bool(answer.get("truncated") or answer.get("next_cursor"))
    completion: dict[str, Any] = {"values": values[:VALUES_MAX], "hasMore": cut or len(values) > VALUES_MAX}
    if not cut:
        completion["total"] = len(values)
    return {"completion": completion}


def _texts(answer: Mapping[str, Any]) -> list[str]:
    if isinstance(rows := answer.get("rows"), list):
        found = [row[0] for row in rows if row]
    else:
        found = next((value for value in answer.values() if isinstance(value, list)), [])
    return [value if isinstance(value, str) else orjson.dumps(value).decode() for value in found if value is not None]
