"""What callers of a backend may keep: sessions by a handle, a connection while they use it. And the operations of it.
How it is found out that answers of it which were kept are not true any more.

A backend with sessions has operations that nobody configures: to begin one, and to end it. All others of that backend
take one more argument, the session to run in. Nothing is checked or started here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pooler.config.caching import InvalidateConfig
from pooler.core.sessions import Tools

SESSION = "session"
"""The argument by which a call names its session."""
TIMEOUT_SECONDS = 30.0
"""The bound on the backend's work for a commit or a rollback."""


def _number(value: Any) -> Any:
    """Refuses true and false, as everywhere in the configuration."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError alone
    return value


def _sessions(value: Any) -> Any:
    """`true` for sessions as they usually are, `false` for none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400, allow_inf_nan=False)]


class SessionsConfig(BaseModel):
    """How many sessions there may be, and how long one lasts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max: Annotated[int, BeforeValidator(_number), Field(ge=1, le=1_000_000)] | None = Field(
        None, description="How many there may be at once; each has a connection. Half of the connections if left out."
    )
    idle_seconds: Seconds = Field(30.0, description="After how long without a call one is rolled back.")
    lifetime_seconds: Seconds = Field(300.0, description="After how long it is rolled back in any case.")

    @model_validator(mode="after")
    def _idles_within_its_lifetime(self) -> Self:
        if self.idle_seconds > self.lifetime_seconds:
            raise ValueError("`idle_seconds` must be at most `lifetime_seconds`")
        return self


class Keeping(BaseModel):
    """The keys of a backend for what its callers keep, and for what is kept of its answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sessions: Annotated[SessionsConfig | None, BeforeValidator(_sessions)] = Field(
        None,
        description="Whether callers may keep a connection for several calls, with a transaction where there are any.",
        json_schema_extra={"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/SessionsConfig"}]},
    )
    pin: Literal["principal"] | None = Field(
        None, description="Whether a caller's calls run on one connection while he makes use of it."
    )
    pin_idle_seconds: Seconds = Field(5.0, description="How long such a connection is kept unused, if nobody waits.")
    invalidate: InvalidateConfig | None = Field(
        None, description="How it says by itself which of the answers that are kept are not true any more."
    )


@dataclass(frozen=True, slots=True)
class SessionOperation:
    """An operation that a backend has because it has sessions."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    timeout_seconds: float = TIMEOUT_SECONDS


def session_operations(backend: str, keeping: Keeping, transactional: bool) -> Iterator[SessionOperation]:
    """Those of a backend, in a fixed order; none where it has no sessions."""
    if keeping.sessions is None:
        return
    tools, bounds = Tools.of(backend, transactional), keeping.sessions
    lasts = (
        f"It ends by itself after {bounds.idle_seconds:g} s without a call, and after {bounds.lifetime_seconds:g} s in "
        "any case"
    )
    if not transactional:
        yield _begins(
            tools.begin,
            f"Open a session of {backend}",
            f"Keeps a connection of {backend} for you. Pass the `session` that it answers with to each call that is to "
            f"run on it, one after the other; then call {tools.rollback}. {lasts}.",
        )
        yield _ends(tools.rollback, f"Close a session of {backend}", "Gives its connection back.", "closed")
        return
    yield _begins(
        tools.begin,
        f"Begin a transaction in {backend}",
        f"Begins a transaction in {backend}. Pass the `session` that it answers with to each call that is to be part "
        f"of it, one after the other; then call {tools.commit} or {tools.rollback}. {lasts}, and is rolled back then.",
    )
    kept = "Keeps what was done in the session, all of it or, when it fails, nothing; the session is over then."
    yield _ends(tools.commit, f"Commit a transaction in {backend}", kept, "committed")
    undone = "Undoes what was done in the session; it is over then."
    yield _ends(tools.rollback, f"Roll back a transaction in {backend}", undone, "rolled_back")


def with_session(schema: dict[str, Any], keeping: Keeping) -> dict[str, Any]:
    """An operation's schema, with the session to run in where its backend has any."""
    if keeping.sessions is None:
        return schema
    return {
        **schema,
        "properties": {**schema["properties"], SESSION: _argument("The session to run in; or leave out.")},
    }


def _begins(name: str, title: str, description: str) -> SessionOperation:
    seconds = {"type": "number"}
    answer = {"session": {"type": "string"}, "idle_seconds": seconds, "lifetime_seconds": seconds}
    return SessionOperation(name, title, description, _object({}), _object(answer))


def _ends(name: str, title: str, description: str, told: str) -> SessionOperation:
    arguments = {SESSION: _argument("The session, as it was answered when it began.")}
    return SessionOperation(name, title, description, _object(arguments), _object({told: {"const": True}}))


def _argument(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
