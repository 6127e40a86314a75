"""From the address of a resource to an operation and its arguments.

Plain addresses come first, then templates, those with the fewest variables first, so that an address has one answer
whatever the order of the configuration. Values from an address are text; they take the type that the operation's schema
asks for. This file does not check them against the schema.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from frontend.logs import Logger
from frontend.operations import Operation

log = Logger(__name__)

Match = tuple[Operation, dict[str, Any]]


class Resources:
    """The operations that clients may read as resources."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        offered = sorted((operation for operation in operations if operation.resource), key=lambda each: each.name)
        self._plain = {each.resource: each for each in offered if not UriTemplate.is_template(each.resource)}
        templates = list(_parsed(each for each in offered if each.resource not in self._plain))
        self._templates = sorted(templates, key=lambda pair: (len(pair[0].variables), pair[1].name))

    def match(self, uri: str) -> Match | None:
        """The operation that answers for an address, and the arguments that stand in it."""
        if (operation := self._plain.get(uri)) is not None:
            return operation, {}
        for template, operation in self._templates:
            if (variables := template.match(uri)) is not None:
                return operation, _typed(variables, operation.properties)
        return None

    def by_template(self, template: str) -> Operation | None:
        """The operation with exactly this template or address; that is how a completion names it."""
        for known, operation in self._templates:
            if str(known) == template:
                return operation
        return self._plain.get(template)

    def plain_entries(self) -> Iterator[dict[str, str]]:
        for uri, operation in self._plain.items():
            yield {"uri": uri} | _described(operation)

    def template_entries(self) -> Iterator[dict[str, str]]:
        for template, operation in self._templates:
            yield {"uriTemplate": str(template)} | _described(operation)


def _parsed(operations: Iterable[Operation]) -> Iterator[tuple[UriTemplate, Operation]]:
    """Leaves out what is no template that can be matched, so that one mistake does not hide all other resources."""
    for operation in operations:
        try:
            yield UriTemplate.parse(operation.resource), operation
        except InvalidUriTemplate as error:
            log.warning("resource left out, its template is wrong", operation=operation.name, error=str(error))


def _described(operation: Operation) -> dict[str, str]:
    texts = {
        "name": operation.name,
        "title": operation.title,
        "description": operation.description,
        "mimeType": operation.mime_type,
    }
    return {key: text for key, text in texts.items() if text}


def _typed(variables: Mapping[str, str | list[str]], properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _as_type(value, properties.get(name)) for name, value in variables.items()}


def _as_type(value: str | list[str], schema: Any) -> Any:
    """`"12"` for an argument that is an integer becomes 12; what does not read as such stays, for the check to name."""
    wanted = schema.get("type") if isinstance(schema, Mapping) else None
    types = set(wanted) if isinstance(wanted, list) else {wanted}
    if isinstance(value, list) or "string" in types or not types & {"integer", "number", "boolean"}:
        return value
    try:
        read = json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return value
    return read if isinstance(read, bool | int | float) else value


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
