"""Who is next."""

import pytest

from pooler.core.fairness import HANDICAP_SECONDS, Queue
from pooler.core.slots import Priority, Waiter


def waiter(asked_at: float, priority: Priority = Priority.INTERACTIVE) -> Waiter:
    return Waiter(asked_at, asked_at + 60, priority=priority)


def queue_of(*waiters: Waiter) -> Queue:
    queue = Queue()
    for one in waiters:
        queue.push(one)
    return queue


@pytest.mark.promise(21)
def test_whoever_came_first_is_served_first():
    first, second, third = waiter(1), waiter(2), waiter(3)
    assert queue_of(first, second, third).clear() == [first, second, third]


def test_callers_of_the_same_instant_keep_their_order():
    same = [waiter(5) for _ in range(20)]
    assert queue_of(*same).clear() == same


def test_a_batch_call_stands_behind_the_people_who_come_within_its_handicap():
    handicap = HANDICAP_SECONDS[Priority.BATCH]
    batch, soon, late = waiter(0, Priority.BATCH), waiter(handicap - 0.001), waiter(handicap + 0.001)
    assert queue_of(batch, soon, late).clear() == [soon, batch, late]


@pytest.mark.promise(21)
def test_a_batch_call_is_not_starved_by_a_steady_stream_of_people():
    queue = queue_of(batch := waiter(0, Priority.BATCH))
    served = []
    for second in range(60):
        queue.push(waiter(float(second)))
        served.append(queue.pop())
    assert served.index(batch) == HANDICAP_SECONDS[Priority.BATCH] + 1


def test_a_waiter_can_leave_from_anywhere_and_only_once():
    first, second, third = waiter(1), waiter(2), waiter(3)
    queue = queue_of(first, second, third)
    assert queue.remove(second) is True
    assert queue.remove(second) is False
    assert queue.clear() == [first, third]


def test_who_lost_its_turn_through_no_fault_of_its_own_is_next():
    first, second, again = waiter(1), waiter(2), waiter(0)
    queue = queue_of(first, second)
    queue.push(again, front=True)
    assert queue.clear() == [again, first, second]


def test_its_length_counts_every_priority():
    queue = queue_of(waiter(1), waiter(2, Priority.BATCH), waiter(3))
    assert len(queue) == 3
    queue.pop()
    assert len(queue) == 2


def test_it_knows_who_waits():
    inside, outside = waiter(1, Priority.BATCH), waiter(1)
    queue = queue_of(inside)
    assert inside in queue
    assert outside not in queue
    assert "a waiter" not in queue


def test_the_oldest_is_whoever_came_first_whatever_its_priority():
    batch, person = waiter(1, Priority.BATCH), waiter(2)
    queue = queue_of(person, batch)
    assert queue.oldest() is batch
    queue.remove(batch)
    assert queue.oldest() is person


def test_an_empty_queue_has_no_oldest_and_no_next():
    queue = Queue()
    assert queue.oldest() is None
    assert queue.clear() == []
    with pytest.raises(KeyError, match="nobody is servable"):
        queue.pop()
