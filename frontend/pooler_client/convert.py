"""Between the wire's messages and this program's own words. Nothing else here knows how a message is spelt."""

from collections.abc import Mapping
from typing import Any

import orjson

from frontend.auth import Caller
from frontend.errors import PoolerError
from frontend.events import Reply, Reuse, Watched
from frontend.operations import Offer, Operation, Prompt, PromptArgument
from frontend.pooler_client.calls import Call
from protos.penstock.v1 import pooler_pb2 as pb


def hello(boot_id: str, window_bytes: int, near: bool, reached_as: str) -> bytes:
    """The first message of an exchange."""
    greeting = pb.ClientHello(
        version=1, boot_id=boot_id, call_window_bytes=window_bytes, near=near, reached_as=reached_as
    )
    return pb.ClientBatch(frames=[pb.ClientFrame(hello=greeting)]).SerializeToString()


def context_of(caller: Caller, conversation: str = "") -> pb.CallContext:
    return pb.CallContext(
        tenant=caller.tenant,
        principal=caller.principal,
        priority=pb.PRIORITY_INTERACTIVE,
        conversation=conversation,
    )


def request_of(call: Call, timeout_seconds: float) -> pb.CallRequest:
    """A call on the wire, with what is left of its time."""
    request = pb.CallRequest()
    fill_request(request, call, timeout_seconds)
    return request


def fill_request(request: pb.CallRequest, call: Call, timeout_seconds: float, sent_ago_seconds: float = 0.0) -> None:
    """The same in its place: a message that is made apart is copied into its frame, and again into its batch.

    `sent_ago_seconds`: how long ago it was sent to this process before; 0: it was not.
    """
    context = request.context
    context.tenant = call.caller.tenant
    context.principal = call.caller.principal
    context.priority = pb.PRIORITY_INTERACTIVE
    context.timeout_ms = max(int(timeout_seconds * 1000), 1)
    context.request_id = call.request_id
    context.traceparent = call.traceparent
    request.operation = call.operation.name
    request.arguments = call.arguments
    if call.conversation:
        context.conversation = call.conversation
    if call.client_capabilities:
        context.client_capabilities = call.client_capabilities
    if call.input_responses:
        request.input_responses = call.input_responses
    if call.request_state:
        request.request_state = call.request_state
    if call.first_page_only:
        request.first_page_only = True
    if sent_ago_seconds:
        context.repeated_after_ms = max(int(sent_ago_seconds * 1000), 1)


def reply_of(head: pb.ExchangeHead | pb.CallReply, body: bytes) -> Reply:
    return Reply(
        body,
        content=head.kind == pb.RESULT_KIND_CONTENT,
        timing_ms=timing_ms_of(head.timing),
        asks=head.kind == pb.RESULT_KIND_INPUT_REQUIRED,
        reuse=_reuse(head.reuse) if head.HasField("reuse") else None,
    )


def _reuse(said: pb.Reuse) -> Reuse:
    """A state of a newer pooler's counts as an answer of one's own."""
    return Reuse(_REUSES.get(said.state, "miss"), said.age_ms, said.near_ms, tuple(said.tags))


_REUSES: Mapping[int, str] = {pb.Reuse.HIT: "hit", pb.Reuse.STALE: "stale", pb.Reuse.JOINED: "joined"}


_NEAR: Mapping[int, str] = {
    pb.NEAR_SCOPE_TENANT: "tenant",
    pb.NEAR_SCOPE_PRINCIPAL: "principal",
    pb.NEAR_SCOPE_SHARED: "shared",
}


def watched(target: Watched) -> pb.Watched:
    return pb.Watched(uri=target.uri, operation=target.operation, arguments=target.arguments)


def error_of(error: pb.ExchangeError) -> PoolerError:
    """A newer pooler may know reasons that this program does not; they keep their number."""
    known = error.reason in pb.Reason.values()
    reason = pb.Reason.Name(error.reason).removeprefix("REASON_") if known else f"REASON_{error.reason}"
    return PoolerError(reason, error.message, dict(error.metadata))


def offer_of(catalogue: pb.Catalogue) -> Offer:
    return Offer(
        revision=catalogue.revision,
        operations=tuple(_operation(operation) for operation in catalogue.operations),
        prompts=tuple(_prompt(prompt) for prompt in catalogue.prompts),
    )


def timing_ms_of(timing: pb.Timing) -> Mapping[str, float]:
    return {
        "queue_ms": timing.queue_us / 1000,
        "start_ms": timing.start_us / 1000,
        "reset_ms": timing.reset_us / 1000,
        "backend_ms": timing.backend_us / 1000,
    }


def _operation(operation: pb.Operation) -> Operation:
    input_schema: dict[str, Any] = orjson.loads(operation.input_schema or b'{"type":"object"}')
    return Operation(
        name=operation.name,
        title=operation.title,
        description=operation.description,
        input_schema=input_schema,
        output_schema=orjson.loads(operation.output_schema) if operation.output_schema else None,
        reads=operation.effect == pb.EFFECT_READ,
        idempotent=operation.idempotent,
        tool=operation.tool,
        resource=operation.resource,
        mime_type=operation.mime_type,
        completions=dict(operation.completions),
        timeout_ms=operation.timeout_ms,
        queue_timeout_ms=operation.queue_timeout_ms,
        long=operation.long,
        long_after_ms=operation.long_after_ms,
        asks=operation.asks,
        short=operation.short,
        near=_NEAR.get(operation.near, ""),
        watched=operation.watched,
    )


def _prompt(prompt: pb.Prompt) -> Prompt:
    return Prompt(
        name=prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=tuple(
            PromptArgument(argument.name, argument.description, argument.required, argument.completion)
            for argument in prompt.arguments
        ),
        text=prompt.text,
        operation=prompt.operation,
    )
