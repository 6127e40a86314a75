"""A call in this program's own words, and the rule by which it may be sent again.

The rule: a call that provably never left, or was not begun, is sent again; one that may have been begun is sent again
when it changes nothing by being carried out twice, or to the very process that it was sent to, which knows it again by
its request id; any other answers OUTCOME_UNKNOWN, which is the truth. At most two repetitions, all within the call's
own time, under one request id.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from frontend.auth import Caller
from frontend.errors import PoolerError
from frontend.logs import Logger
from frontend.operations import Operation

log = Logger(__name__)

REPETITIONS_MAX = 2
NOT_STARTED = "DRAINING"
"""The one reason that says for certain that nothing was begun, and that another stream may do better."""

T = TypeVar("T")


class Call(NamedTuple):
    """One invocation. `arguments`: a JSON object in UTF-8. `timeout_seconds`: how long the caller waits for it all."""

    operation: Operation
    arguments: bytes
    caller: Caller
    timeout_seconds: float
    request_id: str
    traceparent: str = ""
    conversation: str = ""
    """The handle of the conversation that it belongs to, or empty."""
    client_capabilities: bytes = b""
    """What the client can do, as MCP's `clientCapabilities`; empty in a conversation, which knows it."""
    input_responses: bytes = b""
    """What the user answered to a reply that asked: MCP's `inputResponses`, a JSON object; or empty."""
    request_state: str = ""
    """What came with the reply that asked, or empty."""
    first_page_only: bool = False
    """Whether nobody can go on with its table: then nothing of the rest is kept."""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again although it may have been carried out already."""
        return self.operation.reads or self.operation.idempotent


class Sent(NamedTuple):
    """Where a call may have arrived, and since when: a process that knows it again."""

    boot_id: str
    at: float
    """The loop's time."""


class Interrupted(Exception):
    """The stream ended, or stayed silent, under a call. `sent`: whether the call may have arrived.

    `known_to`: where it may have, if it is known again there.
    """

    def __init__(self, cause: str, sent: bool, known_to: Sent | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.sent = sent
        self.known_to = known_to

    def as_error(self, call: Call) -> PoolerError:
        """What to say of the call. Where the stream ended, and of what, is in the log alone."""
        what = "The way to the pooler was interrupted"
        if not self.sent:
            return PoolerError("POOLER_AWAY", f"{what}; nothing was started.", {"retry_after_ms": "1000"})
        if call.repeatable:
            return PoolerError("POOLER_AWAY", f"{what}; the call may safely be repeated.", {"retry_after_ms": "1000"})
        unknown = f"{call.operation.name!r} may or may not have been carried out. Look before repeating it"
        return PoolerError("OUTCOME_UNKNOWN", f"{what}: {unknown}.")


async def repeated(
    call: Call,
    deadline: float,
    attempt: Callable[[Sent | None], Awaitable[T]],
    failure: Interrupted | PoolerError | None = None,
) -> T:
    """Makes attempts at a call until one succeeds or the rule ends them. Raises PoolerError.

    `deadline`: the loop's time after which none is made. `attempt`: gets where the call may be known already.
    `failure`: of a first attempt that has been made.
    """
    loop = asyncio.get_running_loop()
    known_to: Sent | None = None
    for number in range(REPETITIONS_MAX + 1):
        if failure is None:
            try:
                return await attempt(known_to)
            except (Interrupted, PoolerError) as error:
                failure = error
        if isinstance(failure, Interrupted):
            again = call.repeatable or not failure.sent or failure.known_to is not None
            known_to = known_to or failure.known_to
            failure = failure.as_error(call)
        else:
            # A lost connection is none of ours to repeat: the pooler has repeated what may be, and a request
            # that a worker died of would kill the next one too.
            again = failure.reason == NOT_STARTED
        if not again or number == REPETITIONS_MAX or loop.time() >= deadline:
            raise failure
        log.info("call sent again", operation=call.operation.name, request_id=call.request_id, cause=failure.reason)
        failure = None
        # Longer the second time, and never all calls at once.
        await asyncio.sleep(random.uniform(0.05, 0.1) * 4**number)  # noqa: S311 - jitter, no secret
    raise AssertionError("unreachable: the last repetition returns or raises")
