"""The parts of shared answers, by plain calls: what a tag is called, whose an answer is, who gives way to whom."""

from typing import Any

import pytest

from pooler.core.cache import ENTRY_BYTES, SHARE_MAX, Cache, Entry, Standing, Terms
from pooler.core.epochs import Epochs, moved, names
from pooler.core.flights import Flights
from pooler.core.slots import Priority, Waiter
from pooler.runtime.reuse.reading import canonical
from pooler.runtime.reuse.tags import rendered

# Tags


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("4711", "row:4711"),
        (4711, "row:4711"),
        (4711.0, "row:4711"),
        (47.5, "row:47.5"),
        (True, "row:true"),
        (None, "row:null"),
        ("two words\nand 5%", "row:two%20words%0Aand%205%25"),
        ("Zürich", "row:Zürich"),
        ([1, 2], "row:[1,%202]"),
    ],
)
def test_a_tag_is_one_word_whatever_the_argument(value: Any, tag: str) -> None:
    assert rendered(["row:{id}"], {"id": value}) == (tag,)


def test_a_long_value_is_named_by_its_digest() -> None:
    ((one,), (other,)) = (rendered(["row:{id}"], {"id": letter * 100_000}) for letter in "ab")

    assert one != other
    assert len(one) == len(other) == len("row:sha256:") + 64


def test_a_tag_may_have_several_places_or_none() -> None:
    assert rendered(["orders", "{a}:{b}"], {"a": 1, "b": "x"}) == ("orders", "1:x")


# Keys


def test_the_same_arguments_are_the_same_bytes_in_whatever_order_and_others_are_not() -> None:
    assert canonical({"a": 1, "b": [1, {"d": 1, "c": 2}]}) == canonical({"b": [1, {"c": 2, "d": 1}], "a": 1})
    assert len({canonical({"a": value}) for value in (1, "1", 1.5, True, None, [1], 2**70, 2**70 + 1)}) == 8


# Epochs


def test_a_tag_that_nobody_holds_leaves_no_trace() -> None:
    epochs = Epochs()
    marks = epochs.hold(["a", "b"])
    again = epochs.hold(["b"])
    epochs.let_go(marks)
    epochs.move(["a", "b", "c"])

    assert len(epochs) == 1
    assert moved(again, 0)
    epochs.let_go(again)
    assert len(epochs) == 0


def test_what_was_begun_after_a_move_is_not_hit_by_it() -> None:
    epochs = Epochs()
    marks = epochs.hold(["a"])
    epochs.move(["a"])

    assert moved(marks, epochs.now - 1)
    assert not moved(marks, epochs.now)


def test_a_tag_of_ones_own_can_be_named_by_nobody() -> None:
    epochs = Epochs()
    own = epochs.own("a")
    epochs.move(["a"])
    assert not moved((own,), 0)

    epochs.move([], [own])
    assert moved((own,), 0)
    assert names((own, *epochs.hold(["b"]))) == ("b",)


# How long


@pytest.mark.promise(27)
@pytest.mark.parametrize(
    ("age", "standing"),
    [
        (0.0, Standing.FRESH),
        (9.9, Standing.FRESH),
        (10.0, Standing.STALE),
        (14.9, Standing.STALE),
        (15.0, Standing.SPENT),
        (39.9, Standing.SPENT),
        (40.0, Standing.OVER),
    ],
)
def test_what_an_answer_is_good_for_by_its_age(age: float, standing: Standing) -> None:
    assert Terms(ttl=10.0, stale=5.0, down=30.0).standing(age) is standing


# Room


def entry(epochs: Epochs, owner: str, key: str, size: int = 1000) -> Entry:
    return Entry(owner, key, "an answer", size, epochs.hold([f"{owner}:{key}"]), epochs.now, 0.0)


@pytest.mark.promise(27)
def test_whoever_keeps_the_most_gives_way_and_of_his_the_one_that_was_not_used_for_longest() -> None:
    epochs = Epochs()
    cache = Cache(20_000, epochs)
    for number in range(3):
        cache.put(entry(epochs, "small", f"{number}"))
    for number in range(30):
        cache.put(entry(epochs, "large", f"{number}"))
        cache.get("large", "0")  # the one that is used again and again

    assert [cache.get("small", f"{number}") is not None for number in range(3)] == [True] * 3
    kept = [number for number in range(30) if cache.get("large", f"{number}")]
    assert kept == [0, *range(14, 30)]
    assert (cache.bytes, cache.evictions_total, len(epochs)) == (20_000, 13, 20)


def test_an_answer_that_would_take_most_of_the_cache_is_not_kept() -> None:
    epochs = Epochs()
    cache = Cache(16_000, epochs)

    assert not cache.put(entry(epochs, "one", "large", 16_000 // SHARE_MAX + 1))
    assert cache.put(entry(epochs, "one", "fitting", 16_000 // SHARE_MAX))


def test_an_answer_takes_the_place_of_the_one_before_it() -> None:
    epochs = Epochs()
    cache = Cache(100_000, epochs)
    first, second = entry(epochs, "one", "x"), entry(epochs, "one", "x", 500)
    cache.put(first)
    cache.put(second)
    cache.drop(first)

    assert cache.get("one", "x") is second
    assert (cache.bytes, len(cache)) == (500, 1)
    cache.drop(second)
    assert (cache.bytes, len(cache), len(epochs)) == (0, 0, 0)


def test_a_smaller_cache_makes_room_at_once() -> None:
    epochs = Epochs()
    cache = Cache(100_000, epochs)
    for number in range(10):
        cache.put(entry(epochs, "one", f"{number}"))
    cache.bytes_max = 3_500

    assert (cache.bytes, len(cache), len(epochs)) == (3000, 3, 3)


def test_to_purge_is_no_use_of_what_stays() -> None:
    epochs = Epochs()
    cache = Cache(20_000, epochs)
    for number in range(20):
        cache.put(entry(epochs, "one", f"{number}"))
    cache.get("one", "0")
    epochs.move(["one:5"])

    assert cache.purge(lambda each: not each.valid) == 1
    cache.put(entry(epochs, "one", "20"))
    cache.put(entry(epochs, "one", "21"))
    assert cache.get("one", "1") is None
    assert cache.get("one", "0") is not None


# Flights


def waiter(give_up_at: float, priority: Priority = Priority.BATCH) -> Waiter:
    return Waiter(0.0, give_up_at, give_up_at + 10.0, priority=priority)


def test_a_flight_is_as_patient_as_the_most_patient_and_as_urgent_as_the_most_urgent_on_board() -> None:
    epochs = Epochs()
    flight = Flights(Cache(1 << 20, epochs), epochs).open(Terms(), "one", "x", ())

    assert flight.board(waiter(20.0))
    assert (flight.give_up_at, flight.deadline, flight.priority) == (20.0, 30.0, Priority.BATCH)
    assert not flight.board(waiter(10.0))
    assert flight.board(waiter(15.0, Priority.INTERACTIVE))
    assert flight.board(waiter(40.0))
    assert (flight.give_up_at, flight.deadline, flight.priority) == (40.0, 50.0, Priority.INTERACTIVE)


def test_a_flight_that_renews_an_answer_goes_on_without_anybody() -> None:
    epochs = Epochs()
    flights = Flights(Cache(1 << 20, epochs), epochs)
    renewing, plain = flights.open(Terms(), "one", "x", ()), flights.open(Terms(), "one", "y", ())
    renewing.ahead_of_time = True
    caller = waiter(1.0)
    for flight in (renewing, plain):
        flight.board(caller)

    assert (renewing.leave(caller), plain.leave(caller)) == (False, True)


def test_only_the_newest_flight_of_a_key_is_joined_and_an_older_one_takes_nothing_from_it() -> None:
    epochs = Epochs()
    flights = Flights(Cache(1 << 20, epochs), epochs)
    old = flights.open(Terms(5.0), "one", "x", epochs.hold(["tag"]))
    old.begin(epochs.now, 0.0)
    epochs.move(["tag"])
    assert flights.under_way("x", 1.0) is None

    new = flights.open(Terms(5.0), "one", "x", epochs.hold(["tag"]))
    flights.landed(old, "old", 10)
    assert flights.under_way("x", 1.0) is new
    new.begin(epochs.now, 1.0)
    assert flights.landed(new, "new", 10)
    hit = flights.find(Terms(5.0), "one", "x", 2.0, down=False)
    assert hit is not None
    assert (hit.entry.value, hit.age, hit.entry.size) == ("new", 1.0, 10 + ENTRY_BYTES)
