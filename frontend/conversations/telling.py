"""From a run's events to what its client reads on the run's stream, message by message, each with a name of its own.

A name says how far the run has been told: `RUN.SEQ` once an event was told wholly, `RUN.SEQ.N` after the first N
messages of the one that follows. Whoever knows the run's log and its note can go on behind any name, so nothing of this
is ever kept by the frontend that began.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import orjson
from mcp_types.methods import serialize_server_result
from pydantic import ValidationError

from frontend.conversations.messages import Json, failure, result
from frontend.errors import INTERNAL_ERROR, REQUEST_CANCELLED, PoolerError, ProtocolError
from frontend.events import Done, InputRequired, Page, Reply, RunEvent
from frontend.logs import Logger
from frontend.rendering import TOOL, Note, RequestId, answer_of, failure_of, notifications_of, step_of
from frontend.splicing import spliced

log = Logger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a run has been told: all up to the event `seq`, and `told` messages of the next one."""

    seq: int
    told: int = 0

    def name(self, run: str) -> str:
        return f"{run}.{self.seq}.{self.told}" if self.told else f"{run}.{self.seq}"


class Place(NamedTuple):
    """A position in a run."""

    run: str
    position: Position

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The place of a name; None for what names none."""
        run, *numbers = name.split(".")
        if not (run.isalnum() and 1 <= len(numbers) <= 2 and all(_is_number(each) for each in numbers)):
            return None
        return cls(run, Position(*map(int, numbers)))


class Question(NamedTuple):
    """One of the requests that a run has for its client, which is told apart by these."""

    run: str
    key: str

    @classmethod
    def named(cls, request_id: RequestId | None) -> Self | None:
        """The question that a response answers; None for a response to what was never asked."""
        run, _, rest = str(request_id).partition(".")
        seq, _, key = rest.partition(".")
        return cls(run, key) if run and _is_number(seq) and key else None


class Told(NamedTuple):
    """One message, and how far the run has been told with it."""

    position: Position
    message: Json


class Telling:
    """Tells one client of one run, from the run's first event on. Every event must be given to it, in order."""

    def __init__(self, run: str, note: Note, version: str) -> None:
        """`version`: the protocol's, as it was negotiated."""
        self._run = run
        self._note = note
        self._version = version
        self._progress = -math.inf
        self._answered = False

    def tell(self, event: RunEvent) -> Iterator[Told]:
        """The messages of an event; none for what its client did not ask to hear."""
        messages = self._messages(event)
        for number, message in enumerate(messages, 1):
            whole = number == len(messages)
            yield Told(Position(event.seq) if whole else Position(event.seq - 1, number), message)

    def failed(self, error: PoolerError) -> Json:
        """The response to a request whose run cannot be told to its end."""
        if error.reason == "CANCELLED":
            # Before 2026-07-28 nothing but a response ends a request's stream for good.
            return failure(self._note.request_id, ProtocolError(REQUEST_CANCELLED, "Request cancelled"))
        try:
            return self.fitting(result_message(self._note, failure_of(error, self._note)))
        except ProtocolError as refused:
            return failure(self._note.request_id, refused)

    def _messages(self, event: RunEvent) -> list[Json]:
        match event.what:
            case InputRequired(requests):
                return [self._question(event.seq, key, asked) for key, asked in orjson.loads(requests).items()]
            case Done() if self._answered:
                return []
            case Done(PoolerError() as error):
                return [self.failed(error)]
        if isinstance(event.what, Page) and self._splices(event.what.reply):
            self._answered = True
            return [result_message(self._note, orjson.Fragment(spliced(event.what.reply)))]
        if (answer := answer_of(event, self._note)) is not None:
            self._answered = True
            return [self.fitting(answer)]
        return notifications_of(event, self._note) if self._is_news(event) else []

    def _splices(self, reply: Reply) -> bool:
        """Whether a result is told in the pooler's own bytes: a tool's plain value, which has one form in this era."""
        return self._note.method == TOOL and not (reply.content or reply.asks)

    def _question(self, seq: int, key: str, asked: Json) -> Json:
        """A request to the client, by whose id any frontend can tell what its response answers."""
        parameters = {"params": asked["params"]} if "params" in asked else {}
        return {"jsonrpc": "2.0", "id": f"{self._run}.{seq}.{key}", "method": asked["method"], **parameters}

    def _is_news(self, event: RunEvent) -> bool:
        """Whether progress has grown: a worker may stand still, or go back; the protocol may not."""
        if (step := step_of(event)) is None:
            return True
        grown = step.progress > self._progress
        self._progress = max(self._progress, step.progress)
        return grown

    def fitting(self, answer: Json) -> Json:
        """A response in the form of the client's own revision, which knows less than ours."""
        if "result" not in answer:
            return answer
        try:
            content = serialize_server_result(self._note.method, self._version, answer["result"])
        except ValidationError:
            log.exception("a result that is none", method=self._note.method, name=self._note.name)
            broken = ProtocolError(INTERNAL_ERROR, "Handler returned an invalid result")
            return failure(self._note.request_id, broken)
        return {**answer, "result": content}


def result_message(note: Note, content: Json | orjson.Fragment) -> Json:
    assert note.request_id is not None
    return result(note.request_id, content)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
