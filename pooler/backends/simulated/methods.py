"""What the methods of a simulated system do, on its own side. They take no time: that is the system's business."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from pooler.backends.base import Answer, BackendError, Failure, FailureKind, Input
from pooler.backends.simulated.census import Session
from pooler.backends.simulated.ledger import Batch, Cursor, DoomedError, Ledger
from pooler.backends.tables import affected_answer, table_answer

COLUMNS = ("number", "text")
LONG_CHARS = 100_000
QUESTION = "answer"
"""The name of what `ask` asks for, among the input requests."""


class WrongRequestError(Exception):
    """The system does not understand the request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One of the methods with its arguments, and the bounds of the page that answers it."""

    method: str
    arguments: Mapping[str, Any]
    page_rows: int
    page_bytes: int
    batch_rows: int = 0
    """How many rows its reader takes at once; 0: it takes one page, and no more."""
    input: Input | None = None

    @property
    def seconds(self) -> float:
        """How long it asks the system to work, before its answer or before each batch of rows."""
        return float(self.arguments.get("seconds", 0)) if self.method in ("work", "rows", "report") else 0.0

    @property
    def steps(self) -> int:
        """In how many steps it does so, each of which is told."""
        return int(self.arguments["steps"]) if self.method == "report" else 0


def perform(request: Request, ledger: Ledger, session: Session) -> Answer | Batch:
    """Does a request. Raises WrongRequestError, or BackendError when the answer is too large."""
    arguments = request.arguments
    match request.method:
        case "echo":
            return _value(arguments["value"], request)
        case "rows":
            return _rows(request, session)
        case "work":
            return _value("done", request)
        case "report":
            return _value(f"{request.steps} steps", request)
        case "ask":
            return _ask(request)
        case "write":
            return Answer(affected_answer(int(arguments.get("count", 1))))
        case "put":
            ledger.put(session, arguments["value"])
            return Answer(affected_answer(1))
        case "count":
            return _value(ledger.count(session, arguments["value"]), request)
        case "leave_trace":
            session.trace = arguments["value"]
            return _value("left", request)
        case "see_trace":
            return _value(session.trace, request)
        case _:
            raise WrongRequestError(f"{request.method!r} is no request that this system understands")


def _rows(request: Request, session: Session) -> Answer | Batch:
    rows = _made(request.arguments)
    if request.batch_rows:
        session.cursor = Cursor(COLUMNS, rows)
        return session.cursor.read(request.batch_rows)
    page = list(islice(rows, request.page_rows + 1))
    return Answer(table_answer(COLUMNS, page, request.page_rows, request.page_bytes))


def _made(arguments: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The rows, until the one that cannot be read (`fail_at`) or kills its session (`die_at`)."""
    long_at = arguments.get("long_at")
    for number in range(int(arguments["count"])):
        if number == arguments.get("die_at"):
            raise DoomedError(f"the session died at row {number}")
        if number == arguments.get("fail_at"):
            raise WrongRequestError(f"row {number} cannot be read")
        yield [number, "x" * LONG_CHARS if number == long_at else f"row {number}"]


def _ask(request: Request) -> Answer:
    """Asks its user something, once, and answers with what he said and the state that it had left with him."""
    given = request.input or Input()
    if given.responses:
        responses = orjson.loads(given.responses)
        return _value({"said": responses.get(QUESTION), "state": given.state}, request)
    words = {"message": request.arguments["question"], "requestedSchema": {"type": "object", "properties": {}}}
    asked = {QUESTION: {"method": "elicitation/create", "params": words}}
    return Answer(orjson.dumps({"inputRequests": asked, "requestState": f"asked {words['message']}"}), asks=True)


def _value(value: Any, request: Request) -> Answer:
    body = orjson.dumps(value if isinstance(value, dict) else {"result": value})
    if len(body) > request.page_bytes:
        words = f"the value takes {len(body)} bytes, but a page holds {request.page_bytes}"
        raise BackendError(Failure(FailureKind.TOO_LARGE, words))
    return Answer(body)
