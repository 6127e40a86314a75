"""When a conversation is over, and which one gives way: the rules against the plainest model of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pooler.core.conversations import Life, Limits, Register

LIMITS = Limits(idle_seconds=30.0, lifetime_seconds=100.0, per_principal_max=3)
ANN, BOB = ("shop", "ann"), ("shop", "bob")


def opened(register: Register, key: str, owner: tuple[str, str] = ANN, at: float = 0.0) -> Life:
    life = Life(key, owner, at, at)
    register.add(life)
    return life


def keys(lives: list[Life] | None) -> list[str] | None:
    return None if lives is None else [life.key for life in lives]


def test_a_conversation_is_over_when_nobody_has_used_it_for_its_idle_time() -> None:
    register = Register(LIMITS)
    life = opened(register, "a")

    register.use(life, 20.0)

    assert (register.is_over(life, 49.9), keys(register.over(49.9))) == (False, [])
    assert (register.is_over(life, 50.0), keys(register.over(50.0))) == (True, ["a"])


def test_a_conversation_that_is_used_all_the_time_is_over_at_its_age() -> None:
    register = Register(LIMITS)
    life = opened(register, "a")
    for second in range(0, 100, 10):
        register.use(life, float(second))

    assert keys(register.over(99.9)) == []
    assert keys(register.over(100.0)) == ["a"]


def test_what_is_under_way_keeps_a_conversation_from_idling_and_not_from_growing_old() -> None:
    register = Register(LIMITS)
    life = opened(register, "a")
    life.holds = 1

    assert (register.is_over(life, 60.0), keys(register.over(60.0))) == (False, [])
    life.holds = 0
    assert keys(register.over(89.9)) == []
    assert keys(register.over(90.0)) == ["a"]
    life.holds = 1
    assert keys(register.over(100.0)) == ["a"]


def test_one_conversation_more_ends_the_one_that_was_not_used_for_longest() -> None:
    register = Register(LIMITS)
    lives = {key: opened(register, key) for key in "abc"}
    opened(register, "of bob", BOB)
    register.use(lives["a"], 1.0)

    assert keys(register.room(ANN)) == ["b"]
    assert keys(register.room(BOB)) == []


def test_one_that_is_in_use_never_gives_way() -> None:
    register = Register(LIMITS)
    lives = {key: opened(register, key) for key in "abc"}
    lives["a"].holds = lives["b"].holds = 1

    assert keys(register.room(ANN)) == ["c"]
    lives["c"].holds = 1
    assert register.room(ANN) is None


def test_a_lower_bound_makes_as_many_give_way_as_are_too_many() -> None:
    register = Register(LIMITS)
    for key in "abc":
        opened(register, key)

    register.limits = Limits(per_principal_max=1)

    assert keys(register.room(ANN)) == ["a", "b", "c"]


def test_a_conversation_ends_once_and_leaves_nothing_behind() -> None:
    register = Register(LIMITS)
    life = opened(register, "a")

    assert (register.remove(life), register.remove(life)) == (True, False)
    register.use(life, 1.0)
    assert (len(register), "a" in register, register.over(1000.0), register.room(ANN)) == (0, False, [], [])
    assert register._of == {}


def test_those_of_an_earlier_process_stand_in_the_order_of_their_use_and_age() -> None:
    register = Register(LIMITS)
    register.load([Life("young", ANN, 50.0, 55.0), Life("used", ANN, 10.0, 60.0), Life("idle", ANN, 20.0, 20.0)])

    assert keys(register.room(ANN)) == ["idle"]
    assert keys(register.over(50.0)) == ["idle"]
    assert keys(register.over(110.0)) == ["used", "idle", "young"]


def test_those_that_were_used_lately_are_told_from_the_others() -> None:
    register = Register(LIMITS)
    lives = {key: opened(register, key) for key in "abc"}
    register.use(lives["b"], 5.0)
    register.use(lives["a"], 7.0)

    assert [life.key for life in register.used_since(5.0)] == ["a"]
    assert [life.key for life in register.used_since(0.0)] == ["a", "b"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["open", "use", "hold", "release", "pass", "end"]),
        st.integers(min_value=0, max_value=9),
        st.sampled_from([ANN, BOB]),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps)
def test_over_any_history_the_register_ends_just_those_whose_time_has_come(history) -> None:
    register, now = Register(LIMITS), 0.0
    known: dict[str, Life] = {}
    for number, (step, chosen, owner) in enumerate(history):
        life = list(known.values())[chosen % len(known)] if known else None
        if step == "open":
            gone = register.room(owner)
            assert gone is None or len(gone) <= 1
            for each in gone or []:
                assert not each.holds
                register.remove(known.pop(each.key))
            if gone is not None:
                known[str(number)] = opened(register, str(number), owner, now)
        elif step == "pass":
            now += 5.0 * chosen
        elif life is not None and step == "use":
            register.use(life, now)
        elif life is not None and step == "hold":
            life.holds += 1
        elif life is not None and step == "release" and life.holds:
            life.holds -= 1
            register.use(life, now)
        elif life is not None and step == "end":
            register.remove(known.pop(life.key))
        due = {key for key, each in known.items() if register.is_over(each, now)}
        assert {each.key for each in register.over(now)} == due
        for key in due:
            register.remove(known.pop(key))
        assert len(register) == len(known)
        assert all(sum(each.owner == who for each in known.values()) <= 3 for who in (ANN, BOB))


@pytest.mark.parametrize("holds", [0, 1])
def test_looking_for_what_is_over_changes_nothing_for_what_is_not(holds: int) -> None:
    register = Register(LIMITS)
    life = opened(register, "a")
    life.holds = holds

    register.over(29.0)

    assert life.used_at == 0.0
