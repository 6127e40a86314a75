"""The life of a connection and of a grant, as two tables.

Each state lists the events that it knows and where they lead; an absent entry is a bug of ours, and the error names the
slot, the state and the event. Every connection state but GONE holds a slot of the cap. What is retired while something
is under way on it (a start, a check, a reset, a call) is DRAINING until that ends, however it ends.

A slot's life begins with a start. That of a connection which a killed pooler has left begins at its end, in CLOSING.

    connection                                        grant
    STARTING ──opened──▶ IDLE ◀───────────────┐       OFFERED ──accepted──▶ RUNNING ──finished──▶ DONE
       │failed            │ granted   emptied │          │declined             │cancelled          ▲
       │        ┌─────────┼──▶ IN_USE ────────┤          ▼                     ▼                   │
       │        │checked  │      │soiled      │         DONE               CANCELLING ──finished───┘
       │        ▼         │      ▼            │
       │     VALIDATING   │   RESETTING ──────┘clean, sound
       │        │unsound  │retired  │unsound
       ▼        ▼         ▼         ▼
    CLOSING ◀─────────────────────────── DRAINING ◀──retired── STARTING, VALIDATING, IN_USE, RESETTING
     ▲ └──confirmed──▶ GONE
     └──adopted
"""

from enum import Enum


class Label(Enum):
    """A name that is looked up with every call: hashed by identity, in C, where Enum hashes its text in Python."""

    __hash__ = object.__hash__


class ConnectionState(Label):
    """Where a connection is in its life."""

    STARTING = "starting"
    VALIDATING = "validating"
    IDLE = "idle"
    IN_USE = "in_use"
    DRAINING = "draining"
    RESETTING = "resetting"
    CLOSING = "closing"
    GONE = "gone"


class ConnectionEvent(Label):
    """What can happen to a connection."""

    OPENED = "opened"
    FAILED = "failed"
    CHECKED = "checked"
    SOUND = "sound"
    UNSOUND = "unsound"
    GRANTED = "granted"
    EMPTIED = "emptied"
    SOILED = "soiled"
    CLEAN = "clean"
    RETIRED = "retired"
    CONDEMNED = "condemned"
    CONFIRMED = "confirmed"


class GrantState(Label):
    """Where a call's turn on a connection is. Before the offer it is a waiter and has none."""

    OFFERED = "offered"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"


class GrantEvent(Label):
    """What can happen to a grant."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    FINISHED = "finished"


IDLE, IN_USE, DRAINING, CLOSING, GONE = (
    ConnectionState.IDLE,
    ConnectionState.IN_USE,
    ConnectionState.DRAINING,
    ConnectionState.CLOSING,
    ConnectionState.GONE,
)
GRANTED, EMPTIED = ConnectionEvent.GRANTED, ConnectionEvent.EMPTIED
OFFERED, RUNNING, ACCEPTED, FINISHED = GrantState.OFFERED, GrantState.RUNNING, GrantEvent.ACCEPTED, GrantEvent.FINISHED
"""What every call asks for, by names of their own: Enum's takes eight times as long to find a member (Python 3.11)."""

_S, _E = ConnectionState, ConnectionEvent

BEGINNINGS = (_S.STARTING, _S.CLOSING)
"""Where a slot's life may begin: with a start, or with an adoption."""

CONNECTION: dict[ConnectionState, dict[ConnectionEvent, ConnectionState]] = {
    _S.STARTING: {_E.OPENED: _S.IDLE, _E.FAILED: _S.CLOSING, _E.RETIRED: _S.DRAINING},
    _S.VALIDATING: {_E.SOUND: _S.IDLE, _E.UNSOUND: _S.CLOSING, _E.RETIRED: _S.DRAINING},
    _S.IDLE: {_E.GRANTED: _S.IN_USE, _E.CHECKED: _S.VALIDATING, _E.RETIRED: _S.CLOSING},
    _S.IN_USE: {
        _E.GRANTED: _S.IN_USE,  # another stream of the same connection
        _E.EMPTIED: _S.IDLE,
        _E.SOILED: _S.RESETTING,
        _E.RETIRED: _S.DRAINING,
        _E.CONDEMNED: _S.CLOSING,
    },
    _S.DRAINING: dict.fromkeys((_E.OPENED, _E.FAILED, _E.SOUND, _E.UNSOUND, _E.CLEAN, _E.CONDEMNED), _S.CLOSING),
    _S.RESETTING: {_E.CLEAN: _S.IDLE, _E.UNSOUND: _S.CLOSING, _E.RETIRED: _S.DRAINING},
    _S.CLOSING: {_E.CONFIRMED: _S.GONE},
    _S.GONE: {},
}

GRANT: dict[GrantState, dict[GrantEvent, GrantState]] = {
    GrantState.OFFERED: {GrantEvent.ACCEPTED: GrantState.RUNNING, GrantEvent.DECLINED: GrantState.DONE},
    GrantState.RUNNING: {GrantEvent.CANCELLED: GrantState.CANCELLING, GrantEvent.FINISHED: GrantState.DONE},
    GrantState.CANCELLING: {GrantEvent.FINISHED: GrantState.DONE},
    GrantState.DONE: {},
}


class ImpossibleTransitionError(AssertionError):
    """A bug of ours: something happened that the tables do not know."""


def next_connection_state(slot: int, state: ConnectionState, event: ConnectionEvent) -> ConnectionState:
    """The state after an event. Raises ImpossibleTransitionError, naming slot, state and event, for an absent entry."""
    try:
        return CONNECTION[state][event]
    except KeyError:
        raise ImpossibleTransitionError(f"slot {slot}: {event.name} while {state.name}") from None


def next_grant_state(slot: int, state: GrantState, event: GrantEvent) -> GrantState:
    """The grant's state after an event. Raises ImpossibleTransitionError for an absent entry."""
    try:
        return GRANT[state][event]
    except KeyError:
        raise ImpossibleTransitionError(f"grant on slot {slot}: {event.name} while {state.name}") from None
