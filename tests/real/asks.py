"""What a crowd of callers asks for: each answer is one that only its own arguments explain. Sends nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Verdict = Literal["right", "failed", "wrong"]

TABLE = "notes"
MAKE_TABLE = f"CREATE TABLE {TABLE} (token text)"
"""Without a constraint, which would hide a write that was done twice."""
LONG_TIMES = 2500
"""So that a long answer, 80,000 bytes, takes more than one piece of the wire."""

SHARED = {"effect": "read", "share": True, "timeout_seconds": 10}
TEXT = {"token": {"type": "string"}}
NUMBERS = {"dividend": {"type": "integer"}, "divisor": {"type": "integer"}}

OPERATIONS: dict[str, dict[str, Any]] = {
    "digest": {
        **SHARED,
        "statement": "SELECT CAST(:token AS text) AS token, md5(CAST(:token AS text)) AS digest",
        "arguments": TEXT,
    },
    "digests": {
        **SHARED,
        "statement": "SELECT CAST(:token AS text) AS token, repeat(md5(CAST(:token AS text)), CAST(:times AS int))",
        "arguments": {**TEXT, "times": {"type": "integer"}},
    },
    "quotient": {
        **SHARED,
        "statement": "SELECT CAST(:dividend AS int) / CAST(:divisor AS int) AS quotient",
        "arguments": NUMBERS,
    },
    "note": {
        "effect": "write",
        "timeout_seconds": 10,
        "statement": f"INSERT INTO {TABLE} (token) VALUES (:token)",
        "arguments": TEXT,
    },
}
"""What the crowd asks for, but for the backend."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One call, and what tells its answer: a result, or where the statement goes wrong with it, the error."""

    tool: str
    arguments: dict[str, Any]
    explains: Callable[[dict[str, Any]], bool]
    must_fail: bool = False

    def verdict(self, number: int, body: bytes) -> Verdict:
        """What the answer to the request of this number is: nobody else's, and right; nobody else's; anything else."""
        answer = orjson.loads(body)
        result = answer.get("result", {"isError": True})
        if answer["id"] != number:
            return "wrong"
        if not result.get("isError"):
            return "right" if not self.must_fail and self.explains(result["structuredContent"]) else "wrong"
        if b"division by zero" in body:
            return "right" if self.must_fail else "wrong"
        return "failed"


def digest(token: str) -> Ask:
    rows = [[token, hashlib.md5(token.encode()).hexdigest()]]
    return Ask("digest", {"token": token}, lambda answer: answer.get("rows") == rows)


def digests(token: str, times: int = LONG_TIMES) -> Ask:
    rows = [[token, hashlib.md5(token.encode()).hexdigest() * times]]
    return Ask("digests", {"token": token, "times": times}, lambda answer: answer.get("rows") == rows)


def quotient(dividend: int, divisor: int) -> Ask:
    arguments = {"dividend": dividend, "divisor": divisor}
    if divisor == 0:
        return Ask("quotient", arguments, lambda answer: False, must_fail=True)
    return Ask("quotient", arguments, lambda answer: answer.get("rows") == [[dividend // divisor]])


def note(token: str) -> Ask:
    return Ask("note", {"token": token}, lambda answer: answer == {"rows_affected": 1})
