"""Between the wire's messages and the rooms' own values. The only place that knows both; it decides nothing."""

from functools import lru_cache
from sys import intern

from pooler.backends.base import Answer, Input
from pooler.core.slots import Priority
from pooler.errors import Fault, Reason
from pooler.runtime.requests import Request
from pooler.runtime.turns import Outcome, Reuse, Timing
from protos.penstock.v1 import pooler_pb2 as pb

REQUEST_ID_MAX = 128
NAME_MAX = 256


def request(message: pb.CallRequest, rpc_seconds: float | None) -> Request:
    """A call as the dispatcher wants it; a gRPC deadline that is shorter than the call's own wins.

    Raises Fault when the context is out of bounds.
    """
    context = message.context
    tenant, principal = caller(context)
    seconds = context.timeout_ms / 1000
    if rpc_seconds is not None:
        seconds = min(seconds, max(rpc_seconds, 0.001))
    # By place and not by name: every call comes through here.
    return Request(
        message.operation,
        message.arguments,
        seconds,
        tenant,
        principal,
        BATCH if context.priority == WIRE_BATCH else INTERACTIVE,
        context.request_id,
        context.traceparent,
        given(message),
        message.first_page_only,
        context.conversation,
    )


INTERACTIVE, BATCH, WIRE_BATCH = Priority.INTERACTIVE, Priority.BATCH, pb.PRIORITY_BATCH


def caller(context: pb.CallContext) -> tuple[str, str]:
    """The tenant and the principal who ask. Raises Fault when a name is too long."""
    tenant, principal = context.tenant, context.principal
    if len(tenant) > NAME_MAX or len(principal) > NAME_MAX or len(context.request_id) > REQUEST_ID_MAX:
        raise Fault(
            Reason.INVALID_ARGUMENTS,
            f"tenant and principal take at most {NAME_MAX} characters, request_id at most {REQUEST_ID_MAX}.",
        )
    # Interned, since many calls of few names wait at once.
    return intern(tenant or "default"), intern(principal or "anonymous")


def given(message: pb.CallRequest) -> Input | None:
    """What the client can be asked and has been answered; None where nothing was said, as with most calls."""
    capabilities = message.context.client_capabilities
    if message.input_responses or message.request_state:
        return Input(capabilities, message.input_responses, message.request_state)
    return _able(capabilities) if capabilities else None


@lru_cache(maxsize=256)
def _able(capabilities: bytes) -> Input:
    """One value for all calls of clients that are alike: thousands of them wait at once."""
    return Input(capabilities)


def timing(spent: Timing) -> pb.Timing:
    return pb.Timing(**microseconds(spent))


def microseconds(spent: Timing) -> dict[str, int]:
    """A timing by the wire's names."""
    return {
        "queue_us": round(spent.queue * 1e6),
        "start_us": round(spent.start * 1e6),
        "reset_us": round(spent.reset * 1e6),
        "backend_us": round(spent.backend * 1e6),
    }


def result_kind(answer: Answer) -> pb.ResultKind.ValueType:
    if answer.asks:
        return pb.RESULT_KIND_INPUT_REQUIRED
    return pb.RESULT_KIND_CONTENT if answer.content else pb.RESULT_KIND_VALUE


def reply(answer: Answer, spent: Timing, reuse: Reuse | None = None) -> pb.CallReply:
    message = pb.CallReply(kind=result_kind(answer), result=answer.body, timing=timing(spent))
    if reuse is not None:
        fill_reuse(message.reuse, reuse, near=False)
    return message


def fill_head(head: pb.ExchangeHead, call_id: int, outcome: Outcome, whole: bool, near: bool) -> None:
    """A call's outcome as the first frame about it. `whole`: the result inside; else its length alone.

    `near`: whether its caller may be granted to give it again. (Set field by field, in place: a message that is made
    apart is copied into its frame, and again into its batch.)
    """
    head.id = call_id
    spent, timing = outcome.timing, head.timing
    if spent.queue:
        timing.queue_us = int(spent.queue * 1e6 + 0.5)
    if spent.start:
        timing.start_us = int(spent.start * 1e6 + 0.5)
    if spent.reset:
        timing.reset_us = int(spent.reset * 1e6 + 0.5)
    timing.backend_us = int(spent.backend * 1e6 + 0.5)
    answer = outcome.result
    if isinstance(answer, Fault):
        head.error.CopyFrom(error(answer))
        return
    head.kind = result_kind(answer)
    head.total_bytes = len(answer.body)
    if whole:
        head.result = answer.body
    if outcome.reuse is not None:
        fill_reuse(head.reuse, outcome.reuse, near)


def fill_reuse(message: pb.Reuse, said: Reuse, near: bool) -> None:
    """`near`: whether its caller may be granted to give it again."""
    message.state = REUSES[said.state]
    message.age_ms = int(said.age * 1000 + 0.5)
    if near and said.near:
        message.near_ms = int(said.near * 1000)
        message.tags.extend(said.tags)


REUSES = {"miss": pb.Reuse.MISS, "hit": pb.Reuse.HIT, "stale": pb.Reuse.STALE, "joined": pb.Reuse.JOINED}


def error(fault: Fault) -> pb.ExchangeError:
    return pb.ExchangeError(
        code=CODES[fault.reason],
        reason=pb.Reason.Value(f"REASON_{fault.reason}"),
        message=fault.message,
        metadata=fault.metadata,
    )


CODES: dict[Reason, int] = {
    Reason.DEADLINE_REQUIRED: 3,
    Reason.INVALID_ARGUMENTS: 3,
    Reason.OPERATION_NOT_FOUND: 5,
    Reason.QUEUE_FULL: 8,
    Reason.TOO_MANY_CALLS: 8,
    Reason.QUEUE_TIMEOUT: 4,
    Reason.START_TIMEOUT: 4,
    Reason.WORK_TIMEOUT: 4,
    Reason.SHED: 4,
    Reason.PAUSED: 14,
    Reason.KILLED: 10,
    Reason.START_FAILED: 14,
    Reason.CONNECTION_LOST: 14,
    Reason.OUTCOME_UNKNOWN: 2,
    Reason.DRAINING: 14,
    Reason.REFUSED: 9,
    Reason.PROTOCOL: 9,
    Reason.BUSY: 10,
    Reason.RESULT_TOO_LARGE: 11,
    Reason.CANCELLED: 1,
    Reason.BACKEND_NOT_FOUND: 5,
    Reason.CONNECTION_NOT_FOUND: 5,
    Reason.CALL_NOT_FOUND: 5,
    Reason.INVALID_ORDER: 3,
    Reason.INVALID_CONFIGURATION: 3,
    Reason.HANDLE_UNKNOWN: 5,
    Reason.HANDLE_EXPIRED: 5,
    Reason.HANDLE_LOST: 14,
    Reason.SESSION_IN_USE: 10,
    Reason.TOO_MANY_SESSIONS: 8,
    Reason.INPUT_UNAVAILABLE: 9,
    Reason.INPUT_DECLINED: 9,
    Reason.SPOOL_FULL: 8,
    Reason.STORE_FULL: 8,
    Reason.CREDENTIAL_REQUIRED: 16,
    Reason.NOT_PERMITTED: 7,
    Reason.INTERNAL: 13,
}
"""The google.rpc.Code of each reason, as `pooler.proto` says it."""
