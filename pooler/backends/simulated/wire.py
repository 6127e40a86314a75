"""The messages between a simulated system and its clients over TCP: one JSON object a line, answers by number.

A client asks `{"id", "do", …}`, with `do` one of login, validate, request, fetch, leave, stop, reset, begin, commit,
rollback, census; the answer has the same id and either its facts or `error`, and says where the session's transaction
stands. `{"id", "news": true, …}` tells of a request that is not done yet. Stops and answers may overtake a request.
`{"do": "close"}` has no answer but the end: the system closes its socket when the session has gone from its count, and
not before.
"""

from typing import Any

import orjson

from pooler.backends.base import Answer, Failure, FailureKind, Input
from pooler.backends.simulated.ledger import Batch
from pooler.backends.simulated.methods import Request

LINE_BYTES_MAX = 16 << 20


class ProtocolError(Exception):
    """A line that is no message; nothing that follows can be trusted."""


def encode(**facts: Any) -> bytes:
    """One message."""
    return orjson.dumps(facts) + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The facts of a message. Raises ProtocolError."""
    try:
        facts = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"no JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ProtocolError("no JSON object")
    return facts


def encode_failure(failure: Failure) -> dict[str, Any]:
    """A failure as a message carries it."""
    return {"kind": failure.kind.value, "message": failure.message, "started": failure.started}


def decode_failure(facts: dict[str, Any]) -> Failure:
    """The failure that a message carries."""
    return Failure(FailureKind(facts["kind"]), facts["message"], started=facts["started"])


def encode_request(request: Request) -> dict[str, Any]:
    """A request as a message carries it."""
    given = request.input
    return {
        "method": request.method,
        "arguments": request.arguments,
        "page_rows": request.page_rows,
        "page_bytes": request.page_bytes,
        "batch_rows": request.batch_rows,
        "input": [given.capabilities.decode(), given.responses.decode(), given.state] if given else None,
    }


def decode_request(facts: dict[str, Any]) -> Request:
    """The request that a message carries; a reader of whole pages need say nothing of batches and input."""
    given = None
    if facts.get("input"):
        capabilities, responses, state = facts["input"]
        given = Input(capabilities.encode(), responses.encode(), state)
    bounds = (facts["page_rows"], facts["page_bytes"], facts.get("batch_rows", 0))
    return Request(facts["method"], facts["arguments"], *bounds, input=given)


def encode_answer(answer: Answer | Batch) -> dict[str, Any]:
    """An answer, or rows, as a message carries them."""
    if isinstance(answer, Batch):
        return answer._asdict()
    return {"body": answer.body.decode(), "asks": answer.asks}


def decode_answer(facts: dict[str, Any]) -> Answer | Batch:
    """The answer, or the rows, that a message carries."""
    if "rows" in facts:
        return Batch(facts["columns"], facts["rows"], facts["more"])
    return Answer(facts["body"].encode(), asks=facts["asks"])
