"""The kinds of backend, each named with the module that has it; a module is imported when a configuration names it."""

from importlib import import_module
from typing import Any

from pooler.backends.base import Adapter, Settings

KINDS = ("postgres", "process", "simulated", "sqlalchemy")
"""A kind `k` is the package `pooler.backends.k`, with `settings.Settings` and `adapter.build`."""


def settings_of(kind: str) -> type[Settings]:
    """The pydantic model of a kind's own configuration keys. Imports no driver."""
    model: type[Settings] = import_module(f"pooler.backends.{kind}.settings").Settings
    return model


def build(kind: str, settings: Settings) -> Adapter[Any, Any]:
    """Makes a backend's adapter. Raises ImportError, naming the extra to install, when its driver is missing."""
    try:
        module = import_module(f"pooler.backends.{kind}.adapter")
    except ModuleNotFoundError as error:
        raise ImportError(f"kind {kind!r} needs the package {error.name!r}: pip install 'penstock[{kind}]'") from error
    adapter: Adapter[Any, Any] = module.build(settings)
    return adapter
