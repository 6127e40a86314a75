"""Holds a plan against what may be called, before the first call is sent: names, effects, arguments.

A plan that names no operation gets one that reads and that can be called without knowing anybody's data.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import jsonschema_rs

from pooler.config.faults import nearest
from pooler.loadtest.calls import sample
from pooler.loadtest.plan import CallSpec, Plan
from pooler.service.load_watch import Offered

SAMPLES = 20
"""Arguments made of each kind of call, to be held against its schema: most misfits show at the first."""


class PlanError(Exception):
    """A plan that cannot be carried out here. The message has every fault, a line each."""


def fitted(plan: Plan, catalogue: Sequence[Offered]) -> Plan:
    """The plan with its calls found where it names none. Raises PlanError with all that does not fit."""
    plan = plan if plan.calls else plan.model_copy(update={"calls": (_found(catalogue),)})
    known = {operation.name: operation for operation in catalogue}
    faults = [fault for spec in plan.calls for fault in _faults(spec, known, plan)]
    if faults:
        raise PlanError("\n".join(dict.fromkeys(faults)))
    return plan


def _faults(spec: CallSpec, known: Mapping[str, Offered], plan: Plan) -> list[str]:
    if (operation := known.get(spec.operation)) is None:
        return [f"there is no operation {spec.operation!r}; {nearest(spec.operation, known)}"]
    if not operation.reads and not plan.writes:
        return [f"{spec.operation!r} changes something; to call it all the same, say `writes: true` or --writes"]
    validator, chance = jsonschema_rs.Draft202012Validator(operation.schema), Random(plan.seed)  # noqa: S311 - a load
    for _ in range(SAMPLES):
        errors = [f"{_place(error)}{error.message}" for error in validator.iter_errors(sample(spec, chance))]
        if errors:
            return [f"{spec.operation!r} would be called with arguments that do not fit: {'; '.join(errors[:3])}"]
    return []


def _place(error: jsonschema_rs.ValidationError) -> str:
    path = ".".join(map(str, error.instance_path))
    return f"{path}: " if path else ""


def _found(catalogue: Sequence[Offered]) -> CallSpec:
    for operation in catalogue:
        if operation.reads and (arguments := _guessed(operation.schema)) is not None:
            return CallSpec(operation=operation.name, arguments=arguments)
    names = ", ".join(operation.name for operation in catalogue if operation.reads) or "none"
    raise PlanError(f"no operation can be called without knowing its arguments; name one that reads: {names}")


def _guessed(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """How its required arguments can be made from what the schema says alone; None when they cannot."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    made = {name: _any_of(properties.get(name) or {}) for name in schema.get("required") or ()}
    return None if None in made.values() else made


def _any_of(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    match schema:
        case {"const": value}:
            return {"value": value}
        case {"enum": [*values]}:
            return {"choice": values}
        case {"type": "boolean"}:
            return {"choice": [True, False]}
        case {"type": "integer", "minimum": int(least), "maximum": int(most)}:
            return {"range": [least, most]}
    return None
