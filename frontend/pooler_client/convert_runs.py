"""Runs between the wire's messages and this program's own words."""

from collections.abc import Callable, Mapping
from typing import Any

from frontend.events import (
    Accepted,
    Done,
    Happening,
    InputRequired,
    Log,
    Page,
    Progress,
    Queued,
    RunEvent,
    RunState,
    RunStatus,
    Starting,
    Working,
)
from frontend.pooler_client.convert import error_of, reply_of, timing_ms_of
from protos.penstock.v1 import pooler_pb2 as pb

_STATUSES: Mapping[int, RunStatus] = {
    pb.RUN_STATUS_WORKING: RunStatus.WORKING,
    pb.RUN_STATUS_INPUT_REQUIRED: RunStatus.INPUT_REQUIRED,
    pb.RUN_STATUS_COMPLETED: RunStatus.COMPLETED,
    pb.RUN_STATUS_FAILED: RunStatus.FAILED,
    pb.RUN_STATUS_CANCELLED: RunStatus.CANCELLED,
}


def event_of(message: pb.RunEvent) -> RunEvent | None:
    """None for a kind of event that this program does not know; a newer pooler may have some."""
    kind = message.WhichOneof("event")
    if kind is None:
        return None
    return RunEvent(message.seq, _HAPPENINGS[kind](getattr(message, kind)))


def state_of(message: pb.RunState) -> RunState:
    return RunState(
        run=message.run,
        operation=message.operation,
        status=_STATUSES.get(message.status, RunStatus.WORKING),
        message=message.message,
        created_ms=message.created_ms,
        updated_ms=message.updated_ms,
        keep_ms=message.keep_ms,
        input_requests=message.input_requests,
        reply=reply_of(message.reply, message.reply.result) if message.HasField("reply") else None,
        error=error_of(message.error) if message.HasField("error") else None,
        note=message.note,
    )


def _progress(message: pb.RunProgress) -> Progress:
    return Progress(message.progress, message.total if message.HasField("total") else None, message.message)


def _done(message: pb.RunDone) -> Done:
    return Done(error_of(message.error) if message.HasField("error") else None, timing_ms_of(message.timing))


_HAPPENINGS: Mapping[str, Callable[[Any], Happening]] = {
    "accepted": lambda message: Accepted(message.run, message.name, message.note),
    "queued": lambda message: Queued(message.place, message.of),
    "starting": lambda message: Starting(message.remaining_ms),
    "working": lambda _: Working(),
    "progress": _progress,
    "log": lambda message: Log(message.level, message.logger, message.data),
    "input_required": lambda message: InputRequired(message.input_requests),
    "page": lambda message: Page(reply_of(message.reply, message.reply.result)),
    "done": _done,
}
