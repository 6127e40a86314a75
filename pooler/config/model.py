"""The configuration's shape: frozen models, which say of each key what it is, its bounds and its default.

Two equal models mean that nothing changed, which is what a reload asks. Nothing is read or started here.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from pooler.backends.base import Settings
from pooler.config.keeping import Keeping
from pooler.config.operations import OperationConfig, PromptConfig

TOKEN_CHARACTERS_MIN = 16
"""Of an administrator's token."""
KEY_BYTES = 32
"""Of a key that seals handles."""

_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")


def _number(value: Any) -> Any:
    """Refuses true and false, which are numbers to Python and to nobody who writes YAML."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  # pydantic reports ValueError alone
    return value


def _tcp(address: str) -> str:
    match = _HOST_PORT.fullmatch(address)
    if match is None or int(match[2]) > 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:7433")
    return address


def _tcp_or_unix(address: str) -> str:
    return address if re.fullmatch(r"unix:.+", address) else _tcp(address)


def _sealing(secret: SecretStr) -> SecretStr:
    try:
        fits = len(_decoded(secret)) == KEY_BYTES
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"must be {KEY_BYTES} bytes of chance in base64, as `openssl rand -base64 {KEY_BYTES}` makes")
    return secret


def _long_enough(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value()
    if len(token) < TOKEN_CHARACTERS_MIN or not re.fullmatch(r"[!-~]+", token):
        raise ValueError(
            f"must be {TOKEN_CHARACTERS_MIN} or more visible ASCII characters, as `openssl rand -hex 16` makes"
        )
    return secret


def _distinct(administrators: "tuple[Administrator, ...]") -> "tuple[Administrator, ...]":
    for index, one in enumerate(administrators):
        for other in administrators[:index]:
            if one.token == other.token:
                raise ValueError(f"{other.name!r} and {one.name!r} have the same token: a token has one bearer")
    return administrators


def _decoded(secret: SecretStr) -> bytes:
    return base64.b64decode(secret.get_secret_value(), validate=True)


Count = Annotated[int, BeforeValidator(_number), Field(le=1_000_000)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=2_592_000, allow_inf_nan=False)]
Bytes = Annotated[int, BeforeValidator(_number), Field(ge=1024, le=1 << 30)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ConversationSettings(_Part):
    """How long the conversations of clients of the 2025-11-25 era are kept."""

    idle_seconds: Seconds = Field(1800.0, description="A conversation ends after this long without any use.")
    lifetime_seconds: Seconds = Field(86_400.0, description="It ends at this age in any case.")
    per_principal_max: Count = Field(
        1000, ge=1, description="How many one principal may have open; one more ends the one that is idle longest."
    )


class SpoolSettings(_Part):
    """How much is kept of results that their callers have not fetched to the end, and for how long."""

    memory_bytes: Bytes = Field(1 << 20, description="Of each result, in memory; the rest goes into a file.")
    tenant_bytes: Annotated[int, BeforeValidator(_number), Field(ge=1 << 16, le=1 << 40)] = Field(
        256 << 20, description="Of all results of a tenant, in memory and in files in `state_dir`."
    )
    keep_seconds: Seconds = Field(300.0, description="A result is given up when nobody has fetched a page for so long.")
    hold_seconds: Seconds = Field(
        30.0, description="How long work waits, when its tenant keeps as much as it may, before it is cut."
    )


class RunSettings(_Part):
    """How much is kept of runs, the calls that can be followed, and for how long."""

    keep_seconds: Seconds = Field(300.0, description="How long after its end, unless its caller says otherwise.")
    tenant_max: Count = Field(1000, ge=1, description="How many runs a tenant may have, under way and kept.")
    tenant_bytes: Bytes = Field(64 << 20, description="How much they may keep together, results included.")
    events_max: Count = Field(1000, ge=10, description="How many events of a run are kept; progress goes first.")
    events_bytes: Bytes = Field(1 << 20, description="How much they may be, the result not included.")


class Administrator(_Part):
    """One bearer token for the DBA's plane, and what its bearer may do."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="As the record of orders tells it.")
    token: Annotated[SecretStr, AfterValidator(_long_enough)] = Field(
        description=f"{TOKEN_CHARACTERS_MIN} characters or more, from ${{NAME}} or ${{file:PATH}}."
    )
    may: Literal["order", "look"] = Field("order", description="Whether it may give orders, or only look.")


class AdminSettings(_Part):
    """The DBA's plane: where it is, and who may use it."""

    listen: Annotated[str, AfterValidator(_tcp_or_unix)] | None = Field(
        None,
        description="Where AdminService is served, and nowhere else: HOST:PORT, or unix:PATH, which is then its "
        "owner's alone. If left out, at `pooler.listen`.",
    )
    tokens: Annotated[tuple[Administrator, ...], AfterValidator(_distinct)] = Field(
        (), description="Who may look and order. None: whoever reaches the address."
    )


class PoolerSettings(_Part):
    """What holds for the whole pooler."""

    listen: Annotated[str, AfterValidator(_tcp_or_unix)] = Field(
        "127.0.0.1:7433", description="Where gRPC is served: HOST:PORT, or unix:PATH."
    )
    http: Annotated[str, AfterValidator(_tcp)] = Field(
        "127.0.0.1:7434", description="Where /healthz, /readyz and /metrics are served."
    )
    admin: AdminSettings = Field(AdminSettings())
    state_dir: Path = Field(
        Path(".penstock"),
        description="What a pooler keeps for the one after it: its name, and a file for each slot. "
        "A folder of its own, on a local disk, relative to where the pooler is started.",
    )
    store: Literal["memory", "sqlite"] = Field(
        "memory",
        description="Where conversations, runs and the like are kept: in memory, or in a file in `state_dir`, "
        "so that they are still there after a restart.",
    )
    handle_keys: tuple[Annotated[SecretStr, AfterValidator(_sealing)], ...] | None = Field(
        None,
        min_length=1,
        description="Secrets that seal what callers hold of this state: the first seals, all open. 32 bytes in base64 "
        "each, from ${NAME} or ${file:PATH}. Without them one is made and kept in `state_dir`.",
    )
    conversations: ConversationSettings = Field(ConversationSettings())
    spool: SpoolSettings = Field(SpoolSettings())
    runs: RunSettings = Field(RunSettings())
    watches_max: Count = Field(
        10_000, ge=1, description="The most resources that are watched at once, each counted for each of its watchers."
    )
    cache_bytes: Annotated[int, BeforeValidator(_number), Field(ge=1 << 16, le=1 << 40)] = Field(
        64 << 20, description="Of all answers that are kept for others, in memory."
    )
    calls_max: Count = Field(10_000, ge=1, description="The most calls at once; one more is refused.")
    request_bytes_max: Bytes = Field(4 << 20, description="The largest request.")
    vanished_seconds: Seconds = Field(
        30.0, description="How long a caller may be silent, even to a ping, before its calls are given up."
    )
    drain_grace_seconds: Seconds = Field(
        30.0, description="How long ending may take after SIGTERM; running calls may use two thirds of it or more."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    def sealing_keys(self) -> list[bytes]:
        """The configured `handle_keys`, decoded."""
        return [_decoded(secret) for secret in self.handle_keys or ()]


class Pool(_Part):
    """How many connections a backend may ever see, and how they are kept."""

    cap: Count = Field(ge=1, description="The most connections the backend may ever see, dying ones included.")
    warm: Count = Field(0, ge=0, description="How many connections are kept open without any demand.")
    parallel_starts: Count = Field(2, ge=1, description="How many connections may be starting at once.")
    start_timeout_seconds: Seconds = Field(60.0, description="How long a start may take.")
    queue_max: Count = Field(1000, ge=0, description="How many calls may wait; one more is refused at once.")
    queue_timeout_seconds: Seconds = Field(
        default_factory=lambda known: known["start_timeout_seconds"] + 10,
        description="How long a call may wait before the backend's work begins; the start time-out + 10 if left out.",
    )
    max_uses: Count | None = Field(None, ge=1, description="How many calls a connection serves, for clients that leak.")
    adaptive: bool = Field(
        False, description="Whether to use fewer connections while the backend slows down under them."
    )
    idle_seconds: Seconds = Field(600.0, description="How long an unused connection stays open.")
    lifetime_seconds: Seconds = Field(3600.0, description="How old a connection may grow.")
    validate_after_seconds: Seconds = Field(30.0, description="After how long idle a connection is asked for a sign.")
    validate_timeout_seconds: Seconds = Field(5.0, description="How long that sign may take.")
    cancel_timeout_seconds: Seconds = Field(10.0, description="How long stopping a call's work may take.")
    close_timeout_seconds: Seconds = Field(10.0, description="How long closing a connection may take.")
    reap_seconds: Seconds = Field(
        60.0, description="How long a slot stays taken after a close that the backend could not confirm."
    )


class Tenant(_Part):
    """What a tenant may have of each backend, where several want it."""

    weight: Annotated[float, BeforeValidator(_number), Field(gt=0, le=1000, allow_inf_nan=False)] = Field(
        1.0, description="Its share beside the others': twice the weight, twice the backend's time."
    )
    queue_max: Count | None = Field(None, ge=1, description="How many of its calls may wait.")
    connections_max: Count | None = Field(None, ge=1, description="How many connections it may use at once.")


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """One old system: its kind, the kind's own settings, and its pool."""

    kind: str
    settings: Settings = field(repr=False)
    """Not in the repr: what was filled in may stand in any of its texts."""
    pool: Pool
    keeping: Keeping = field(default_factory=Keeping)
    """What its callers may keep."""


@dataclass(frozen=True, slots=True)
class Config:
    """One sound configuration. `frontend` is as it stands in the file: only the frontend itself fills it in."""

    file: Path
    pooler: PoolerSettings
    backends: Mapping[str, BackendConfig]
    operations: Mapping[str, OperationConfig]
    prompts: Mapping[str, PromptConfig]
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    frontend: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Names only: what was filled in from outside may stand in any value."""
        return f"Config({str(self.file)!r}, backends={[*self.backends]}, operations={[*self.operations]})"
