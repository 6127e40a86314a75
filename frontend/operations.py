"""What a pooler offers, in this program's own words: operations and prompts, as values.

They are made by `pooler_client` from the wire and read by everybody else, so that nobody else needs to know the wire.
Nothing here decides anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a backend can do."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    output_schema: Mapping[str, Any] | None = None
    reads: bool = False
    """Changes nothing: may be sent again when nobody knows whether it arrived."""
    idempotent: bool = False
    tool: bool = True
    resource: str = ""
    """A URI, or an RFC 6570 template whose variables are arguments; empty: not a resource."""
    mime_type: str = ""
    completions: Mapping[str, str] = field(default_factory=dict)
    """By argument, the operation that completes it."""
    timeout_ms: int = 0
    """The bound on the backend's work."""
    queue_timeout_ms: int = 0
    """The bound on everything before it."""
    long: bool = False
    """Usually takes so long that it is offered as a task."""
    long_after_ms: int = 0
    """Where `long`: a task only once it has lasted so long; 0: at once."""
    asks: bool = False
    """May ask its user for input before it is done."""
    short: bool = False
    """Declared to be answered soon, by nothing but its answer: a read without progress, log lines or questions."""
    near: str = ""
    """Among whom an answer may be given again by whoever got it: `tenant`, `principal` or `shared`; empty: nobody."""
    watched: bool = False
    """Changes of the resource can be watched."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """JSON Schema by argument."""
        properties: Mapping[str, Any] = self.input_schema.get("properties", {})
        return properties


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """One place in a prompt."""

    name: str
    description: str = ""
    required: bool = False
    completion: str = ""
    """The operation that completes it, or empty."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text with `{argument}` places, or the name of an operation that makes the messages."""

    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()
    text: str = ""
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """All that a pooler offers, as of one revision."""

    revision: str
    operations: tuple[Operation, ...] = ()
    prompts: tuple[Prompt, ...] = ()
