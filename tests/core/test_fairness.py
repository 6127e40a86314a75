"""Fair shares: who is next when several tenants want the same backend."""

from collections import Counter

import pytest

from pooler.core.fairness import BURST_CALLS, RESTING_MAX, STALE_MAX, Queue, Share
from pooler.core.slots import Priority, Waiter


def waiter(tenant: str, expected: float = 1.0, priority: Priority = Priority.INTERACTIVE) -> Waiter:
    return Waiter(0.0, 1e9, tenant=tenant, expected_seconds=expected, priority=priority)


def serve(queue: Queue, count: int, took: float | None = None) -> Counter[str]:
    """Serves so many, one at a time; each takes what was expected, or `took`."""
    served: Counter[str] = Counter()
    for _ in range(count):
        one = queue.pop()
        queue.granted(one)
        queue.returned(one, one.expected_seconds if took is None else took)
        served[one.tenant] += 1
    return served


@pytest.mark.promise(22)
def test_tenants_that_both_want_everything_get_equal_shares():
    queue = Queue()
    for _ in range(1000):
        queue.push(waiter("a"))
    for _ in range(100):
        queue.push(waiter("b"))
    assert serve(queue, 200) == {"a": 100, "b": 100}


@pytest.mark.promise(22)
def test_shares_follow_the_weights():
    queue = Queue({"a": Share(weight=3.0)})
    for _ in range(400):
        queue.push(waiter("a"))
        queue.push(waiter("b"))
    serve(queue, 80)  # what both had to the good is used up
    assert serve(queue, 240) == {"a": 180, "b": 60}


@pytest.mark.promise(22)
def test_a_tenant_that_is_alone_gets_everything():
    queue = Queue({"a": Share(weight=0.1), "b": Share(weight=9.0)})
    for _ in range(50):
        queue.push(waiter("a"))
    assert serve(queue, 50) == {"a": 50}


def test_shares_are_of_time_and_not_of_calls():
    queue = Queue()
    for _ in range(100):
        queue.push(waiter("slow", expected=3.0))
        queue.push(waiter("quick", expected=1.0))
    serve(queue, 40)
    assert serve(queue, 80) == {"slow": 20, "quick": 60}


def test_what_a_call_really_took_is_settled_when_it_ends():
    queue = Queue()
    for _ in range(200):
        queue.push(waiter("liar", expected=0.0))
        queue.push(waiter("honest", expected=1.0))
    served: Counter[str] = Counter()
    for _ in range(120):
        one = queue.pop()
        queue.granted(one)
        queue.returned(one, 1.0)
        served[one.tenant] += 1
    assert abs(served["liar"] - served["honest"]) <= BURST_CALLS + 1


@pytest.mark.promise(22)
def test_whoever_idled_may_send_a_burst_and_then_has_its_share_and_no_more():
    queue = Queue()
    for _ in range(300):
        queue.push(waiter("busy"))
    serve(queue, 200)
    for _ in range(100):
        queue.push(waiter("late"))
    assert serve(queue, BURST_CALLS) == {"late": BURST_CALLS}
    assert serve(queue, 80) == {"busy": 40, "late": 40}


@pytest.mark.promise(22)
def test_a_burst_is_earned_again_by_asking_for_less_than_the_share_and_in_no_other_way():
    queue = Queue()
    for _ in range(300):
        queue.push(waiter("busy"))
    for _ in range(40):
        queue.push(waiter("late"))
    serve(queue, 80 - BURST_CALLS)
    assert serve(queue, 20)["late"] <= 10
    queue.push(waiter("late"))
    assert serve(queue, 2) == {"busy": 1, "late": 1}
    serve(queue, 2 * BURST_CALLS)
    for _ in range(20):
        queue.push(waiter("late"))
    assert serve(queue, BURST_CALLS) == {"late": BURST_CALLS}


def test_within_a_tenant_priority_and_age_decide():
    queue = Queue()
    batch, person = waiter("a", priority=Priority.BATCH), waiter("a")
    queue.push(batch)
    queue.push(person)
    assert [queue.pop(), queue.pop()] == [person, batch]


def test_a_tenant_at_its_limit_of_connections_lets_the_others_pass_and_comes_back():
    queue = Queue({"a": Share(connections_max=1)})
    first, second, other = waiter("a"), waiter("a"), waiter("b")
    for one in (first, second, other):
        queue.push(one)
    assert queue.servable == 2
    assert queue.pop() is first
    queue.granted(first)
    assert queue.servable == 1
    assert queue.pop() is other
    queue.granted(other)
    assert queue.servable == 0
    with pytest.raises(KeyError):
        queue.pop()
    assert len(queue) == 1
    queue.returned(first, 1.0)
    assert queue.pop() is second


def test_a_tenant_is_full_by_its_own_limit_only():
    queue = Queue({"a": Share(queue_max=2)})
    for _ in range(2):
        assert not queue.full("a")
        queue.push(waiter("a"))
        queue.push(waiter("b"))
    assert queue.full("a")
    assert not queue.full("b")


def test_new_shares_hold_for_those_who_wait_already():
    queue = Queue({"a": Share(connections_max=1)})
    first, second = waiter("a"), waiter("a")
    queue.push(first)
    queue.push(second)
    queue.granted(queue.pop())
    assert queue.servable == 0
    queue.reconfigure({"a": Share(connections_max=2)})
    assert queue.servable == 1
    assert queue.pop() is second


def test_tenants_that_come_once_and_never_again_leave_no_account_behind():
    queue = Queue()
    queue.push(waiter("steady"))
    for number in range(5 * RESTING_MAX):
        queue.push(waiter(f"tenant {number}"))
        one = queue.pop()
        queue.granted(one)
        queue.returned(one, 1.0)
    assert len(queue._lanes) <= RESTING_MAX + 2


def test_a_long_queue_of_one_tenant_stands_in_the_order_only_once():
    queue = Queue()
    for _ in range(1000):
        queue.push(waiter("a"))
    assert len(queue._order) == 1


@pytest.mark.promise(23)
def test_tenants_that_come_and_leave_while_nobody_is_served_leave_nothing_in_the_order():
    queue = Queue()
    queue.push(waiter("steady"))
    for number in range(10_000):
        queue.push(one := waiter(f"tenant {number}"))
        assert queue.remove(one)
    assert len(queue._order) <= 2 * (RESTING_MAX + 2) + STALE_MAX
    assert queue.pop().tenant == "steady"


@pytest.mark.promise(22)
def test_the_last_of_whoever_takes_up_most_of_the_queue_gives_way_to_a_newcomer():
    queue = Queue()
    greedy = [waiter("greedy") for _ in range(5)]
    for one in [*greedy, waiter("modest")]:
        queue.push(one)
    assert queue.gives_way("modest") is greedy[-1]
    assert queue.gives_way("new") is greedy[-1]
    assert queue.gives_way("greedy") is None


def test_nobody_gives_way_to_a_tenant_that_would_then_take_up_as_much():
    queue = Queue()
    for tenant in ("a", "a", "a", "b", "b"):
        queue.push(waiter(tenant))
    assert queue.gives_way("b") is None


def test_a_tenant_may_take_up_as_much_of_the_queue_as_its_weight_says():
    queue = Queue({"heavy": Share(weight=4.0)})
    light = [waiter("light") for _ in range(3)]
    for one in [*light, *(waiter("heavy") for _ in range(6))]:
        queue.push(one)
    assert queue.gives_way("heavy") is light[-1]


def test_of_the_one_who_gives_way_its_batch_calls_go_first():
    queue = Queue()
    batch = waiter("greedy", priority=Priority.BATCH)
    for one in [waiter("greedy"), batch, waiter("greedy")]:
        queue.push(one)
    assert queue.gives_way("modest") is batch
