"""What an administrator is shown, from the pools' own state to the wire's messages. Reads; it changes nothing."""

from heapq import nsmallest

from pooler.backends.base import Tag
from pooler.config.changes import Changes
from pooler.core.slots import Slot
from pooler.core.states import ConnectionState, GrantState
from pooler.runtime import orders
from pooler.runtime.driver import Driver
from pooler.runtime.turns import Turn
from protos.penstock.v1 import admin_pb2 as pb

CONNECTION_STATES: dict[ConnectionState, pb.ConnectionState.ValueType] = {
    state: pb.ConnectionState.Value(f"CONNECTION_STATE_{state.name}")
    for state in ConnectionState
    if state is not ConnectionState.GONE
}
CALL_STATES: dict[GrantState | None, pb.CallState.ValueType] = {
    None: pb.CALL_STATE_WAITING,
    GrantState.OFFERED: pb.CALL_STATE_OFFERED,
    GrantState.RUNNING: pb.CALL_STATE_RUNNING,
    GrantState.CANCELLING: pb.CALL_STATE_CANCELLING,
}
REFUSING = "it takes no new calls"
WAITING_USUALLY, WAITING_MAX = 100, 1000
"""How many waiting calls one answer lists, when nothing is said and at most."""


def backend(driver: Driver) -> pb.Backend:
    """A backend with its pool's state."""
    pool, rules = driver.pool, driver.pool.rules
    oldest = pool.queue.oldest()
    states = {state.value: pool.count(state) for state in CONNECTION_STATES}
    return pb.Backend(
        name=driver.name,
        kind=driver.kit.kind,
        cap=rules.cap,
        reserve=rules.reserve,
        queued=len(pool.queue),
        queue_max=rules.queue_max,
        oldest_wait_ms=_ms(driver.now - oldest.asked_at) if oldest else 0,
        serving=pool.serving,
        failure=_failure(driver),
        calls_total=driver.calls_total,
        starts_total=pool.starts.total,
        start_failures_total=pool.starts.failed_total,
        start_ms=_ms(pool.starts.took.seconds),
        paused=pool.paused,
        refusing_calls=pool.draining,
        unconfirmed_total=driver.unconfirmed_total,
        generation=pool.generation,
        **states,
    )


def connections(driver: Driver, pooler: str) -> pb.ListConnectionsReply:
    """Every connection of a backend. `pooler`: what this pooler calls itself in tags."""
    slots = driver.pool.ledger.slots
    return pb.ListConnectionsReply(connections=[_connection(driver, slots[number], pooler) for number in sorted(slots)])


def waiting(driver: Driver, limit: int) -> pb.ListWaitingReply:
    """Who waits, the longest first. A limit of 0 is the usual one; one that is too large, the largest."""
    everybody = list(orders.waiting(driver.pool))
    longest = nsmallest(min(limit or WAITING_USUALLY, WAITING_MAX), everybody, key=lambda turn: turn.asked_at)
    return pb.ListWaitingReply(calls=[_call(turn, driver.now) for turn in longest], waiting=len(everybody))


def reloaded(changes: Changes) -> pb.ReloadReply:
    """What a reload has changed."""
    return pb.ReloadReply(
        backends_added=changes.backends_added,
        backends_removed=changes.backends_removed,
        backends_changed=changes.backends_changed,
        caps=[pb.CapChange(backend=name, before=was, after=now) for name, (was, now) in changes.caps.items()],
        operations=changes.operations,
        operations_before=changes.operations_before,
        restart_needed=changes.restart_needed,
    )


def _connection(driver: Driver, slot: Slot, pooler: str) -> pb.Connection:
    turns = [turn for turn in sorted(slot.grants, key=lambda turn: turn.granted_at) if isinstance(turn, Turn)]
    return pb.Connection(
        number=slot.number,
        state=CONNECTION_STATES[slot.state],
        age_ms=_ms(driver.now - slot.started_at),
        uses=slot.uses,
        generation=slot.generation,
        tag=str(Tag(pooler, driver.name, slot.number)),
        calls=[_call(turn, driver.now) for turn in turns],
    )


def _call(turn: Turn, now: float) -> pb.ListedCall:
    return pb.ListedCall(
        request_id=turn.caller.request_id,
        tenant=turn.tenant,
        principal=turn.caller.principal,
        operation=turn.operation,
        state=CALL_STATES[turn.grant],
        since_ms=_ms(now - (turn.asked_at if turn.grant is None else turn.granted_at)),
    )


def _failure(driver: Driver) -> str:
    if driver.pool.serving:
        return ""
    return REFUSING if driver.pool.draining else driver.pool.starts.words


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
