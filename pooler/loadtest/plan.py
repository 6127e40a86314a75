"""What a load test is to do: where to, how many calls when, which, for whom, and what is expected of the answers.

Plain validated values; a file and the command line say the same things. Nothing here draws, sends or waits.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pooler.loadtest.arguments import check_arguments
from pooler.loadtest.limits import check_limit

PHASE_SECONDS_MAX = 86_400
RATE_MAX = 1_000_000.0


def _pair(given: Any) -> Any:
    return (given, given) if isinstance(given, int | float) and not isinstance(given, bool) else given


class _Part(BaseModel, frozen=True, extra="forbid"):
    """A part of a plan: unknown keys are faults."""


class Where(_Part, frozen=True):
    """A pooler's gRPC or an MCP address, and the pooler that is watched meanwhile."""

    pooler: str | None = Field(default=None, description="HOST:PORT or unix:PATH of the pooler.")
    wire: Literal["exchange", "unary"] = Field(
        default="exchange", description="How the pooler is called: all calls on few streams, or each by itself."
    )
    streams: int = Field(default=1, ge=1, le=64, description="Exchange streams, each with a connection of its own.")
    mcp: str | None = Field(default=None, description="An MCP address, http://HOST:PORT/mcp; then calls go there.")
    era: Literal["2026-07-28", "2025-11-25"] = Field(default="2026-07-28", description="The revision of MCP.")
    conversations: int = Field(
        default=16, ge=0, le=10_000, description="Conversations that the calls of 2025-11-25 take turns in; 0: none."
    )

    @model_validator(mode="after")
    def _is_http(self) -> Self:
        if self.mcp is not None and not self.mcp.startswith(("http://", "https://")):
            raise ValueError("mcp must be a URL, for example http://127.0.0.1:8080/mcp")
        return self


class Step(_Part, frozen=True):
    """A rate for a while; with `to`, one that grows or falls evenly."""

    rate: float = Field(ge=0, le=RATE_MAX, description="Calls a second; 0 is a pause.")
    to: float | None = Field(default=None, ge=0, le=RATE_MAX, description="The rate at the end of a ramp.")
    seconds: float = Field(gt=0, le=PHASE_SECONDS_MAX, description="How long.")
    judged: bool = Field(default=True, description="Whether the limits hold for it; false for warming up.")

    @property
    def end_rate(self) -> float:
        return self.rate if self.to is None else self.to

    @property
    def calls(self) -> float:
        """How many calls are to be expected of it."""
        return (self.rate + self.end_rate) / 2 * self.seconds


class Vanish(_Part, frozen=True):
    """Callers who do not wait for their answer."""

    share: float = Field(gt=0, le=1, description="Of the calls.")
    after_ms: Annotated[tuple[float, float], BeforeValidator(_pair)] = Field(
        default=(10.0, 200.0), description="How long they stay: a number, or [least, most]."
    )
    by: Literal["cancel", "drop"] = Field(
        default="cancel", description="Whether they take the call back, or their connection breaks off."
    )

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        least, most = self.after_ms
        if not 0 <= least <= most:
            raise ValueError("after_ms must be a number of at least 0, or [least, most]")
        return self


Priority = Literal["interactive", "batch"]


class CallSpec(_Part, frozen=True):
    """One kind of call in the mix."""

    operation: str = Field(min_length=1, description="Its name in the catalogue.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="By name: a value, or how to make one.")
    weight: float = Field(default=1.0, gt=0, description="How often it comes, against the others.")
    timeout_seconds: float | None = Field(default=None, gt=0, le=86_400, description="How long its caller waits.")
    priority: Priority | None = Field(default=None, description="Which place it takes in the queue.")
    vanish: Vanish | None = Field(default=None, description="Callers who do not wait.")

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        check_arguments(self.arguments)
        return self


class TenantSpec(_Part, frozen=True):
    """Who pays for a share of the calls."""

    weight: float = Field(default=1.0, gt=0, description="How many of the calls are its, against the others.")
    priority: Priority | None = Field(default=None, description="Which place its calls take, unless they say it.")
    token: str | None = Field(default=None, repr=False, description="Its bearer token at an MCP address: ${NAME}.")


def _limit(text: str) -> str:
    check_limit(text)
    return text


class Plan(_Part, frozen=True):
    """A whole load test."""

    target: Where = Where()
    seed: int = Field(default=1, description="What every moment, choice and argument is drawn from.")
    arrivals: Literal["poisson", "even"] = Field(default="poisson", description="How calls come at a rate.")
    steps: tuple[Step, ...] = Field(
        default=(Step(rate=20, seconds=15),), max_length=200, description="Rates, one after the other."
    )
    calls: tuple[CallSpec, ...] = Field(default=(), max_length=200, description="The mix; none: one is found.")
    tenants: dict[str, TenantSpec] = Field(default_factory=dict, description="Who calls; none: one nameless tenant.")
    timeout_seconds: float = Field(default=10.0, gt=0, le=86_400, description="How long callers wait.")
    vanish: Vanish | None = Field(default=None, description="Callers of any call who do not wait.")
    expect: tuple[Annotated[str, BeforeValidator(_limit)], ...] = Field(default=(), description="Limits to be kept.")
    writes: bool = Field(default=False, description="Whether operations that change something may be called.")
    observe: str | None = Field(default=None, repr=False, description="PostgreSQL's own count: its URL, as ${NAME}.")
    watch_ms: int = Field(default=200, ge=20, le=60_000, description="How often the pools are looked at.")
    lateness_max_ms: float = Field(
        default=50.0, gt=0, description="The run is invalid when 1 % of a step's calls left later than this."
    )
    in_flight_max: int = Field(
        default=50_000, ge=1, le=1_000_000, description="Calls without an answer; one more makes the run invalid."
    )

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        # Not by its least length: a fault inside of a step would then be told as no steps at all, too.
        if not self.steps:
            raise ValueError("steps must not be empty; add one, {rate: 20, seconds: 15}")
        return self

    @property
    def seconds(self) -> float:
        """How long calls come."""
        return sum(step.seconds for step in self.steps)

    def shown(self) -> dict[str, Any]:
        """What a report may show of it: no token, no address of a database."""
        shown = self.model_dump(mode="json", exclude={"observe": True, "tenants": {"__all__": {"token"}}})
        shown["target"]["mcp"] = without_credentials(self.target.mcp)
        return shown


def without_credentials(url: str | None) -> str | None:
    """A URL without its user, password and query, any of which may be a secret."""
    if url is None:
        return None
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
