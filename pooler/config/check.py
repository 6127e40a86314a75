"""What no single key can say of itself: whether the parts of a configuration fit together. Starts nothing."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jsonschema_rs

from pooler.config.document import Document
from pooler.config.faults import KeyPath, listed, nearest
from pooler.config.keeping import SESSION, session_operations
from pooler.config.model import BackendConfig
from pooler.config.operations import OperationConfig, PromptConfig
from pooler.config.watching import check_watch
from pooler.runtime.questions import PLACE as CONFIRM_PLACE

Backends = Mapping[str, BackendConfig | None]
Operations = Mapping[str, OperationConfig | None]
"""By name; None where a part is already known to be faulty: it exists, and says no more."""

TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""What MCP takes as a tool's name."""
BACKEND_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Stands in connection tags and in names of health services, between slashes."""
ARGUMENT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What the models' own interfaces take as a property's name."""

OUR_KEYWORDS = frozenset({"type", "properties", "additionalProperties"})
"""Of the arguments' JSON Schema: what is made from the arguments themselves."""
_EXPRESSION = re.compile(r"\{[+#./;?&]?([^{}]*)\}")
_UNMATCHED = re.compile(r"\{[^{}]*:[0-9]+[^{}]*\}|\{[^{}]*(\{|$)|(^|\})[^{}]*\}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+")
_TEXT_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def check_backend(name: str, backend: BackendConfig, document: Document) -> None:
    """The name, and a pool that agrees with itself."""
    path: KeyPath = ("backends", name)
    _check_name(name, BACKEND_NAME, "letters, digits, `_` and `-`, at most 64", path, document)
    if backend.pool.warm > backend.pool.cap:
        document.fault(
            (*path, "pool", "warm"), f"must be at most the cap, which is {backend.pool.cap}; lower it or raise the cap"
        )


def check_keeping(name: str, backend: BackendConfig, operations: Operations, document: Document) -> None:
    """A backend's sessions, and the operations that it has because of them."""
    keeping, path = backend.keeping, ("backends", name, "sessions")
    if keeping.sessions is None:
        return
    if (most := keeping.sessions.max) is not None and most > backend.pool.cap:
        document.fault((*path, "max"), f"must be at most the cap, which is {backend.pool.cap}: each has a connection")
    for own in session_operations(name, keeping, backend.settings.transactional):
        if own.name in operations:
            sentence = f"is an operation that {name!r} has because of its sessions; choose another name for this one"
            document.fault(("operations", own.name), sentence, at_key=True)
    for operation_name, operation in operations.items():
        if operation is not None and operation.backend == name and SESSION in operation.arguments:
            here = ("operations", operation_name, "arguments", SESSION)
            sentence = f"names the session of a call, since {name!r} has sessions; choose another name"
            document.fault(here, sentence, at_key=True)


def check_operation(
    name: str, operation: OperationConfig, backends: Backends, operations: Operations, document: Document
) -> None:
    """Everything between an operation and what it refers to."""
    path: KeyPath = ("operations", name)
    _check_name(name, TOOL_NAME, "letters, digits, `_`, `-` and `.`, at most 128", path, document)
    if (operation.statement is None) == (operation.method is None):
        document.fault(path, "needs either a `statement` or a `method`; give exactly one of them", at_key=True)
    elif not _check_arguments(operation, operations, path, document):
        _check_returns(operation, path, document)
        _check_kind(name, operation, backends, document)
        _check_paging(name, operation, backends, document)
        _check_asking(operation, path, document)
        _check_sharing(name, operation, backends, document)
    if operation.backend not in backends:
        document.fault((*path, "backend"), f"no backend is called that; {nearest(operation.backend, backends)}")
    _check_resource(operation, path, document)
    check_watch(operation, backends.get(operation.backend), path, document)


def check_prompt(name: str, prompt: PromptConfig, operations: Operations, document: Document) -> None:
    """Everything between a prompt and its text, or its operation."""
    path: KeyPath = ("prompts", name)
    _check_name(name, TOOL_NAME, "letters, digits, `_`, `-` and `.`, at most 128", path, document)
    if (prompt.text is None) == (prompt.operation is None):
        document.fault(path, "needs either a `text` or an `operation`; give exactly one of them", at_key=True)
    elif prompt.text is not None:
        _check_text(prompt.text, prompt, path, document)
    elif prompt.operation is not None and _known(prompt.operation, operations, (*path, "operation"), document):
        _check_prompt_operation(prompt, operations[prompt.operation], path, document)
    for argument, settings in prompt.arguments.items():
        if settings.complete is not None:
            here = (*path, "arguments", argument, "complete")
            _check_completion(settings.complete, argument, prompt.arguments, operations, here, document)


def check_resources(operations: Operations, document: Document) -> None:
    """No two operations may answer for one URI."""
    seen: dict[str, str] = {}
    for name, operation in operations.items():
        if operation is None or operation.resource is None:
            continue
        if (first := seen.setdefault(operation.resource, name)) != name:
            document.fault(
                ("operations", name, "resource"), f"is the resource of {first!r} already; change one of them"
            )


def _check_name(name: str, pattern: re.Pattern[str], words: str, path: KeyPath, document: Document) -> None:
    if not pattern.fullmatch(name):
        document.fault(path, f"is no usable name; use {words} characters", at_key=True)


def _check_arguments(operation: OperationConfig, operations: Operations, path: KeyPath, document: Document) -> bool:
    """Whether anything is wrong with the arguments."""
    before = len(document.faults)
    for name, schema in operation.arguments.items():
        here = (*path, "arguments", name)
        _check_name(name, ARGUMENT_NAME, "letters, digits, `_`, `-` and `.`, at most 64", here, document)
        if "complete" in schema:
            _check_completion(schema["complete"], name, operation.arguments, operations, (*here, "complete"), document)
    shared = {key: value for key, value in operation.constraints.items() if key == "$defs"}
    for name, schema in operation.properties().items():
        here = (*path, "arguments", name)
        if _sound_schema(shared | schema, here, document) and "default" in schema:
            _check_default(shared | schema, (*here, "default"), document)
    if len(document.faults) == before:
        _check_constraints(operation, (*path, "constraints"), document)
    return len(document.faults) > before


def _check_constraints(operation: OperationConfig, path: KeyPath, document: Document) -> None:
    """What holds for all arguments together is sound, and speaks of arguments that there are."""
    for key in sorted(operation.constraints.keys() & OUR_KEYWORDS):
        document.fault((*path, key), "is made from `arguments`; leave it out", at_key=True)
    required = operation.constraints.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        document.fault((*path, "required"), "must be a list of arguments")
        return
    if strangers := [name for name in required if name not in operation.arguments]:
        here = (*path, "required")
        document.fault(here, f"{strangers[0]!r} is no argument; {nearest(strangers[0], operation.arguments)}")
    if operation.constraints:
        _sound_schema(operation.constraints, path, document)


def _check_completion(
    name: Any, argument: str, siblings: Collection[str], operations: Operations, path: KeyPath, document: Document
) -> None:
    """A completing operation reads, and takes the text so far (as `value` or by the argument's own name) or nothing."""
    if not isinstance(name, str):
        document.fault(path, "must be the name of an operation")
    elif _known(name, operations, path, document) and (completing := operations[name]) is not None:
        if completing.effect != "read":
            document.fault(path, f"{name!r} writes, and completing happens at every keystroke; name one that reads")
        if completing.confirm is not None or completing.asks:
            document.fault(
                path, f"{name!r} asks its user, and completing happens at every keystroke; name one that does not"
            )
        known = {"value", argument, *siblings}
        if unmet := [wanted for wanted in completing.required() if wanted not in known]:
            document.fault(path, f"{name!r} requires {listed(unmet)}, which nobody knows here; give it a default")


def _check_default(schema: dict[str, Any], path: KeyPath, document: Document) -> None:
    validator = jsonschema_rs.Draft202012Validator(schema, retriever=_refuse)
    if not validator.is_valid(schema["default"]):
        document.fault(path, "does not fit the argument's own schema; correct one of them")


def _check_returns(operation: OperationConfig, path: KeyPath, document: Document) -> None:
    if operation.returns is None:
        return
    here = (*path, "returns")
    if operation.statement is not None:
        document.fault(here, "is for methods: a statement answers with a table or with a count; leave it out")
        return
    schema = operation.returns
    if isinstance(schema, dict) and _sound_schema(schema, here, document) and not isinstance(schema.get("type"), str):
        document.fault(here, "must say its `type`, as one word: only objects are answered as they are")


def _check_sharing(name: str, operation: OperationConfig, backends: Backends, document: Document) -> None:
    """Whoever shares a connection is short, reads, leaves nothing, and is in nobody's way."""
    if not operation.share:
        return
    path: KeyPath = ("operations", name, "share")
    reasons = []
    if operation.effect != "read":
        reasons.append("is for reads: a write has its connection for itself; leave it out")
    if operation.exclusive:
        reasons.append("contradicts `exclusive`; leave one of them out")
    if operation.order_by:
        reasons.append("is for results of one page, and `order_by` for more; leave one of them out")
    if operation.long or operation.long_after_seconds is not None or operation.asks:
        reasons.append("is for short reads: all others on the connection would wait; leave it out")
    backend = backends.get(operation.backend)
    if not reasons and backend is not None:
        reasons = backend.settings.check_share(operation.to_operation(name))
    for reason in reasons:
        document.fault(path, reason)


def _check_asking(operation: OperationConfig, path: KeyPath, document: Document) -> None:
    if operation.asks and operation.method is None:
        document.fault((*path, "asks"), "is for methods: a statement asks nobody; leave it out, or write a `confirm`")
    if operation.confirm is None:
        return
    here = (*path, "confirm")
    if re.search(r"[{}]", CONFIRM_PLACE.sub("", operation.confirm)):
        document.fault(here, "has a brace without its other half, or nothing that could be a name in one; write {name}")
        return
    for place in dict.fromkeys(CONFIRM_PLACE.findall(operation.confirm)):
        if place not in operation.arguments:
            document.fault(here, f"the place {{{place}}} is no argument; {nearest(place, operation.arguments)}")


def _check_kind(name: str, operation: OperationConfig, backends: Backends, document: Document) -> None:
    backend = backends.get(operation.backend)
    if backend is None:
        return
    key = "method" if operation.statement is None else "statement"
    for reason in backend.settings.check(operation.to_operation(name)):
        document.fault(("operations", name, key), reason)


def _check_paging(name: str, operation: OperationConfig, backends: Backends, document: Document) -> None:
    path: KeyPath = ("operations", name)
    if operation.has_pages and "cursor" in operation.arguments:
        document.fault(
            (*path, "arguments", "cursor"), "is how the next page is asked for; use another name", at_key=True
        )
    if operation.paged and operation.statement is not None:
        document.fault((*path, "paged"), "is for methods: a statement that reads has pages anyway; leave it out")
    elif operation.paged and (operation.effect != "read" or operation.returns is not None):
        document.fault((*path, "paged"), "is for methods that read, and whose answer is a table; leave it out")
    backend = backends.get(operation.backend)
    if operation.order_by is not None and backend is not None:
        for reason in backend.settings.check_keys(operation.to_operation(name)):
            document.fault((*path, "order_by"), reason)


def _check_resource(operation: OperationConfig, path: KeyPath, document: Document) -> None:
    if operation.resource is None:
        if operation.mime_type is not None:
            document.fault((*path, "mime_type"), "is for resources; add `resource` or leave it out")
        return
    here = (*path, "resource")
    if not _URI.fullmatch(operation.resource):
        document.fault(here, "must be a URI or a URI template with a scheme, for example orders://{customer}")
    if operation.effect != "read":
        document.fault(here, "reading a resource may change nothing; only operations with `effect: read` can be one")
    if _UNMATCHED.search(operation.resource):
        document.fault(here, "a `:n` modifier, or a brace without its other half, cannot be matched; write {name}")
        return
    variables = template_variables(operation.resource)
    for variable in variables:
        if variable not in operation.arguments:
            document.fault(here, f"the variable {variable!r} is no argument; {nearest(variable, operation.arguments)}")
    if missing := [argument for argument in operation.required() if argument not in variables]:
        document.fault(here, f"has no place for {listed(missing)}; add it to the URI, or give the argument a default")


def _check_text(text: str, prompt: PromptConfig, path: KeyPath, document: Document) -> None:
    places = _TEXT_PLACE.findall(text)
    for place in dict.fromkeys(places):
        if place not in prompt.arguments:
            document.fault((*path, "text"), f"the place {{{place}}} is no argument; {nearest(place, prompt.arguments)}")
    for argument in prompt.arguments:
        if argument not in places:
            document.fault(
                (*path, "arguments", argument), f"has no place in the text; add {{{argument}}} or leave it out"
            )


def _check_prompt_operation(
    prompt: PromptConfig, operation: OperationConfig | None, path: KeyPath, document: Document
) -> None:
    if operation is None:
        return
    for argument in prompt.arguments:
        if argument not in operation.arguments:
            document.fault(
                (*path, "arguments", argument),
                f"the operation {prompt.operation!r} takes no such argument; {nearest(argument, operation.arguments)}",
                at_key=True,
            )
    if prompt.arguments and (missing := [name for name in operation.required() if name not in prompt.arguments]):
        document.fault((*path, "arguments"), f"the operation {prompt.operation!r} also needs {listed(missing)}")
    for argument, schema in operation.properties().items():
        if schema.get("type", "string") != "string":
            document.fault(
                (*path, "operation"), f"a prompt's arguments are texts, but {argument!r} of the operation is none"
            )


def _known(name: str, operations: Operations, path: KeyPath, document: Document) -> bool:
    if name in operations:
        return True
    document.fault(path, f"no operation is called {name!r}; {nearest(name, operations)}")
    return False


def _sound_schema(schema: dict[str, Any], path: KeyPath, document: Document) -> bool:
    """Whether this is a JSON Schema; notes the first thing that is wrong with it."""
    try:
        jsonschema_rs.Draft202012Validator(schema, retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        inside = tuple(getattr(error, "instance_path", ()))
        document.fault(path + inside, f"is no sound JSON Schema (2020-12): {getattr(error, 'message', error)}")
        return False
    return True


def _refuse(uri: str) -> Any:
    """A schema is what stands in the file: nothing is fetched because of it."""
    raise ValueError(f"{uri} would have to be fetched")


def template_variables(template: str) -> list[str]:
    """The variables of an RFC 6570 template, in order, without their modifiers."""
    names = (name for inside in _EXPRESSION.findall(template) for name in inside.split(","))
    return [name.strip().removesuffix("*") for name in names]
