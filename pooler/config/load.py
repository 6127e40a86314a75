"""Loads a configuration: the file, its references, its models and their cross checks, with every fault at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pooler.backends import registry
from pooler.config import check
from pooler.config.document import Document
from pooler.config.faults import ConfigError, KeyPath, listed, nearest
from pooler.config.keeping import Keeping
from pooler.config.model import BackendConfig, Config, Pool, PoolerSettings, Tenant
from pooler.config.operations import OperationConfig, PromptArgumentConfig, PromptConfig
from pooler.config.sentences import validated
from pooler.config.sharing import check_invalidation, check_sharing

SECTIONS = ("pooler", "frontend", "backends", "operations", "prompts", "tenants")
POOLER_SECTIONS = frozenset({"pooler", "backends", "operations", "prompts", "tenants"})
"""What the pooler fills references into: it needs none of the frontend's secrets, nor the frontend any of its."""

_FRONTEND_KEY = re.compile(r"[a-z][a-z0-9_]*")
_PartT = TypeVar("_PartT")


def load(path: Path) -> Config:
    """The configuration in a file, for the pooler. Raises ConfigError with every fault that it has."""
    document = Document(path, POOLER_SECTIONS)
    config = build(document)
    if config is None or document.faults:
        raise ConfigError(document.faults)
    return config


def load_frontend(path: Path) -> dict[str, Any]:
    """The frontend's section with its references filled in; its keys are checked by the frontend itself.

    Raises ConfigError.
    """
    document = Document(path, frozenset({"frontend"}))
    section = frontend_section(document)
    if document.faults:
        raise ConfigError(document.faults)
    return section


def build(document: Document) -> Config | None:
    """The document as a configuration; notes every fault in it. None when it has any that leaves a part unknown."""
    for key in document.data:
        if key not in SECTIONS:
            document.fault((key,), f"unknown key; {nearest(key, SECTIONS)}", at_key=True)
    pooler = validated(PoolerSettings, document.data.get("pooler"), ("pooler",), document)
    _check_secrets(document.data.get("pooler"), "handle_keys", document)
    _check_admin(document.data.get("pooler"), document)
    backends = {name: _backend(name, data, document) for name, data in _section("backends", document).items()}
    operations = {name: _operation(name, data, document) for name, data in _section("operations", document).items()}
    prompts = {
        name: validated(PromptConfig, data, ("prompts", name), document)
        for name, data in _section("prompts", document).items()
    }
    tenants = {
        name: validated(Tenant, data, ("tenants", name), document)
        for name, data in _section("tenants", document).items()
    }
    frontend = frontend_section(document)
    if not backends:
        document.fault(("backends",), "is missing; name at least one backend, its kind and its pool", at_key=True)
    _check_all(backends, operations, prompts, document)
    if pooler is None or document.faults:
        return None
    known = _only(operations)
    return Config(
        file=document.file,
        pooler=pooler,
        backends=_only(backends),
        operations=known,
        prompts={name: _completed(prompt, known) for name, prompt in _only(prompts).items()},
        tenants=_only(tenants),
        frontend=frontend,
    )


def frontend_section(document: Document) -> dict[str, Any]:
    """The frontend's keys, which must be able to stand in the name of an environment variable."""
    section = _section("frontend", document)
    for key in section:
        if not _FRONTEND_KEY.fullmatch(key):
            document.fault(("frontend", key), "is no usable key; use small letters, digits and `_`", at_key=True)
    tokens = section.get("tokens")
    for index, entry in enumerate(tokens if isinstance(tokens, list) else []):
        _check_token(entry, index, document)
    return section


def _check_token(entry: Any, index: int, document: Document) -> None:
    token = entry.get("token") if isinstance(entry, dict) else None
    _check_secret(token, ("frontend", "tokens", index, "token"), document)


def _check_secrets(section: Any, key: str, document: Document) -> None:
    secrets = section.get(key) if isinstance(section, dict) else None
    for index, secret in enumerate(secrets if isinstance(secrets, list) else []):
        _check_secret(secret, ("pooler", key, index), document)


def _check_admin(section: Any, document: Document) -> None:
    admin = section.get("admin") if isinstance(section, dict) else None
    tokens = admin.get("tokens") if isinstance(admin, dict) else None
    for index, entry in enumerate(tokens if isinstance(tokens, list) else []):
        token = entry.get("token") if isinstance(entry, dict) else None
        _check_secret(token, ("pooler", "admin", "tokens", index, "token"), document)


def _check_secret(secret: Any, path: KeyPath, document: Document) -> None:
    if isinstance(secret, str) and path not in document.templates and "${" not in secret:
        document.fault(path, "a secret stands in the file; write ${NAME} or ${file:PATH} and keep it there")


def _section(name: str, document: Document) -> dict[str, Any]:
    data = document.data.get(name)
    if data is None:
        return {}
    if not isinstance(data, dict):
        document.fault((name,), "must be a mapping of keys to values")
        return {}
    return data


def _operation(name: str, data: Any, document: Document) -> OperationConfig | None:
    """One operation. When a key is faulty that the cross checks can do without, a stand-in takes its place:
    the faults between the other keys should come to light in the same run."""
    before = len(document.faults)
    operation = validated(OperationConfig, data, ("operations", name), document)
    if operation is not None or not isinstance(data, dict):
        return operation
    faulty = {fault.path[2] for fault in document.faults[before:] if len(fault.path) > 2}
    rest = {key: value for key, value in data.items() if key not in faulty}
    if faulty & {"statement", "method", "arguments", "resource"} or not rest.keys() & {"statement", "method"}:
        return None
    return OperationConfig.model_validate({"backend": "", "effect": "read"} | rest)


def _backend(name: str, data: Any, document: Document) -> BackendConfig | None:
    path: KeyPath = ("backends", name)
    if not isinstance(data, dict):
        document.fault(path, "must be a mapping with `kind`, `pool` and the keys of its kind")
        return None
    pool = validated(Pool, data.get("pool"), (*path, "pool"), document)
    kind = data.get("kind")
    if kind not in registry.KINDS:
        if "kind" not in data:
            document.fault((*path, "kind"), f"is missing; known are {listed(registry.KINDS)}", at_key=True)
        else:
            document.fault((*path, "kind"), f"no such kind; {nearest(str(kind), registry.KINDS)}")
        return None
    own = {key: value for key, value in data.items() if key not in ("kind", "pool", *Keeping.model_fields)}
    settings = validated(registry.settings_of(kind), own, path, document)
    kept = {key: value for key, value in data.items() if key in Keeping.model_fields}
    keeping = validated(Keeping, kept, path, document)
    return BackendConfig(kind, settings, pool, keeping) if settings and pool and keeping else None


def _check_all(
    backends: check.Backends,
    operations: check.Operations,
    prompts: Mapping[str, PromptConfig | None],
    document: Document,
) -> None:
    for name, backend in _only(backends).items():
        check.check_backend(name, backend, document)
        check.check_keeping(name, backend, operations, document)
        check_invalidation(name, backend, document)
    for name, operation in _only(operations).items():
        check.check_operation(name, operation, backends, operations, document)
        check_sharing(operation, backends.get(operation.backend), ("operations", name), document)
    for name, prompt in _only(prompts).items():
        check.check_prompt(name, prompt, operations, document)
    check.check_resources(operations, document)


def _only(parts: Mapping[str, _PartT | None]) -> dict[str, _PartT]:
    return {name: part for name, part in parts.items() if part is not None}


def _completed(prompt: PromptConfig, operations: Mapping[str, OperationConfig]) -> PromptConfig:
    """A prompt made by an operation takes that operation's arguments unless it names its own."""
    if prompt.operation is None or prompt.arguments:
        return prompt
    operation = operations[prompt.operation]
    completions = operation.completions()
    arguments = {
        name: PromptArgumentConfig(
            description=schema.get("description", ""),
            required=name in operation.required(),
            complete=completions.get(name),
        )
        for name, schema in operation.properties().items()
    }
    return prompt.model_copy(update={"arguments": arguments})
