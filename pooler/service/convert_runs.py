"""Between the wire's messages about runs and the rooms' own values. It decides nothing."""

from typing import Any

from pooler.errors import Fault, Reason
from pooler.runtime.runs.happenings import (
    Accepted,
    Asked,
    Done,
    Event,
    Line,
    Page,
    Progress,
    Queued,
    Starting,
    Working,
)
from pooler.runtime.runs.state import RunState, RunStatus
from pooler.service import convert
from protos.penstock.v1 import pooler_pb2 as pb

DAY_MS = 86_400_000
KEEP_MS_MAX = 7 * DAY_MS
FOREVER_MS = -1

_STATUSES: dict[RunStatus, pb.RunStatus.ValueType] = {
    status: pb.RunStatus.Value(f"RUN_STATUS_{status.name}") for status in RunStatus
}


def terms(request: pb.RunRequest) -> dict[str, Any]:
    """How a run is to be kept, as `Runs.start` takes it. Raises Fault when that is out of bounds."""
    if not FOREVER_MS <= request.detach_grace_ms <= DAY_MS:
        sentence = f"detach_grace_ms is {request.detach_grace_ms}; it may be from 0 to {DAY_MS}, or -1 for no end."
        raise Fault(Reason.INVALID_ARGUMENTS, sentence)
    if not 0 <= request.keep_ms <= KEEP_MS_MAX:
        sentence = f"keep_ms is {request.keep_ms}; it may be from 0 to {KEEP_MS_MAX}."
        raise Fault(Reason.INVALID_ARGUMENTS, sentence)
    return {
        "detach_grace_seconds": None if request.detach_grace_ms == FOREVER_MS else request.detach_grace_ms / 1000,
        "await_input": request.await_input,
        "keep_seconds": request.keep_ms / 1000 or None,
        "note": request.note,
        "request_key": request.request_key,
    }


def event(happened: Event) -> pb.RunEvent:
    """An event as the wire has it."""
    seq = happened.seq
    match happened.what:
        case Accepted(run, name, note):
            return pb.RunEvent(seq=seq, accepted=pb.RunAccepted(run=run, name=name, note=note))
        case Queued(place, of):
            return pb.RunEvent(seq=seq, queued=pb.RunQueued(place=place, of=of))
        case Starting(seconds):
            return pb.RunEvent(seq=seq, starting=pb.RunStarting(remaining_ms=round(seconds * 1000)))
        case Working():
            return pb.RunEvent(seq=seq, working=pb.RunWorking())
        case Progress(progress, total, message):
            return pb.RunEvent(seq=seq, progress=pb.RunProgress(progress=progress, total=total, message=message))
        case Line(level, logger, data):
            return pb.RunEvent(seq=seq, log=pb.RunLog(level=level, logger=logger, data=data))
        case Asked(requests):
            return pb.RunEvent(seq=seq, input_required=pb.RunInputRequired(input_requests=requests))
        case Page() as page:
            return pb.RunEvent(seq=seq, page=pb.RunPage(reply=convert.reply(page.answer, page.timing)))
        case Done(fault, timing):
            error = convert.error(fault) if fault is not None else None
            return pb.RunEvent(seq=seq, done=pb.RunDone(error=error, timing=convert.timing(timing)))


def state(stands: RunState) -> pb.RunState:
    """How a run stands, as the wire has it."""
    page, fault = stands.page, stands.fault
    return pb.RunState(
        run=stands.handle,
        status=_STATUSES[stands.status],
        message=stands.message,
        created_ms=round(stands.created_at * 1000),
        updated_ms=round(stands.updated_at * 1000),
        keep_ms=round(stands.keep_seconds * 1000),
        input_requests=stands.requests,
        reply=convert.reply(page.answer, page.timing) if page is not None else None,
        error=convert.error(fault) if fault is not None else None,
        note=stands.note,
        operation=stands.operation,
    )
