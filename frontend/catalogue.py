"""What MCP clients see of a pooler's offer: tools, resources, templates and prompts, ready to be listed and looked up.

A catalogue never changes: a new revision is a new object, which replaces the old one in a single assignment. It does no
input or output; whether arguments fit is decided here, what happens to them is not.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcp.shared.inbound import find_invalid_x_mcp_header

from frontend.compiled import Compiled
from frontend.errors import invalid_params, unknown
from frontend.logs import Logger
from frontend.operations import Offer, Operation, Prompt
from frontend.resources import Resources

log = Logger(__name__)

PAGE_ENTRIES = 500
"""Entries on a page of a list: most clients never ask for a second page, so that the first holds all of a usual one."""

_PLACE = re.compile(r"\{(\w+)\}")

Entry = Mapping[str, Any]


class Catalogue:
    """One revision of an offer. `compiled`: its operations, where they have been compiled already."""

    def __init__(self, offer: Offer, compiled: Compiled | None = None) -> None:
        self.revision = offer.revision
        self._compiled = compiled or Compiled(offer)
        self.operations = self._compiled.operations
        self.tools = self._compiled.tools
        for operation in self.tools.values():
            _warn_of_headers(operation)
        self.prompts = {prompt.name: prompt for prompt in offer.prompts}
        self.resources = Resources(self.operations.values())
        self._tool_entries = _sorted(map(_tool, self.tools.values()))
        self._prompt_entries = _sorted(map(_prompt, self.prompts.values()))
        self._resource_entries = _sorted(self.resources.plain_entries())
        self._template_entries = _sorted(self.resources.template_entries())

    def __repr__(self) -> str:
        return f"Catalogue({self.revision!r}, {len(self.operations)} operations, {len(self.prompts)} prompts)"

    @property
    def lists(self) -> Mapping[str, Sequence[Entry]]:
        """What clients see, by the names of the lists whose changes are told."""
        return {
            "tools": self._tool_entries,
            "resources": [*self._resource_entries, *self._template_entries],
            "prompts": self._prompt_entries,
        }

    def list_tools(self, cursor: str | None) -> dict[str, Any]:
        return _page("tools", self._tool_entries, cursor)

    def list_resources(self, cursor: str | None) -> dict[str, Any]:
        return _page("resources", self._resource_entries, cursor)

    def list_resource_templates(self, cursor: str | None) -> dict[str, Any]:
        return _page("resourceTemplates", self._template_entries, cursor)

    def list_prompts(self, cursor: str | None) -> dict[str, Any]:
        return _page("prompts", self._prompt_entries, cursor)

    def tool(self, name: str) -> Operation:
        """The operation behind a tool. Raises ProtocolError for a name that is none."""
        if (operation := self.tools.get(name)) is None:
            raise unknown("tool", name, self.tools)
        return operation

    def prompt(self, name: str) -> Prompt:
        """Raises ProtocolError for a name that is none."""
        if (prompt := self.prompts.get(name)) is None:
            raise unknown("prompt", name, self.prompts)
        return prompt

    def operation(self, name: str) -> Operation:
        """An operation that something in this catalogue names. Raises ProtocolError when the catalogue lacks it."""
        if (operation := self.operations.get(name)) is None:
            raise unknown("operation", name, self.operations)
        return operation

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """A tool's input schema, for the SDK's own check of `Mcp-Param-*` headers."""
        operation = self.tools.get(name)
        return operation.input_schema if operation else None

    def faults(self, operation: Operation, arguments: Mapping[str, Any]) -> list[str]:
        """Why the arguments do not fit the operation's schema, each with its place; empty when they do."""
        return self._compiled.faults(operation, arguments)


def render(prompt: Prompt, arguments: Mapping[str, str]) -> str:
    """A prompt's text with its places filled. An optional argument that was not given leaves nothing behind.

    Filled in one pass: a value that looks like a place is left as it is.
    """
    check_prompt_arguments(prompt, arguments)
    names = {argument.name for argument in prompt.arguments}
    return _PLACE.sub(lambda place: arguments.get(place[1], "") if place[1] in names else place[0], prompt.text)


def check_prompt_arguments(prompt: Prompt, arguments: Mapping[str, str]) -> None:
    """Raises ProtocolError, naming every missing and every unknown argument at once."""
    known = {argument.name for argument in prompt.arguments}
    missing = sorted(
        argument.name for argument in prompt.arguments if argument.required and argument.name not in arguments
    )
    surplus = sorted(arguments.keys() - known)
    faults = [f"missing {', '.join(missing)}"] if missing else []
    if surplus:
        faults.append(f"unknown {', '.join(surplus)} (it takes {', '.join(sorted(known)) or 'none'})")
    if faults:
        raise invalid_params(f"Arguments of prompt {prompt.name!r}: {'; '.join(faults)}")


def _tool(operation: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": operation.name, "inputSchema": operation.input_schema}
    if operation.output_schema is not None:
        entry["outputSchema"] = operation.output_schema
    entry["annotations"] = {
        "readOnlyHint": operation.reads,
        "destructiveHint": not operation.reads,
        "idempotentHint": operation.reads or operation.idempotent,
    }
    return entry | _said(operation)


def _prompt(prompt: Prompt) -> dict[str, Any]:
    arguments = [
        {"name": argument.name, "required": argument.required}
        | ({"description": argument.description} if argument.description else {})
        for argument in prompt.arguments
    ]
    return {"name": prompt.name, "arguments": arguments} | _said(prompt)


def _said(named: Operation | Prompt) -> dict[str, str]:
    """Title and description, where there are any."""
    return {key: text for key, text in (("title", named.title), ("description", named.description)) if text}


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: str(entry["name"]))


def _page(key: str, entries: Sequence[Entry], cursor: str | None) -> dict[str, Any]:
    """The entries whose name is greater than the cursor's.

    The place in the list is a name, not a number: an entry that comes or goes between two pages shifts nothing.
    """
    after = _decode_cursor(cursor) if cursor is not None else None
    rest = [entry for entry in entries if after is None or entry["name"] > after]
    page: dict[str, Any] = {key: rest[:PAGE_ENTRIES]}
    if len(rest) > PAGE_ENTRIES:
        page["nextCursor"] = _encode_cursor(rest[PAGE_ENTRIES - 1]["name"])
    return page


def _encode_cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid_params("The cursor is none of this list: begin again without one") from None


def _warn_of_headers(operation: Operation) -> None:
    if (reason := find_invalid_x_mcp_header(operation.input_schema)) is not None:
        log.warning("clients will leave this tool out", operation=operation.name, reason=reason)
