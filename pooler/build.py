"""From a configuration to the parts of a running pooler: adapters, rules, routes. Starts nothing.

What did not change keeps its adapter, so that a reload closes no connection without need.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jsonschema_rs

from pooler.backends import by_key, registry
from pooler.backends.base import Adapter
from pooler.config import BackendConfig, Config
from pooler.config.keeping import session_operations, with_session
from pooler.config.model import ConversationSettings, RunSettings, SpoolSettings
from pooler.config.operations import OperationConfig
from pooler.core import conversations, sessions
from pooler.core.cache import Terms
from pooler.core.fairness import Share
from pooler.core.rules import Rules
from pooler.core.sessions import Tools
from pooler.runtime import keyed
from pooler.runtime.desks import Desk, Settings
from pooler.runtime.driver import Driver
from pooler.runtime.pages import Limits
from pooler.runtime.results import Paging
from pooler.runtime.reuse import reading
from pooler.runtime.reuse.room import Answers, Subject
from pooler.runtime.reuse.writing import Committing, Writing
from pooler.runtime.routes import Reusing, Route
from pooler.runtime.runs import RunBounds
from pooler.runtime.runs.log import LogBounds
from pooler.runtime.starter import Bounds
from pooler.runtime.turns import Kit
from pooler.runtime.watches.room import Rule


class BuildError(Exception):
    """A sound configuration that cannot be carried out here: a missing driver, a cap that leaves no connection."""


@dataclass(frozen=True, slots=True)
class Part:
    """One backend, ready for a driver."""

    config: BackendConfig
    kit: Kit
    rules: Rules
    bounds: Bounds


def parts(config: Config, before: Mapping[str, Part]) -> dict[str, Part]:
    """Every backend of a configuration. Raises BuildError naming the backend."""
    return {name: _part(name, backend, config, before.get(name)) for name, backend in config.backends.items()}


def _part(name: str, backend: BackendConfig, config: Config, before: Part | None) -> Part:
    try:
        adapter = _adapter(backend, before)
        operations = [
            operation.to_operation(operation_name)
            for operation_name, operation in config.operations.items()
            if operation.backend == name
        ]
        prepared = {operation.name: adapter.prepare(operation) for operation in operations}
        for operation in operations:
            if operation.order_by:
                prepared[keyed.behind(operation.name)] = adapter.prepare(replace(operation, behind=True))
    except (ImportError, ValueError) as error:
        raise BuildError(f"backend {name}: {error}") from error
    return Part(backend, Kit(backend.kind, adapter, prepared), _rules(name, backend, adapter, config), _bounds(backend))


def _adapter(backend: BackendConfig, before: Part | None) -> Adapter[Any, Any]:
    if before is not None and (before.config.kind, before.config.settings) == (backend.kind, backend.settings):
        return before.kit.adapter
    return registry.build(backend.kind, backend.settings)


def _rules(name: str, backend: BackendConfig, adapter: Adapter[Any, Any], config: Config) -> Rules:
    pool, reserve = backend.pool, adapter.traits.reserve
    if pool.cap <= reserve:
        raise BuildError(
            f"backend {name}: cap {pool.cap} leaves no connection for calls, because {reserve} of it is kept for "
            f"cancels over a second connection; raise pool.cap to {reserve + 1} or more"
        )
    return Rules(
        cap=pool.cap,
        reserve=reserve,
        warm=min(pool.warm, pool.cap - reserve),
        parallel_starts=pool.parallel_starts,
        queue_max=pool.queue_max,
        idle_seconds=pool.idle_seconds,
        lifetime_seconds=pool.lifetime_seconds,
        validate_after_seconds=pool.validate_after_seconds,
        max_uses=pool.max_uses,
        adaptive=pool.adaptive,
        shared_fate=adapter.traits.fate == "shared",
        sharing=any(
            operation.share or not (operation.exclusive or backend.settings.shares)
            for operation in config.operations.values()
            if operation.backend == name
        ),
        shares={
            tenant: Share(limits.weight, limits.queue_max, limits.connections_max)
            for tenant, limits in config.tenants.items()
        },
    )


def _bounds(backend: BackendConfig) -> Bounds:
    pool = backend.pool
    return Bounds(
        start=pool.start_timeout_seconds,
        validate=pool.validate_timeout_seconds,
        cancel=pool.cancel_timeout_seconds,
        close=pool.close_timeout_seconds,
        reap=pool.reap_seconds,
    )


def limits(settings: SpoolSettings) -> Limits:
    """How much is kept of results."""
    return Limits(settings.memory_bytes, settings.tenant_bytes, settings.keep_seconds, settings.hold_seconds)


def conversation_limits(settings: ConversationSettings) -> conversations.Limits:
    """How long conversations are kept."""
    return conversations.Limits(settings.idle_seconds, settings.lifetime_seconds, settings.per_principal_max)


def run_bounds(settings: RunSettings) -> RunBounds:
    """What runs may take."""
    return RunBounds(
        keep_seconds=settings.keep_seconds,
        tenant_max=settings.tenant_max,
        tenant_bytes=settings.tenant_bytes,
        log=LogBounds(settings.events_max, settings.events_bytes),
    )


def paging(name: str, operation: OperationConfig) -> Paging | None:
    """How an operation's results are cut into pages; None where there is one and no more."""
    if not operation.has_pages:
        return None
    keys = tuple(key.name for key in by_key.keys(operation.order_by or ()))
    return Paging(name, operation.page_rows, operation.page_bytes, keys)


def keeping(parts: Mapping[str, Part]) -> dict[str, Settings]:
    """What callers may keep, by backend; those are left out of which they may keep nothing."""
    found = {name: _kept(part) for name, part in parts.items()}
    return {name: each for name, each in found.items() if each.limits or each.pin_idle_seconds is not None}


def _kept(part: Part) -> Settings:
    keys, places, limits = part.config.keeping, part.rules.places, None
    if (asked := keys.sessions) is not None:
        most = max(1, places // 2) if asked.max is None else min(asked.max, places)
        limits = sessions.Limits(most, asked.idle_seconds, asked.lifetime_seconds)
    idle_seconds = keys.pin_idle_seconds if keys.pin is not None else None
    return Settings(limits, part.kit.adapter.traits.tx == "local", idle_seconds)


def watching(config: Config) -> dict[str, Rule]:
    """How each resource is watched, by its operation; those are left out that are not."""
    return {
        name: Rule(watch.channel or "", watch.argument or "", watch.every_seconds or 0.0)
        for name, operation in config.operations.items()
        if (watch := operation.watch) is not None
    }


def hearing(config: Config, drivers: Mapping[str, Driver]) -> dict[Driver, str]:
    """The channels on which backends say what is not true any more of what they have answered."""
    return {
        drivers[name]: backend.keeping.invalidate.channel
        for name, backend in config.backends.items()
        if backend.keeping.invalidate is not None
    }


def reusing(config: Config, drivers: Mapping[str, Driver], answers: Answers) -> dict[str, Reusing]:
    """Who shares the answers of each operation, or knows which answers its work makes wrong."""
    found: dict[str, Reusing] = dict(answers.install(_subjects(config, drivers)))
    for name, operation in config.operations.items():
        if operation.effect == "write" and (operation.invalidates or answers.minds(operation.backend)):
            found[name] = Writing(answers, drivers[operation.backend], operation.invalidates)
    for name, backend in config.backends.items():
        if backend.keeping.sessions is not None and backend.settings.transactional:
            found[Tools.of(name, transactional=True).commit] = Committing(answers, drivers[name])
    return found


def _subjects(config: Config, drivers: Mapping[str, Driver]) -> dict[str, Subject]:
    return {
        name: Subject(drivers[operation.backend], _sharing(operation, config.backends[operation.backend]))
        for name, operation in config.operations.items()
        if operation.cache is not None or operation.flight
    }


def _sharing(operation: OperationConfig, backend: BackendConfig) -> reading.Rule:
    revision, cache = (operation, backend.kind, backend.settings), operation.cache
    if cache is None:
        return reading.Rule(Terms(), strict=True, revision=revision)  # nobody has said what else could make them wrong
    return reading.Rule(
        Terms(cache.ttl_seconds, cache.stale_seconds, cache.stale_if_down),
        cache.scope,
        cache.tags,
        cache.strict,
        cache.near,
        operation.flight is not False,
        revision,
    )


def routes(
    config: Config, drivers: Mapping[str, Driver], desks: Mapping[str, Desk], reuse: Mapping[str, Reusing]
) -> dict[str, Route]:
    """Where each operation's calls go: those that are configured, and those that sessions bring along."""
    found = _configured(config, drivers, desks) | _of_sessions(config, drivers, desks)
    return {name: replace(route, reuse=reuse[name]) if name in reuse else route for name, route in found.items()}


def _of_sessions(config: Config, drivers: Mapping[str, Driver], desks: Mapping[str, Desk]) -> dict[str, Route]:
    return {
        operation.name: Route(
            name=operation.name,
            driver=drivers[name],
            read=False,
            whole=True,
            timeout_seconds=operation.timeout_seconds,
            queue_timeout_seconds=backend.pool.queue_timeout_seconds,
            validator=jsonschema_rs.Draft202012Validator(operation.input_schema),
            desk=desks[name],
        )
        for name, backend in config.backends.items()
        for operation in session_operations(name, backend.keeping, backend.settings.transactional)
    }


def _configured(config: Config, drivers: Mapping[str, Driver], desks: Mapping[str, Desk]) -> dict[str, Route]:
    return {
        name: Route(
            name=name,
            driver=drivers[operation.backend],
            read=operation.effect == "read",
            whole=operation.exclusive or config.backends[operation.backend].settings.shares,
            shared=operation.share,
            timeout_seconds=operation.timeout_seconds,
            queue_timeout_seconds=config.backends[operation.backend].pool.queue_timeout_seconds,
            validator=jsonschema_rs.Draft202012Validator(
                with_session(operation.input_schema(), config.backends[operation.backend].keeping)
            ),
            defaults={
                argument: schema["default"] for argument, schema in operation.arguments.items() if "default" in schema
            },
            confirm=operation.confirm or "",
            paging=paging(name, operation),
            desk=desks.get(operation.backend),
        )
        for name, operation in config.operations.items()
    }
