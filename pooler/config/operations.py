"""Operations and prompts as configured, and the JSON Schemas that clients see of them. Checks one of them at a time."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pooler.backends.base import Operation
from pooler.config.caching import CacheConfig, Tag

TABLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "rows": {"type": "array", "description": "A list of cells for each row, in the order of `columns`."},
        "row_count": {"type": "integer", "minimum": 0},
        "truncated": {"type": "boolean", "description": "Present and true when rows are missing that cannot be had."},
        "next_cursor": {
            "type": "string",
            "description": "Present when there are more rows: call again with the same arguments and this as `cursor`.",
        },
    },
    "required": ["columns", "rows", "row_count"],
}
"""What every statement that reads answers with. Of the rows it says no more than that there are some: MCP clients check
an answer against it, and the SDK's takes 10 µs for every row of which it has to check anything."""

CURSOR_SCHEMA: dict[str, Any] = {
    "type": "string",
    "description": "`next_cursor` of the page before, for the next one; everything else as in the call before.",
}
"""The argument that is ours in every operation with pages."""


def _returns(value: Any) -> Any:
    if value == "content" or isinstance(value, dict):
        return value
    raise ValueError("must be `content` or a JSON Schema mapping")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WatchConfig(_Part):
    """How it is found out that a resource has changed: its backend says so on a channel, or it is asked."""

    channel: str | None = Field(
        None,
        min_length=1,
        description="The channel on which the backend tells of changes, exactly as `pg_notify` names it.",
    )
    argument: str | None = Field(
        None, description="The argument whose value a payload names; without it, whatever is said is a change."
    )
    every_seconds: Annotated[float, Field(ge=0.1, le=86_400)] | None = Field(
        None,
        description="How often it is called, as long as somebody watches, to compare its first page with the last.",
    )


class OperationConfig(_Part):
    """Something a backend can do: a tool for MCP clients, and a resource when it says so."""

    backend: str = Field(description="The backend that does it.")
    title: str = Field("", description="Its name for people.")
    description: str = Field("", description="What a model or a person should know before calling it.")
    statement: str | None = Field(None, description="One SQL statement; `:name` is bound to that argument.")
    method: str | None = Field(None, min_length=1, description="The method of a worker process.")
    arguments: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="JSON Schema by argument; all required unless they have a default. "
        "`complete: OPERATION` names the operation that completes the value.",
    )
    constraints: dict[str, Any] = Field(
        default_factory=dict,
        description="JSON Schema keywords for all arguments together, such as `anyOf`, `if`, `$defs`, or `required` "
        "where it is not simply all that have no default.",
    )
    effect: Literal["read", "write"] = Field(description="Whether it may change anything.")
    idempotent: bool = Field(False, description="Whether a repeated write changes nothing more.")
    exclusive: bool = Field(False, description="Whether it needs its connection whole, where others could share it.")
    share: bool = Field(
        False,
        description="Whether its calls, short reads whose result fits one page, may be under way on one connection "
        "together; where the kind can, those of all other operations have one for themselves.",
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        30.0, description="The bound on the backend's work; waiting and starting have their own."
    )
    page_rows: Annotated[int, Field(ge=1, le=100_000)] = Field(200, description="The most rows of an answer.")
    page_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = Field(
        1 << 18,
        description="The largest answer. The SDK's clients take a megabyte an event, and it travels twice in one.",
    )
    paged: bool = Field(
        False,
        description="Whether a method answers with a table that may have many pages; a statement that reads does.",
    )
    cache: CacheConfig | None = Field(None, description="How long its answers are kept, and for whom.")
    flight: bool | None = Field(
        None,
        description="Whether identical calls under way share one of the backend; as long as there is a `cache`, if "
        "left out.",
    )
    invalidates: tuple[Tag, ...] = Field(
        (), description="The tags of answers that it makes wrong; `{argument}` stands for what it is called with."
    )
    order_by: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="The columns of the result that tell its rows apart, `NAME` or `NAME desc`: each page is then read "
        "by a statement of its own, from behind the last row, and cursors survive a restart.",
    )
    returns: Annotated[Any, BeforeValidator(_returns)] = Field(
        None,
        description="What a method answers: any value (left out), MCP `content`, or values that fit a JSON Schema.",
        json_schema_extra={"anyOf": [{"const": "content"}, {"type": "object"}]},
    )
    resource: str | None = Field(None, description="A URI, or a URI template whose variables are arguments.")
    mime_type: str | None = Field(None, description="The media type of the resource.")
    watch: WatchConfig | None = Field(None, description="How it is found out that the resource has changed.")
    tool: bool = Field(True, description="Whether clients see it as a tool.")
    confirm: str | None = Field(
        None,
        min_length=1,
        description="What the user is asked before it is begun; `{argument}` stands for what it is called with.",
    )
    asks: bool = Field(False, description="Whether its worker may ask the user for input before it is done.")
    long: bool = Field(False, description="Whether it usually takes so long that clients are offered it as a task.")
    long_after_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = Field(
        None, description="Makes it a task only when it has lasted so long."
    )

    @property
    def has_pages(self) -> bool:
        """Whether a result may have more pages than one."""
        return self.effect == "read" and (self.statement is not None or self.paged)

    def completions(self) -> dict[str, str]:
        """By argument: the operation that completes it."""
        return {name: schema["complete"] for name, schema in self.arguments.items() if "complete" in schema}

    def properties(self) -> dict[str, dict[str, Any]]:
        """JSON Schema by argument, without our own key."""
        return {
            name: {key: value for key, value in schema.items() if key != "complete"}
            for name, schema in self.arguments.items()
        }

    def required(self) -> list[str]:
        """The arguments that have no default, unless something else is said."""
        if isinstance(said := self.constraints.get("required"), list):
            return said
        return [name for name, schema in self.arguments.items() if "default" not in schema]

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the arguments as a whole."""
        own = {"cursor": CURSOR_SCHEMA} if self.has_pages else {}
        return {
            **self.constraints,
            "type": "object",
            "properties": self.properties() | own,
            "required": self.required(),
            "additionalProperties": False,
        }

    def output_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of a result, where one is promised: tables, and methods that have `returns: SCHEMA`."""
        if self.statement is not None:
            return TABLE_SCHEMA if self.effect == "read" else None
        if not isinstance(self.returns, dict):
            return None
        return self.returns if self.returns.get("type") == "object" else _wrapped(self.returns)

    def to_operation(self, name: str) -> Operation:
        """The same for an adapter to prepare."""
        return Operation(
            name=name,
            effect=self.effect,
            arguments=self.properties(),
            statement=self.statement,
            method=self.method,
            returns="table" if self.statement is not None else self.returns or "value",
            share=self.share,
            page_rows=self.page_rows,
            page_bytes=self.page_bytes,
            order_by=self.order_by or (),
        )


class PromptArgumentConfig(_Part):
    """A place in a prompt's text, or an argument of the operation that makes its messages."""

    description: str = ""
    required: bool = True
    complete: str | None = Field(None, description="The operation that completes the value.")


class PromptConfig(_Part):
    """A prompt: a text with `{argument}` places, or the name of an operation that makes the messages."""

    title: str = ""
    description: str = ""
    text: str | None = Field(None, description="One message of the user, in which `{argument}` is replaced.")
    operation: str | None = Field(None, description="The operation that makes the messages.")
    arguments: dict[str, PromptArgumentConfig] = Field(default_factory=dict)


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of `{"result": value}`; definitions stay at the root, where references look for them."""
    inner = {key: value for key, value in schema.items() if key not in ("$defs", "$schema")}
    outer = {"type": "object", "properties": {"result": inner}, "required": ["result"]}
    return outer | {key: schema[key] for key in ("$defs", "$schema") if key in schema}
