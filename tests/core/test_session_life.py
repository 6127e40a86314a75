"""The table of a session's life, and what its limits say, by plain calls."""

import pytest

from pooler.core.sessions import (
    REFUSALS,
    SESSION,
    Act,
    Ending,
    Life,
    Limits,
    SessionEvent,
    SessionState,
    Tools,
    retry_seconds,
)
from pooler.core.states import ImpossibleTransitionError
from pooler.errors import Reason

LIMITS = Limits(sessions_max=2, idle_seconds=30.0, lifetime_seconds=300.0)
E, S = SessionEvent, SessionState


def life(*events: SessionEvent, now: float = 1000.0) -> Life:
    """One to which this has happened, all at once."""
    found = Life(LIMITS)
    for event in events:
        found.happen(event, now)
    return found


def test_every_state_is_in_the_table_and_says_what_a_call_hears() -> None:
    assert SESSION.keys() == REFUSALS.keys() == set(SessionState)


def test_every_state_but_the_last_can_be_left_by_the_loss_of_the_connection() -> None:
    assert {state for state, after in SESSION.items() if after.get(E.GONE) is S.ENDED} == set(S) - {S.ENDED}


def test_only_an_idle_session_and_one_that_has_answered_take_a_call() -> None:
    assert {state for state, reason in REFUSALS.items() if reason is None} == {S.IDLE, S.LINGERING}


def test_an_absent_entry_is_a_bug_that_names_state_and_event() -> None:
    with pytest.raises(ImpossibleTransitionError, match="session: OPENED while IDLE"):
        life(E.OPENED, E.OPENED)


@pytest.mark.promise(20)
@pytest.mark.parametrize("act", Act)
def test_a_second_call_at_once_is_told_that_the_session_is_in_use(act: Act) -> None:
    assert life(E.OPENED, E.ASKED).refusal(act) is Reason.SESSION_IN_USE


@pytest.mark.promise(20)
@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("events", [(E.OPENED, E.CUT), (E.OPENED, E.GONE), (E.OPENED, E.ASKED, E.CUT)])
def test_whatever_is_asked_after_its_end_is_refused_for_certain(act: Act, events: tuple[SessionEvent, ...]) -> None:
    assert life(*events).refusal(act) is Reason.HANDLE_EXPIRED


def test_a_failed_transaction_takes_nothing_but_its_rollback() -> None:
    found = life(E.OPENED, E.ASKED, E.DONE)
    found.fail("the first cause")
    found.fail("another one")
    assert [found.refusal(act) for act in Act] == [Reason.REFUSED, Reason.REFUSED, None]
    assert found.failed == "the first cause"


def test_a_commit_that_is_under_way_is_not_cut() -> None:
    found = life(E.OPENED, E.ASKED, E.CLOSES, E.CUT)
    assert found.state is S.CLOSING
    assert found.expired(1e9) is None


@pytest.mark.promise(20)
def test_it_idles_out_from_its_last_call_and_outlives_nothing() -> None:
    found = life(E.OPENED)
    assert found.due_at == 1030.0
    found.happen(E.ASKED, 1020.0)
    assert (found.due_at, found.expired(1040.0)) == (1300.0, None)
    found.happen(E.DONE, 1045.0)
    assert found.expired(1074.9) is None
    assert found.expired(1075.0) is Ending.IDLED
    found.happen(E.ASKED, 1074.0)
    found.happen(E.DONE, 1299.0)
    assert found.due_at == 1300.0
    assert found.expired(1300.0) is Ending.OUTLIVED


def test_one_that_is_still_being_opened_has_all_the_time_that_its_call_has() -> None:
    assert Life(LIMITS).due_at == float("inf")
    assert Life(LIMITS).expired(1e9) is None


def test_how_it_ended_is_what_was_said_first() -> None:
    found = life(E.OPENED)
    found.end(Ending.IDLED)
    found.end(Ending.LOST)
    assert found.ending is Ending.IDLED


def test_the_hint_when_to_come_back_lies_between_a_moment_and_the_idle_time() -> None:
    idle = life(E.OPENED)
    assert retry_seconds([idle, life(E.OPENED, E.ASKED)], LIMITS, 1010.0) == 20.0
    assert retry_seconds([idle], LIMITS, 2000.0) == 0.1
    assert retry_seconds([Life(LIMITS)], LIMITS, 1000.0) == 30.0
    assert retry_seconds([], LIMITS, 1000.0) == 0.1


def test_where_there_are_no_transactions_a_session_is_opened_and_closed() -> None:
    assert Tools.of("orders", True) == ("orders_begin", "orders_commit", "orders_rollback")
    assert Tools.of("loans", False) == ("loans_open", "loans_close", "loans_close")
