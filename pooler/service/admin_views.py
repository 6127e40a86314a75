"""What an administrator is shown, from the pools' own state to the wire's messages. Reads; it changes nothing."""

from collections.abc import Set
from dataclasses import asdict
from typing import NamedTuple

from pooler.backends.base import Tag
from pooler.config.changes import Changes
from pooler.core.fairness import Lane
from pooler.core.slots import Slot
from pooler.core.states import ConnectionState, GrantState
from pooler.runtime.driver import Driver
from pooler.runtime.pins import Pin
from pooler.runtime.record import Entry
from pooler.runtime.reuse.room import Answers
from pooler.runtime.runs.run import Run
from pooler.runtime.runs.state import status
from pooler.runtime.sessions import Session
from pooler.runtime.tally import GRANTED
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
NAME_CHARACTERS = 8
"""By so much of their numbers sessions and runs are told apart by people."""


class Moment(NamedTuple):
    """A moment by the pools' clock, and by the wall's: what ages are counted to."""

    clock: float
    wall: float


def backend(driver: Driver, moment: Moment | None = None) -> pb.Backend:
    """A backend with its pool's state."""
    pool, rules, tally = driver.pool, driver.pool.rules, driver.tally
    now = driver.now if moment is None else moment.clock
    oldest = pool.queue.oldest()
    states = {state.value: pool.count(state) for state in CONNECTION_STATES}
    return pb.Backend(
        name=driver.name,
        kind=driver.kit.kind,
        cap=rules.cap,
        reserve=rules.reserve,
        queued=len(pool.queue),
        queue_max=rules.queue_max,
        oldest_wait_ms=milliseconds(now - oldest.asked_at) if oldest else 0,
        serving=pool.serving,
        failure=_failure(driver),
        calls_total=driver.calls_total,
        starts_total=pool.starts.total,
        start_failures_total=pool.starts.failed_total,
        start_ms=milliseconds(pool.starts.took.seconds),
        paused=pool.paused,
        refusing_calls=pool.draining,
        unconfirmed_total=driver.unconfirmed_total,
        generation=pool.generation,
        waits=pb.Waits(**{outcome: histogram.count for outcome, histogram in tally.waits.items()}),
        wait_mean_ms=1000 * tally.waits[GRANTED].mean,
        work_mean_ms=1000 * tally.work.mean,
        **states,
    )


def slot_order(slot: Slot) -> tuple[bool, float, int]:
    """Those at work first, and of those the ones whose call has gone on longest."""
    return not slot.grants, min((waiter.granted_at for waiter in slot.grants), default=0.0), slot.number


def connection(driver: Driver, slot: Slot, pooler: str, moment: Moment) -> pb.Connection:
    """A connection, and who has it. `pooler`: what this pooler calls itself in tags."""
    turns = [turn for turn in sorted(slot.grants, key=lambda turn: turn.granted_at) if isinstance(turn, Turn)]
    return pb.Connection(
        number=slot.number,
        state=CONNECTION_STATES[slot.state],
        age_ms=milliseconds(moment.clock - slot.started_at),
        uses=slot.uses,
        generation=slot.generation,
        tag=str(Tag(pooler, driver.name, slot.number)),
        calls=[call(turn, moment) for turn in turns],
    )


def call(turn: Turn, moment: Moment) -> pb.ListedCall:
    """A call that waits or is at work."""
    return pb.ListedCall(
        request_id=turn.caller.request_id,
        tenant=turn.tenant,
        principal=turn.caller.principal,
        operation=turn.operation,
        state=CALL_STATES[turn.grant],
        since_ms=milliseconds(moment.clock - (turn.asked_at if turn.grant is None else turn.granted_at)),
    )


def tenants(driver: Driver, moment: Moment) -> list[pb.TenantQueue]:
    """Every tenant that has something of a backend, or has waited for it in vain."""
    found = {name: _tenant(name, lane, moment) for name, lane in driver.pool.queue.lanes() if lane.length or lane.held}
    for name, counts in driver.tally.in_vain.items():
        found.setdefault(name, pb.TenantQueue(tenant=name, weight=driver.pool.queue.weight(name)))
        for outcome, count in counts.items():
            setattr(found[name], outcome, count)
    return list(found.values())


def _tenant(name: str, lane: Lane, moment: Moment) -> pb.TenantQueue:
    oldest = lane.oldest
    return pb.TenantQueue(
        tenant=name,
        weight=lane.share.weight,
        waiting=lane.length,
        oldest_wait_ms=milliseconds(moment.clock - oldest.asked_at) if oldest else 0,
        at_work=lane.held,
    )


def held(hold: Session | Pin, moment: Moment) -> pb.HeldConnection:
    """A connection that is kept for a caller."""
    session = isinstance(hold, Session)
    turn, under_way = hold.turn, hold.state != "idle"
    return pb.HeldConnection(
        name=hold.number.hex()[:NAME_CHARACTERS] if isinstance(hold, Session) else "",
        kind=pb.HOLD_KIND_SESSION if session else pb.HOLD_KIND_PIN,
        backend=hold.driver.name,
        tenant=turn.tenant,
        principal=turn.caller.principal,
        state=hold.state,
        connection=turn.slot.number if turn.slot is not None else 0,
        age_ms=milliseconds(moment.clock - turn.asked_at),
        idle_ms=0 if under_way else milliseconds(moment.clock - hold.idle_since),
        calls=hold.calls_total,
    )


def run_order(one: Run) -> tuple[bool, float]:
    """Those under way first, and of those the oldest; then those that are kept, the latest first."""
    return (True, -one.updated_at) if one.ended else (False, one.identity.created_at)


def run(one: Run, moment: Moment) -> pb.ListedRun:
    """A call that can be followed."""
    return pb.ListedRun(
        name=one.id[:NAME_CHARACTERS],
        tenant=one.identity.tenant,
        operation=one.identity.operation,
        status=status(one.log.done, bool(one.requests)).value,
        age_ms=milliseconds(moment.wall - one.identity.created_at),
        quiet_ms=milliseconds(moment.wall - one.updated_at),
        followers=one.followers,
        kept_bytes=one.log.size,
    )


def cache(answers: Answers, backends: Set[str]) -> pb.Cache:
    """What is kept of shared answers, and whose calls they have spared. `backends`: none means all."""
    return pb.Cache(
        answers=len(answers.cache),
        bytes=answers.cache.bytes,
        bytes_max=answers.cache.bytes_max,
        evictions_total=answers.cache.evictions_total,
        operations=[
            pb.SharedOperation(backend=reading.driver.name, operation=name, **asdict(reading.counts))
            for name, reading in sorted(answers.readings.items())
            if not backends or reading.driver.name in backends
        ],
    )


def change(entry: Entry) -> pb.Change:
    """An order on record."""
    what = entry.change
    return pb.Change(
        at_ms=milliseconds(entry.at),
        who=entry.actor.who,
        source=entry.actor.source,
        order=what.order,
        backend=what.backend,
        before=what.before,
        after=what.after,
        facts=what.facts,
    )


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


def _failure(driver: Driver) -> str:
    if driver.pool.serving:
        return ""
    return REFUSING if driver.pool.draining else driver.pool.starts.words


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
