"""The configuration keys of a worker process. Starts nothing."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from pooler.backends import base

RESERVED = frozenset({"open", "close", "ping", "reset", "cancel", "next", "stop", "progress", "log"})
"""Methods that belong to the worker protocol itself."""
SECRET_CHARS_MIN = 6
"""Shorter values are not looked for in messages: `1` or `true` would blank out half of every sentence."""

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Settings(base.Settings, frozen=True):
    """How to start a worker, and what may be assumed of it."""

    command: tuple[str, ...] = Field(min_length=1, description="The program and its arguments; no shell reads it.")
    environment: Mapping[EnvironmentName, SecretStr] = Field(
        default_factory=dict, description="What the worker sees beside PATH, HOME, LANG and TZ."
    )
    directory: str | None = Field(default=None, description="Where it runs; the pooler's own directory by default.")
    reset: Literal["respawn", "none"] = Field(
        default="respawn",
        description="For a worker that declares no `reset`: replace it after each call, "
        "or `none` when nothing of one call can be noticed by the next.",
    )
    close_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="How long each polite step of ending may take: the close request, the end of input, SIGTERM.",
    )

    def mask(self, text: str) -> str:
        """The text without any value that `environment` holds."""
        for secret in self.environment.values():
            value = secret.get_secret_value()
            if len(value) >= SECRET_CHARS_MIN:
                text = text.replace(value, "***")
        return text

    @classmethod
    def check(cls, operation: base.Operation) -> list[str]:
        """A worker serves any method but those of the protocol itself."""
        faults = []
        if operation.statement is not None:
            faults.append("a worker process has no statements: name its `method` instead")
        elif not operation.method:
            faults.append("`method` is missing: the name of the worker's method")
        elif operation.method in RESERVED:
            faults.append(
                f"the method {operation.method!r} belongs to the worker protocol: give the worker another name"
            )
        if "_meta" in operation.arguments:
            faults.append("the argument `_meta` belongs to the worker protocol: give it another name")
        return faults
