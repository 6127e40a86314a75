"""What the methods of a simulated system do, on its own side. They take no time: that is the system's business."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pooler.backends.base import Answer, BackendError, Failure, FailureKind
from pooler.backends.simulated.census import Session
from pooler.backends.tables import affected_answer, table_answer


class WrongRequestError(Exception):
    """The system does not understand the request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One of the methods with its arguments, and the bounds of the page that answers it."""

    method: str
    arguments: Mapping[str, Any]
    page_rows: int
    page_bytes: int

    @property
    def seconds(self) -> float:
        """How long it asks the system to work."""
        return float(self.arguments.get("seconds", 0)) if self.method == "work" else 0.0


def perform(request: Request, session: Session) -> Answer:
    """Does a request. Raises WrongRequestError, or BackendError when the answer is too large."""
    arguments = request.arguments
    match request.method:
        case "echo":
            return _value(arguments["value"], request)
        case "rows":
            rows = [[number, f"row {number}"] for number in range(int(arguments["count"]))]
            return Answer(table_answer(["number", "text"], rows, request.page_rows, request.page_bytes))
        case "work":
            return _value("done", request)
        case "write":
            return Answer(affected_answer(int(arguments.get("count", 1))))
        case "leave_trace":
            session.trace = arguments["value"]
            return _value("left", request)
        case "see_trace":
            return _value(session.trace, request)
        case _:
            raise WrongRequestError(f"{request.method!r} is no request that this system understands")


def _value(value: Any, request: Request) -> Answer:
    body = orjson.dumps(value if isinstance(value, dict) else {"result": value})
    if len(body) > request.page_bytes:
        words = f"the value takes {len(body)} bytes, but a page holds {request.page_bytes}"
        raise BackendError(Failure(FailureKind.TOO_LARGE, words))
    return Answer(body)
