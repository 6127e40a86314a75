"""What a killed pooler has left counts in the cap of the next one, from its first moment on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.core.actions import Action, Offer, Open
from pooler.core.slots import Slot
from pooler.core.states import ConnectionState
from tests.core.scene import Scene, started


def adopted(scene: Scene, *numbers: int) -> list[Slot]:
    return [scene.pool.adopt(number, scene.now) for number in numbers]


def test_an_adopted_slot_is_held_and_closing_and_serves_nobody() -> None:
    scene = Scene(cap=2)

    (slot,) = adopted(scene, 7)

    assert (slot.number, slot.state) == (7, ConnectionState.CLOSING)
    assert scene.pool.held == 1
    assert scene.pool.ledger.idle() is None
    assert not scene.pool.serving


@pytest.mark.promise(1)
def test_nothing_is_started_while_what_was_left_fills_the_cap() -> None:
    scene = Scene(cap=2, warm=2)
    first, second = adopted(scene, 1, 2)

    assert scene.pool.tick(scene.now) == []
    scene.queued()

    (one,) = started(scene.pool.gone(first, scene.now))
    (other,) = started(scene.pool.gone(second, scene.now))
    assert scene.pool.held == 2
    assert {one.number, other.number} == {3, 4}


def test_only_the_places_that_are_not_held_are_started() -> None:
    scene = Scene(cap=3, warm=3, parallel_starts=3)
    adopted(scene, 4)

    assert len(started(scene.pool.tick(scene.now))) == 2


def test_the_number_of_what_was_left_is_given_to_no_other_slot() -> None:
    scene = Scene(cap=9, warm=3, parallel_starts=9)
    adopted(scene, 5, 2)

    assert [slot.number for slot in started(scene.pool.tick(scene.now))] == [6, 7, 8]


def test_a_number_that_is_taken_cannot_be_adopted_again() -> None:
    scene = Scene()
    adopted(scene, 1)

    with pytest.raises(AssertionError):
        adopted(scene, 1)


def test_more_may_be_left_than_the_cap_now_allows_and_then_it_is_waited_for() -> None:
    scene = Scene(cap=2, warm=2)
    slots = adopted(scene, 1, 2, 3, 4)
    assert scene.pool.tick(scene.now) == []

    begun = [len(started(scene.pool.gone(slot, scene.now))) for slot in slots]

    assert begun == [0, 0, 1, 1]


def test_a_pool_that_drains_waits_for_what_was_left() -> None:
    scene = Scene(cap=2)
    (left,) = adopted(scene, 1)

    assert scene.pool.drain(scene.now) == []
    assert scene.pool.held == 1
    assert scene.pool.gone(left, scene.now) == []
    assert scene.pool.held == 0


@given(
    cap=st.integers(1, 5),
    left=st.sets(st.integers(1, 30), max_size=8),
    callers=st.integers(0, 12),
    parallel=st.integers(1, 5),
    choices=st.lists(st.integers(0, 1000), max_size=60),
)
def test_in_any_order_of_ends_and_starts_no_more_is_begun_than_the_cap_has_room_for(
    cap: int, left: set[int], callers: int, parallel: int, choices: list[int]
) -> None:
    scene = Scene(cap=cap, parallel_starts=parallel)
    ends = adopted(scene, *sorted(left))
    starts: list[Slot] = []
    served = 0

    def carry_out(actions: list[Action]) -> None:
        nonlocal served
        for action in actions:
            assert isinstance(action, Open | Offer)
            if isinstance(action, Open):
                starts.append(action.slot)
                assert scene.pool.held <= cap  # a start never exceeds it; what was left may have
            else:
                served += 1

    carry_out(scene.pool.tick(scene.now))
    for _ in range(callers):
        carry_out(scene.ask()[1])
    for choice in choices:
        scene.later(1.0)
        if ends and choice % 2:
            carry_out(scene.pool.gone(ends.pop(choice % len(ends)), scene.now))
        elif starts:
            carry_out(scene.open(starts.pop(choice % len(starts))))
    while ends or starts:
        carry_out(scene.pool.gone(ends.pop(), scene.now) if ends else scene.open(starts.pop()))

    assert served == min(cap, callers)
    assert scene.pool.count(ConnectionState.CLOSING) == 0
    assert not {slot.number for slot in scene.pool.ledger.slots.values()} & left
