"""Turns what pydantic has to say about a part of the document into faults: sentences with a place and a remedy."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pooler.config.document import Document
from pooler.config.faults import KeyPath, nearest

ModelT = TypeVar("ModelT", bound=BaseModel)

_SENTENCES = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text; put it in quotes",
    "path_type": "must be a path; put it in quotes",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_SILENT = frozenset({"default_factory_not_called"})
"""Consequences of another fault that is reported already."""


def validated(model: type[ModelT], data: Any, path: KeyPath, document: Document) -> ModelT | None:
    """One part of the document as its model, or None after noting every fault in the document."""
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] not in _SILENT:
                _note(detail, model, path, document)
        return None


def _note(detail: ErrorDetails, model: type[BaseModel], root: KeyPath, document: Document) -> None:
    path = root + tuple(step for step in detail["loc"] if step != "[key]")
    match detail["type"]:
        case "extra_forbidden":
            known = _keys_at(model, detail["loc"][:-1])
            document.fault(path, f"unknown key; {nearest(str(path[-1]), known)}", at_key=True)
        case "missing":
            document.fault(path, f"is missing; add it{_purpose(model, detail['loc'])}", at_key=True)
        case _:
            document.fault(path, _sentence(detail))
    document.settle(path)


def _sentence(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        return f"must be {words} {bound:g}" if isinstance(bound, float) else f"must be {words} {bound}"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    # pydantic's own words, which name the expectation and never the value.
    return _SENTENCES.get(kind) or detail["msg"].replace("Input should", "must", 1)


def _purpose(model: type[BaseModel], location: KeyPath) -> str:
    owner = _model_at(model, location[:-1])
    described = (
        owner.model_fields[str(location[-1])].description if owner and location[-1] in owner.model_fields else None
    )
    return f" ({described[0].lower()}{described[1:].rstrip('.')})" if described else ""


def _keys_at(model: type[BaseModel], location: KeyPath) -> Mapping[str, Any]:
    owner = _model_at(model, location)
    return owner.model_fields if owner else {}


def _model_at(model: type[BaseModel], location: KeyPath) -> type[BaseModel] | None:
    """The model that a location inside another one belongs to; None where the document's own mappings begin."""
    current: Any = model
    for step in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(step))
            current = field.annotation if field else None
        else:
            current = next(iter(get_args(current)[-1:]), None)
    candidates = (current, *get_args(current))  # a part that may be left out is one of several types
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)
