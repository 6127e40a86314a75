"""Whether and how answers are shared, as operations and backends say it. The models alone: what fits what is checked
in `sharing`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


def _number(value: Any) -> Any:
    """Refuses true and false, as everywhere in the configuration."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError alone
    return value


def _seconds_or_not(value: Any) -> Any:
    """`true` for as long as it is kept, `false` for not at all."""
    if isinstance(value, bool):
        return float("inf") if value else 0.0
    return value


def _tag(value: Any) -> Any:
    if isinstance(value, str) and (not value or any(each.isspace() for each in value)):
        raise ValueError("must be one word: several stand in one line where a backend names them")
    return value


Seconds = Annotated[float, BeforeValidator(_number), Field(ge=0, le=2_592_000, allow_inf_nan=False)]
SecondsOrNot = Annotated[
    float,
    BeforeValidator(_seconds_or_not),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 0}]}),
]
Tag = Annotated[str, BeforeValidator(_tag), Field(max_length=200)]


class CacheConfig(BaseModel):
    """How long the answers of an operation are kept, and for whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl_seconds: Annotated[Seconds, Field(gt=0)] = Field(description="How long an answer is given again.")
    stale_seconds: Seconds = Field(
        0.0, description="How much longer it may be given, while another one is fetched when nobody waits."
    )
    stale_if_down: SecondsOrNot = Field(
        0.0,
        description="How much longer than its time it may be given while the backend is down or paused; "
        "true: as long as it is kept.",
    )
    tags: tuple[Tag, ...] = Field(
        (), description="What invalidates it; `{argument}` stands for what it is called with."
    )
    scope: Literal["tenant", "principal", "shared"] = Field(
        "tenant", description="Among whom it is shared: those of a tenant, one principal's own calls, or everybody."
    )
    strict: bool = Field(
        False,
        description="Whether every write to the backend invalidates it: a read after one sees what was written.",
    )
    near: bool = Field(False, description="Whether frontends may give it again by themselves.")


class InvalidateConfig(BaseModel):
    """How a backend says by itself which answers are not true any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str = Field(
        min_length=1,
        description="The channel on which it names tags, exactly as `pg_notify` names it: with blanks between them, or "
        "none for everything that it has answered.",
    )
