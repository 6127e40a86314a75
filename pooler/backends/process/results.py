"""What a worker's result is to the caller: a value, a page of a table, or MCP's own form. Asks the worker nothing."""

from dataclasses import dataclass
from typing import Any

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


def prepare(operation: Operation) -> Prepared:
    """Compiles an operation. Raises ValueError when its `returns` is no JSON Schema."""
    promise = None
    if not isinstance(operation.returns, str):
        promise = jsonschema_rs.Draft202012Validator(dict(operation.returns))
    return Prepared(operation.name, operation.method or "", operation.page_rows, operation.page_bytes, promise)


def answer(result: Any, prepared: Prepared) -> Answer:
    """The caller's answer. Raises BackendError when the worker broke its promise or the result is too large."""
    kind = result.get("resultType") if isinstance(result, dict) else None
    match kind:
        case None:
            return _value(result, prepared)
        case "page":
            return _page(result, prepared)
        case "complete":
            return Answer(_bounded(result, prepared), content=True)
        case "input_required":
            raise _failure(
                FailureKind.USER_ERROR, f"{prepared.name!r} asks its user for input, which is not offered here"
            )
        case _:
            raise _broken(prepared, f"with the resultType {kind!r:.60}, which does not exist")


def _value(result: Any, prepared: Prepared) -> Answer:
    if prepared.promise is not None:
        fault = next(prepared.promise.iter_errors(result), None)
        if fault is not None:
            place = "/".join(map(str, fault.instance_path)) or "the result"
            raise _broken(prepared, f"with what its `returns` does not allow, at {place}: {fault.message:.200}")
    return Answer(_bounded(result if isinstance(result, dict) else {"result": result}, prepared))


def _page(result: dict[str, Any], prepared: Prepared) -> Answer:
    columns, rows = result.get("columns"), result.get("rows")
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise _broken(prepared, "with a page whose `columns` are no list of names")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise _broken(prepared, f"with a page whose `rows` are not all lists of {len(columns)} cells")
    more = result.get("more") is True
    return Answer(table_answer(columns, rows, prepared.page_rows, prepared.page_bytes, more))


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
