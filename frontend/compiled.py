"""The operations of one revision with their schemas compiled: which there are, and whether arguments fit.

All that a call needs to know of a catalogue. It never changes, and it knows nothing of what clients are shown.
"""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from frontend.logs import Logger
from frontend.operations import Offer, Operation

log = Logger(__name__)

FAULTS_MAX = 20
"""Misfits named in one answer; a model mends no more at once."""


class Compiled:
    """Operations whose schema cannot be compiled are left out, rather than offered unchecked."""

    def __init__(self, offer: Offer) -> None:
        self.revision = offer.revision
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}
        self.operations = {operation.name: operation for operation in offer.operations if self._compile(operation)}
        self.tools = {name: operation for name, operation in self.operations.items() if operation.tool}

    def __repr__(self) -> str:
        return f"Compiled({self.revision!r}, {len(self.operations)} operations)"

    def validator(self, operation: Operation) -> jsonschema_rs.Draft202012Validator:
        """What arguments of an operation are checked by."""
        return self._validators[operation.name]

    def faults(self, operation: Operation, arguments: Mapping[str, Any]) -> list[str]:
        """Why the arguments do not fit the operation's schema, each with its place; empty when they do."""
        faults = []
        for error in self._validators[operation.name].iter_errors(arguments):
            place = ".".join(str(step) for step in error.instance_path)
            faults.append(f"{place}: {_shortened(error.message)}" if place else _shortened(error.message))
            if len(faults) == FAULTS_MAX:
                break
        return faults

    def _compile(self, operation: Operation) -> bool:
        try:
            self._validators[operation.name] = jsonschema_rs.Draft202012Validator(
                dict(operation.input_schema), retriever=_never_fetch
            )
        except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            log.warning("operation left out, its schema is wrong", operation=operation.name, error=str(error))
            return False
        return True


def _shortened(message: str) -> str:
    return message if len(message) <= 300 else message[:297] + "…"


def _never_fetch(uri: str) -> Any:
    raise ValueError(f"a schema may refer to itself only, not to {uri}")
