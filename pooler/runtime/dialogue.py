"""Calls that need their user's word: they are answered with what to ask, and are repeated with the answers.

Between the two nothing is kept but in the sealed `requestState` that the caller brings back: which operation with which
arguments it belongs to, how often the user has been asked, whether the call is confirmed, and the worker's own state.
Only one thing is remembered here: which states a write was begun with, so that no consent is used twice. They are
forgotten with this process, so that a write is not begun with a state of an earlier one either.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from pooler.backends.base import Answer, Input
from pooler.clock import Clock
from pooler.errors import Fault, Reason
from pooler.runtime import questions
from pooler.runtime.handles import REMEDIES, Sealer, expired
from pooler.runtime.turns import Outcome, Turn

log = structlog.get_logger(__name__)

ROUNDS_MAX = 8
"""How often one call may ask. A worker that needs more is going round in circles."""
STATE_SECONDS = 600.0
"""How long a user may take to answer, at least: a call that may last longer gives him its own time."""
USED_SWEPT_AT = 1000
"""From so many used states on, those that have expired are looked for."""


@dataclass(frozen=True, slots=True)
class Round:
    """How far the dialogue of one call has come."""

    asked: int = 0
    """How often its user has been asked."""
    confirmed: bool = False
    worker_state: str = ""
    ticket: str = ""
    """What the state that it came with is remembered by, when it may be used once."""
    until: float = 0.0
    """When that state expires (Unix time)."""


class Dialogue:
    """All such calls of a pooler. `wall`: Unix time in seconds."""

    def __init__(self, sealer: Sealer, wall: Clock) -> None:
        self._sealer = sealer
        self._wall = wall
        self._boot = secrets.token_hex(8)
        self._rounds: dict[Turn, Round] = {}
        """How far those calls have come that are under way and were asked before."""
        self._used: dict[str, float] = {}
        self._sweep_at = USED_SWEPT_AT

    def begin(self, turn: Turn, confirm: str, given: Input) -> Input | Answer:
        """What a call's worker is given of what its caller brings; or what to ask him first. Then `ended`, once.

        Raises Fault when he cannot be asked, has said no, or brings a state that is not this call's.
        """
        now = self._continued(turn, given.state) if given.state else Round()
        answers = questions.responses(given.responses)
        if confirm and not now.confirmed:
            if not (given.state and questions.accepted(answers, turn.operation)):
                requests = questions.confirmation(confirm, turn.arguments)
                questions.check_client(turn.operation, requests, given.capabilities)
                return self._question(turn, now, requests)
            del answers[questions.CONFIRM]
            now = replace(now, confirmed=True)
        if now.ticket:
            self._use(now, turn.operation)
        if now.asked:
            self._rounds[turn] = now
        return Input(given.capabilities, orjson.dumps(answers) if answers else b"", now.worker_state)

    def ended(self, turn: Turn, outcome: Outcome) -> Outcome:
        """A call's outcome as its caller gets it: what a worker asks is sealed, or refused when he cannot be asked."""
        now = self._rounds.pop(turn, None) or Round()
        result = outcome.result
        if isinstance(result, Answer):
            return outcome._replace(result=self._asked(turn, now, result)) if result.asks else outcome
        if not turn.granted_at:
            self._used.pop(now.ticket, None)  # nothing was begun: what the user has said still holds
        return outcome

    def _asked(self, turn: Turn, now: Round, answer: Answer) -> Answer | Fault:
        body = orjson.loads(answer.body)
        requests = body.get("inputRequests") or {}
        given = turn.extras.input if turn.extras else None
        try:
            questions.check_client(turn.operation, requests, given.capabilities if given else b"")
        except Fault as fault:
            return fault
        if now.asked >= ROUNDS_MAX:
            log.warning("a call asks without end", operation=turn.operation, request=turn.caller.request_id)
            sentence = f"Operation {turn.operation} has asked its user {ROUNDS_MAX} times and asks again; it was ended."
            return Fault(Reason.INTERNAL, sentence)
        return self._question(turn, replace(now, worker_state=body.get("requestState") or ""), requests)

    def _question(self, turn: Turn, now: Round, requests: Mapping[str, Any]) -> Answer:
        """What the caller gets instead of an answer."""
        until = self._wall() + max(STATE_SECONDS, turn.deadline - turn.asked_at)
        state = {
            "operation": turn.operation,
            "arguments": fingerprint(turn.arguments),
            "asked": now.asked + 1,
            "confirmed": now.confirmed,
            "worker": now.worker_state,
            "ticket": "" if turn.read else f"{self._boot}.{secrets.token_hex(8)}",
            "until": until,
        }
        sealed = self._sealer.seal("state", orjson.dumps(state), turn.caller.tenant, turn.caller.principal, until)
        body = {"inputRequests": requests} if requests else {}
        return Answer(orjson.dumps({**body, "requestState": sealed}), asks=True)

    def _continued(self, turn: Turn, handle: str) -> Round:
        """Where a call's dialogue stood. Raises Fault when the state is another call's, or has been changed."""
        opened = self._sealer.open(handle, "state", turn.caller.tenant, turn.caller.principal)
        state = orjson.loads(opened)
        if (state["operation"], state["arguments"]) != (turn.operation, fingerprint(turn.arguments)):
            raise Fault(
                Reason.INVALID_ARGUMENTS,
                f"This requestState belongs to another call: repeat {state['operation']} with the arguments that it "
                f"was asked for, or {REMEDIES['state']}.",
            )
        return Round(state["asked"], state["confirmed"], state["worker"], state["ticket"], state["until"])

    def _use(self, now: Round, operation: str) -> None:
        """Takes note that a write is begun with a state. Raises Fault when one was already, or nobody knows."""
        if not now.ticket.startswith(self._boot):
            expired("state")
        if now.ticket in self._used:
            raise Fault(
                Reason.HANDLE_EXPIRED,
                f"Operation {operation} was begun with this requestState already, which is good for once: "
                f"{REMEDIES['state']}.",
            )
        if len(self._used) >= self._sweep_at:
            self._used = {each: until for each, until in self._used.items() if until > self._wall()}
            self._sweep_at = max(USED_SWEPT_AT, 2 * len(self._used))
        self._used[now.ticket] = now.until


def fingerprint(arguments: Mapping[str, Any]) -> str:
    """The same for the same arguments, in whatever order they stand. (orjson would refuse integers beyond 64 bits.)"""
    text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
