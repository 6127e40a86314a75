"""The two tables: what can happen to a connection and to a grant, and nothing else."""

import itertools

import pytest

from pooler.core.states import (
    BEGINNINGS,
    CONNECTION,
    GRANT,
    ConnectionEvent,
    ConnectionState,
    GrantEvent,
    GrantState,
    ImpossibleTransitionError,
    next_connection_state,
    next_grant_state,
)

DRAINING = ConnectionState.DRAINING


def reachable(table, first):
    """Every state that some sequence of events leads to."""
    seen = {first}
    while more := {after for state in seen for after in table[state].values()} - seen:
        seen |= more
    return seen


def test_each_table_lists_every_state():
    assert set(ConnectionState) == set(CONNECTION)
    assert set(GrantState) == set(GRANT)


def test_every_state_can_be_reached_from_the_first_and_reaches_the_last():
    assert reachable(CONNECTION, ConnectionState.STARTING) == set(ConnectionState)
    assert reachable(GRANT, GrantState.OFFERED) == set(GrantState)
    assert all(ConnectionState.GONE in reachable(CONNECTION, state) for state in ConnectionState)
    assert all(GrantState.DONE in reachable(GRANT, state) for state in GrantState)


def test_every_event_is_known_to_some_state():
    assert {event for events in CONNECTION.values() for event in events} == set(ConnectionEvent)
    assert {event for events in GRANT.values() for event in events} == set(GrantEvent)


def test_a_slot_is_freed_only_by_a_death_that_was_confirmed():
    ways = [
        (state, event)
        for state, events in CONNECTION.items()
        for event, after in events.items()
        if after is ConnectionState.GONE
    ]
    assert ways == [(ConnectionState.CLOSING, ConnectionEvent.CONFIRMED)]


def test_no_life_begins_where_a_call_could_be_served():
    assert not set(BEGINNINGS) & {ConnectionState.IDLE, ConnectionState.IN_USE, ConnectionState.GONE}


def test_only_an_idle_or_shared_connection_is_granted():
    granting = {state for state, events in CONNECTION.items() if ConnectionEvent.GRANTED in events}
    assert granting == {ConnectionState.IDLE, ConnectionState.IN_USE}


def test_the_end_of_a_connection_and_of_a_grant_is_final():
    assert CONNECTION[ConnectionState.GONE] == {}
    assert GRANT[GrantState.DONE] == {}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(ConnectionState, ConnectionEvent)))
def test_an_absent_entry_is_a_bug_that_names_slot_state_and_event(state, event):
    if event in CONNECTION[state]:
        assert next_connection_state(7, state, event) is CONNECTION[state][event]
        return
    with pytest.raises(ImpossibleTransitionError, match=rf"slot 7: {event.name} while {state.name}"):
        next_connection_state(7, state, event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(GrantState, GrantEvent)))
def test_an_absent_entry_for_a_grant_is_a_bug_that_names_slot_state_and_event(state, event):
    if event in GRANT[state]:
        assert next_grant_state(7, state, event) is GRANT[state][event]
        return
    with pytest.raises(ImpossibleTransitionError, match=rf"grant on slot 7: {event.name} while {state.name}"):
        next_grant_state(7, state, event)


def test_whatever_is_retired_while_something_is_under_way_ends_with_it():
    under_way = {state for state, events in CONNECTION.items() if events.get(ConnectionEvent.RETIRED) is DRAINING}
    assert under_way == {
        ConnectionState.STARTING,
        ConnectionState.VALIDATING,
        ConnectionState.IN_USE,
        ConnectionState.RESETTING,
    }
    assert set(CONNECTION[DRAINING].values()) == {ConnectionState.CLOSING}
