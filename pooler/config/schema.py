"""The JSON Schema of the whole file, for editors: completion and checks while somebody writes a configuration."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pooler.backends import registry
from pooler.config.keeping import Keeping
from pooler.config.model import Pool, PoolerSettings, Tenant
from pooler.config.operations import OperationConfig, PromptConfig

_REFERENCE = {"type": "string", "pattern": r"\$\{"}


def file_schema(frontend: dict[str, Any] | None) -> dict[str, Any]:
    """The schema (2020-12). `frontend`: the frontend's own schema of its section, when it is installed."""
    kinds = {kind: registry.settings_of(kind) for kind in registry.KINDS}
    parts: list[type[BaseModel]] = [Pool, Keeping, PoolerSettings, OperationConfig, PromptConfig, Tenant]
    names, shared = models_json_schema([(model, "validation") for model in (*parts, *kinds.values())], title="Penstock")
    definitions: dict[str, Any] = shared["$defs"]

    def reference(model: type[BaseModel]) -> dict[str, Any]:
        return dict(names[(model, "validation")])

    def described(model: type[BaseModel]) -> dict[str, Any]:
        return dict(definitions[reference(model)["$ref"].rpartition("/")[2]])

    keys = described(Keeping)["properties"]
    for kind, model in kinds.items():
        definitions[f"backend-{kind}"] = _backend(kind, described(model), {"pool": reference(Pool), **keys})
    section, inner = _frontend(frontend)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock's configuration",
        "type": "object",
        "properties": {
            "pooler": reference(PoolerSettings),
            "frontend": section,
            "backends": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"oneOf": [{"$ref": f"#/$defs/backend-{kind}"} for kind in kinds]},
            },
            "operations": {"type": "object", "additionalProperties": reference(OperationConfig)},
            "prompts": {"type": "object", "additionalProperties": reference(PromptConfig)},
            "tenants": {"type": "object", "additionalProperties": reference(Tenant)},
        },
        "additionalProperties": False,
        "$defs": {name: _with_references(part) for name, part in definitions.items()} | inner,
    }


def _backend(kind: str, own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"kind": {"const": kind}, **shared, **own.get("properties", {})},
        "required": ["kind", "pool", *own.get("required", [])],
        "additionalProperties": False,
    }


def _frontend(schema: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The section, and the definitions that it refers to."""
    if schema is None:
        return {"type": "object", "description": "Not described: the frontend is not installed here."}, {}
    inner = schema.get("$defs", {})
    section = {key: value for key, value in schema.items() if key not in ("$defs", "$schema")}
    return _with_references(section), {name: _with_references(part) for name, part in inner.items()}


def _with_references(schema: Any) -> Any:
    """The same schema, where a number, a choice or true and false may also be a reference to be filled in."""
    if isinstance(schema, list):
        return [_with_references(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in ("integer", "number", "boolean") or "enum" in schema:
        outer = {key: schema[key] for key in ("title", "description", "default") if key in schema}
        return outer | {"anyOf": [{key: value for key, value in schema.items() if key not in outer}, _REFERENCE]}
    return {key: value if key in ("default", "const") else _with_references(value) for key, value in schema.items()}
