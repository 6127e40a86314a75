"""What a frontend may answer again by itself, for how long, and what ends it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.events import Reply, Reuse
from frontend.near import ENTRY_BYTES, Near


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def near(clock: Clock) -> Near:
    return Near(1 << 20, clock, Clock())


def granted(body: bytes = b"{}", near_ms: int = 1000, age_ms: int = 0, tags: tuple[str, ...] = ()) -> Reply:
    return Reply(body, content=False, timing_ms={"backend_ms": 3.0}, reuse=Reuse("miss", age_ms, near_ms, tags))


def keep(near: Near, clock: Clock, key: str, reply: Reply) -> None:
    near.keep(key, reply, clock.now, near.epoch)


def test_an_answer_is_given_again_with_its_age_until_its_time_is_over(near: Near, clock: Clock) -> None:
    keep(near, clock, "k", granted(b'{"n":1}', near_ms=500, age_ms=40))
    clock.now += 0.25
    again = near.find("k")
    assert again is not None
    assert (again.body, again.reuse) == (b'{"n":1}', Reuse("hit", 290, 0, ()))
    assert set(again.timing_ms.values()) == {0.0}
    clock.now += 0.25
    assert near.find("k") is None
    assert (len(near), near.bytes) == (0, 0)


def test_its_time_counts_from_when_it_was_asked_for(near: Near, clock: Clock) -> None:
    near.keep("k", granted(near_ms=500), clock.now - 0.4, near.epoch)
    clock.now += 0.11
    assert near.find("k") is None


def test_a_process_that_was_frozen_gives_nothing_that_is_past_its_time_outside(clock: Clock) -> None:
    wall = Clock()
    near = Near(1000, clock, wall)
    keep(near, clock, "k", granted(near_ms=1000))
    wall.now -= 3600
    assert near.find("k") is not None
    wall.now += 3601
    assert near.find("k") is None


def test_what_was_not_granted_is_not_kept(near: Near, clock: Clock) -> None:
    keep(near, clock, "shared", granted(near_ms=0))
    keep(near, clock, "not shared", Reply(b"{}", content=False, timing_ms={}))
    asked = granted()
    keep(near, clock, "a question", Reply(asked.body, content=False, timing_ms={}, asks=True, reuse=asked.reuse))
    near.keep("late", granted(near_ms=500), clock.now - 0.5, near.epoch)
    assert len(near) == 0


def test_an_invalidation_ends_all_that_bears_the_tag_and_nothing_else(near: Near, clock: Clock) -> None:
    keep(near, clock, "a", granted(tags=("x",)))
    keep(near, clock, "b", granted(tags=("x", "y")))
    keep(near, clock, "c", granted(tags=("y",)))
    keep(near, clock, "d", granted())
    near.invalidate(["x", "unheard of"])
    assert [near.find(key) is not None for key in "abcd"] == [False, False, True, True]


def test_what_was_granted_before_an_invalidation_is_not_kept_after_it(near: Near, clock: Clock) -> None:
    before = near.epoch
    near.invalidate(["x"])
    near.keep("k", granted(tags=("x",)), clock.now, before)
    assert near.find("k") is None
    near.keep("k", granted(tags=("x",)), clock.now, near.epoch)
    assert near.find("k") is not None


def test_nothing_outlives_the_line_that_it_came_on(near: Near, clock: Clock) -> None:
    keep(near, clock, "k", granted(tags=("x",)))
    before = near.epoch
    near.clear()
    near.keep("late", granted(), clock.now, before)
    assert (len(near), near.bytes) == (0, 0)


def test_the_longest_unused_goes_first_when_the_bytes_are_used_up(clock: Clock) -> None:
    near = Near(2 * (100 + ENTRY_BYTES), clock, Clock())
    for key in "ab":
        keep(near, clock, key, granted(b"x" * 100))
    assert near.find("a") is not None
    keep(near, clock, "c", granted(b"x" * 100))
    assert [near.find(key) is not None for key in "abc"] == [True, False, True]


def test_what_is_too_large_pushes_nothing_out(clock: Clock) -> None:
    near = Near(1000, clock, Clock())
    keep(near, clock, "a", granted(b"x"))
    keep(near, clock, "b", granted(b"x" * 1000))
    assert [near.find(key) is not None for key in "ab"] == [True, False]


def test_without_bytes_it_keeps_nothing(clock: Clock) -> None:
    near = Near(0, clock, Clock())
    keep(near, clock, "k", granted(b""))
    assert (bool(near), len(near)) == (False, 0)


_TAGS = st.lists(st.sampled_from("xyz"), max_size=2, unique=True).map(tuple)
_STEPS = st.one_of(
    st.tuples(st.just("keep"), st.sampled_from("abcde"), _TAGS, st.integers(0, 900)),
    st.tuples(st.just("grant"), st.sampled_from("abcde"), _TAGS, st.integers(0, 900)),
    st.tuples(st.just("land")),
    st.tuples(st.just("invalidate"), st.sampled_from("xyz")),
    st.tuples(st.just("clear")),
    st.tuples(st.just("pass"), st.floats(0, 0.5)),
)


@given(st.lists(_STEPS, max_size=60))
def test_nothing_invalidated_or_past_its_time_is_ever_given_and_the_bytes_add_up(steps: list[tuple[Any, ...]]) -> None:
    """Against a model that forgets nothing: which answer of a key was granted last, and what has ended it since."""
    clock = Clock()
    near = Near(5000, clock, Clock())
    alive: dict[str, tuple[bytes, float, tuple[str, ...]]] = {}
    flying: list[tuple[str, Reply, float, int]] = []
    for number, (step, *facts) in enumerate(steps):
        if step in ("keep", "grant"):
            key, tags, size = facts
            reply = granted(b"%d" % number + b"x" * size, near_ms=1000, tags=tags)
            flying.append((key, reply, clock.now, near.epoch))
        if step in ("keep", "land"):
            for key, reply, asked, epoch in flying:
                near.keep(key, reply, asked, epoch)
                if epoch == near.epoch and clock.now < asked + 1:
                    alive[key] = (reply.body, asked + 1, reply.reuse.tags)
            flying.clear()
        if step == "invalidate":
            near.invalidate(facts)
            alive = {key: its for key, its in alive.items() if facts[0] not in its[2]}
        if step == "clear":
            near.clear()
            alive.clear()
        if step == "pass":
            clock.now += facts[0]
        for key in "abcde":
            if (found := near.find(key)) is not None:
                body, until, _ = alive[key]
                assert (found.body, clock.now < until) == (body, True)
        kept = near._entries.values()
        assert near.bytes == sum(entry.size for entry in kept) <= 5000
        assert {key for keys in near._tagged.values() for key in keys} <= near._entries.keys()
