"""What a worker's result is to the caller: a value, a page of a table, MCP's own form, or a question."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jsonschema_rs
import orjson

from pooler.backends.base import Answer, BackendError, Failure, FailureKind, Operation
from pooler.backends.tables import table_answer


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation, compiled: the method to ask for, and what its result must be."""

    name: str
    method: str
    page_rows: int
    page_bytes: int
    promise: jsonschema_rs.Draft202012Validator | None
    read: bool = True


class Page(NamedTuple):
    """Some rows of a worker's table."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool


def prepare(operation: Operation) -> Prepared:
    """Compiles an operation. Raises ValueError when its `returns` is no JSON Schema."""
    promise = None
    if not isinstance(operation.returns, str):
        promise = jsonschema_rs.Draft202012Validator(dict(operation.returns))
    bounds = (operation.page_rows, operation.page_bytes)
    return Prepared(operation.name, operation.method or "", *bounds, promise, operation.effect == "read")


def answer(result: Any, prepared: Prepared) -> Answer:
    """The caller's answer. Raises BackendError when the worker broke its promise or the result is too large."""
    kind = result.get("resultType") if isinstance(result, dict) else None
    match kind:
        case None:
            return _value(result, prepared)
        case "page":
            cut = page(result, prepared)
            return Answer(table_answer(cut.columns, cut.rows, prepared.page_rows, prepared.page_bytes, cut.more))
        case "complete":
            return Answer(_bounded(result, prepared), content=True)
        case "input_required":
            return Answer(_bounded(_asked(result, prepared), prepared), asks=True)
        case _:
            raise _broken(prepared, f"with the resultType {kind!r:.60}, which does not exist")


def _value(result: Any, prepared: Prepared) -> Answer:
    if prepared.promise is not None:
        fault = next(prepared.promise.iter_errors(result), None)
        if fault is not None:
            place = "/".join(map(str, fault.instance_path)) or "the result"
            raise _broken(prepared, f"with what its `returns` does not allow, at {place}: {fault.message:.200}")
    return Answer(_bounded(result if isinstance(result, dict) else {"result": result}, prepared))


def is_page(result: Any) -> bool:
    """Whether it is a table, of which there may be more."""
    return isinstance(result, dict) and result.get("resultType") == "page"


def page(result: Any, prepared: Prepared, before: list[str] | None = None) -> Page:
    """A page as it should be; the later ones of a table need not repeat their columns, but may not change them."""
    if not is_page(result):
        raise _broken(prepared, "with what is no page, where more rows were to come")
    columns, rows = result.get("columns", before), result.get("rows")
    if before is not None and columns != before:
        raise _broken(prepared, f"with other columns than on the first page: {columns!r:.200}")
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise _broken(prepared, "with a page whose `columns` are no list of names")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise _broken(prepared, f"with a page whose `rows` are not all lists of {len(columns)} cells")
    return Page(columns, rows, result.get("more") is True)


def _asked(result: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """What its user is asked, and what the worker wants to see again with the answers."""
    requests, state = result.get("inputRequests", {}), result.get("requestState")
    if not isinstance(requests, dict) or not all(_is_request(request) for request in requests.values()):
        raise _broken(prepared, "with `inputRequests` that are no object of {method, params}")
    if state is not None and not isinstance(state, str):
        raise _broken(prepared, "with a `requestState` that is no text")
    if not requests and state is None:
        raise _broken(prepared, "with neither `inputRequests` nor a `requestState`: it asks for nothing")
    return {"inputRequests": requests, **({} if state is None else {"requestState": state})}


def _is_request(request: Any) -> bool:
    return (
        isinstance(request, dict)
        and isinstance(request.get("method"), str)
        and isinstance(request.get("params", {}), dict)
        and request.keys() <= {"method", "params"}
    )


def _bounded(body: dict[str, Any], prepared: Prepared) -> bytes:
    encoded = orjson.dumps(body)
    if len(encoded) > prepared.page_bytes:
        size = f"the result takes {len(encoded)} bytes, but a page holds {prepared.page_bytes}"
        raise _failure(FailureKind.TOO_LARGE, f"{size}: ask for less, or raise the operation's `page_bytes`")
    return encoded


def _broken(prepared: Prepared, how: str) -> BackendError:
    return _failure(FailureKind.BUG, f"the worker answered {prepared.method!r} {how}")


def _failure(kind: FailureKind, message: str) -> BackendError:
    return BackendError(Failure(kind, message))
