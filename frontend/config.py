"""The frontend's settings: environment variables `PENSTOCK_FRONTEND_<KEY>`, structured values as JSON.

Every fault is found before anything starts, all of them at once. Secrets never appear in a fault, a repr or a log.
This file reads no other file: the `penstock` command is what turns a configuration file into these variables.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationError

PREFIX = "PENSTOCK_FRONTEND_"

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_TOKEN_CHARACTERS_MIN = 16


def _json(value: Any) -> Any:
    """Decodes a structured value; one that is no JSON is a fault beside the others, and hides none of them."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError("must be JSON") from error


def _listen_address(value: str) -> str:
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080; port 0 takes a free one")
    return value


def _pooler_address(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    match = _ADDRESS.fullmatch(value)
    if match is None or not 0 < int(match["port"]) <= 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:7433, or unix:PATH")
    return value


def _no_wildcard(values: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in values:
        raise ValueError("'*' would switch the check off: name the hosts, with ':*' where any port will do")
    return values


def _long_enough(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < _TOKEN_CHARACTERS_MIN:
        raise ValueError(f"is too easy to guess: a token has at least {_TOKEN_CHARACTERS_MIN} characters")
    if not token.get_secret_value().isascii() or not token.get_secret_value().isprintable():
        raise ValueError("must be printable ASCII, since it travels in a header")
    return token


class Token(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """One static bearer token, and who its bearer is."""

    token: Annotated[SecretStr, AfterValidator(_long_enough)]
    tenant: str = Field(default="default", min_length=1, max_length=128)
    principal: str = Field(default="anonymous", min_length=1, max_length=128)


def _distinct(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    secrets = [token.token.get_secret_value() for token in tokens]
    for index, secret in enumerate(secrets):
        if secret in secrets[:index]:
            raise ValueError(f"tokens {secrets.index(secret)} and {index} are the same: a token has one bearer")
    return tokens


Patterns = Annotated[tuple[str, ...], BeforeValidator(_json), AfterValidator(_no_wildcard)]


class Settings(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """Everything an operator can decide about a frontend."""

    listen: Annotated[str, AfterValidator(_listen_address)] = Field(
        default="127.0.0.1:8080", description="Where MCP is served, as HOST:PORT; port 0 takes a free one."
    )
    pooler: Annotated[str, AfterValidator(_pooler_address)] = Field(
        default="127.0.0.1:7433", description="Where the pooler is, as HOST:PORT or unix:PATH."
    )
    tokens: Annotated[tuple[Token, ...], BeforeValidator(_json), AfterValidator(_distinct)] = Field(
        default=(), description="Static bearer tokens, and who their bearers are. Empty: no token is asked for."
    )
    tenant: str = Field(
        default="default", min_length=1, max_length=128, description="Who pays when there are no tokens."
    )
    principal: str = Field(
        default="anonymous", min_length=1, max_length=128, description="Who asks when there are no tokens."
    )
    allowed_hosts: Patterns = Field(
        default=("127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*"),
        description="Host headers that are answered, HOST or HOST:PORT; HOST:* for any port.",
    )
    allowed_origins: Patterns = Field(
        default=("http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"),
        description="Origin headers that are answered; a request without one always is.",
    )
    request_bytes_max: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="The largest request body, in bytes."
    )
    result_bytes_max: int = Field(
        default=32 * 1024 * 1024,
        ge=65_536,
        le=1024 * 1024 * 1024,
        description="The largest result of one call, in bytes.",
    )
    timeout_seconds_max: float = Field(
        default=600, gt=0, le=86_400, description="The longest that any call may take, whatever its operation allows."
    )
    calls_max: int = Field(default=1000, ge=1, le=100_000, description="Calls under way at once; one more is refused.")
    hot: bool = Field(
        default=True,
        description="Whether plain calls take the short way. The long one gives the same answers, more slowly.",
    )
    near_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=0,
        le=4 * 1024 * 1024 * 1024,
        description="Bytes kept of answers that may be given again (operations with `cache: {near: true}`).",
    )
    preload: bool = Field(
        default=False,
        description="Whether everything is imported at the start, for processes that live long; else when needed.",
    )
    conversations: bool = Field(
        default=True,
        description="Whether clients of the 2025-11-25 era get conversations: resume, questions to the user, news.",
    )
    detach_grace_seconds: float = Field(
        default=60,
        ge=0,
        le=3600,
        description="How long a conversation's call goes on when its client has left the stream, and may come again.",
    )
    name: str = Field(
        default="penstock", min_length=1, max_length=128, description="The server's name for MCP clients."
    )
    instructions: str = Field(default="", description="What MCP clients are told about the server as a whole.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged, to stderr."
    )
    log_format: Literal["console", "json"] = Field(default="console", description="How it is logged.")

    @property
    def host(self) -> str:
        """The address to bind to, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the settings, and where."""

    loc: tuple[str | int, ...]
    message: str


class SettingsInvalid(Exception):
    """The settings cannot be used; `faults` has every reason."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{'.'.join(map(str, fault.loc))}: {fault.message}" for fault in faults))


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings from environment variables. Raises SettingsInvalid with all faults."""
    given = {name[len(PREFIX) :].lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsInvalid([_fault(detail) for detail in error.errors(include_input=False)]) from None


def _fault(detail: Mapping[str, Any]) -> Fault:
    if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
        nearest = get_close_matches(str(detail["loc"][0]), Settings.model_fields, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"the keys are {', '.join(Settings.model_fields)}"
        return Fault(detail["loc"], f"there is no such key; {hint}")
    return Fault(detail["loc"], detail["msg"].removeprefix("Value error, "))
