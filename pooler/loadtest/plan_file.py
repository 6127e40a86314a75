"""A plan from a file and from the command line, which wins; every fault with its place in the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pooler.config.document import Document
from pooler.config.faults import ConfigError
from pooler.config.sentences import validated
from pooler.loadtest.fitting import PlanError
from pooler.loadtest.plan import Plan


def plan_of(file: Path | None, flags: Mapping[str, Any]) -> Plan:
    """The plan that a file (or nothing) and flags make together: a flag replaces what the file says under its key.

    Mappings are merged one level deep, so that an address on the command line leaves the rest of `target` alone.
    Raises ConfigError for faults of the file, PlanError for those of flags.
    """
    if file is None:
        return _validated(_merged({}, flags))
    document = Document(file, begins="steps:")
    _check_secrets(document)
    plan = validated(Plan, document.data, (), document)
    if plan is None or document.faults:
        raise ConfigError(document.faults)
    return _validated(_merged(document.data, flags)) if flags else plan


def _merged(data: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(data)
    for key, value in flags.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _validated(data: Mapping[str, Any]) -> Plan:
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise PlanError("\n".join(f"{_place(each['loc'])}: {_words(each)}" for each in details)) from None


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the plan"


def _words(detail: Any) -> str:
    return str(detail["msg"]).removeprefix("Value error, ").replace("Input should", "must", 1)


def _check_secrets(document: Document) -> None:
    """Tokens and a database's address with its password stand elsewhere, as in a configuration."""
    tenants = document.data.get("tenants")
    paths: list[tuple[str, ...]] = [("observe",)]
    paths += [("tenants", str(name), "token") for name in tenants] if isinstance(tenants, dict) else []
    for path in paths:
        value: Any = document.data
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and path not in document.templates and "${" not in value:
            document.fault(path, "a secret stands in the file; write ${NAME} or ${file:PATH} and keep it there")
