"""Handles: who may open them, for how long, and that nobody else learns anything."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.clock import anchored
from pooler.errors import Fault, Reason
from pooler.runtime.handles import KEY_BYTES, REMEDIES, Sealer

NOW = 1_800_000_000.0
KEY = bytes(range(KEY_BYTES))
OTHER_KEY = bytes(KEY_BYTES)
VISIBLE = string.ascii_letters + string.digits + string.punctuation
TEXT = "._-" + string.ascii_letters + string.digits

kinds = st.sampled_from(sorted(REMEDIES))
names = st.text(max_size=40)


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def sealer(pooler_id: str = "0a1b2c3d", keys: tuple[bytes, ...] = (KEY,), wall: Wall | None = None) -> Sealer:
    return Sealer(pooler_id, keys, wall or Wall())


def reason(
    handle: str, kind: str = "run", tenant: str = "shop", principal: str = "ann", by: Sealer | None = None
) -> str:
    with pytest.raises(Fault) as raised:
        (by or sealer()).open(handle, kind, tenant, principal)
    assert REMEDIES[kind] in raised.value.message
    return raised.value.reason


@given(kind=kinds, payload=st.binary(max_size=200), tenant=names, principal=names)
def test_a_handle_gives_its_payload_back_to_its_own_caller(
    kind: str, payload: bytes, tenant: str, principal: str
) -> None:
    seals = sealer()

    handle = seals.seal(kind, payload, tenant, principal, NOW + 60)

    assert seals.open(handle, kind, tenant, principal) == payload


@given(payload=st.binary(max_size=60), at=st.integers(min_value=0), to=st.sampled_from(VISIBLE))
def test_a_handle_with_any_one_character_changed_never_opens(payload: bytes, at: int, to: str) -> None:
    handle = sealer().seal("run", payload, "shop", "ann", NOW + 60)
    at %= len(handle)
    changed = handle[:at] + to + handle[at + 1 :]

    if changed != handle:
        assert reason(changed) in (Reason.HANDLE_UNKNOWN, Reason.HANDLE_LOST)


@pytest.mark.parametrize("length", range(4))
def test_each_last_character_but_the_right_one_is_refused(length: int) -> None:
    handle = sealer().seal("run", b"x" * length, "shop", "ann", NOW + 60)

    openable = [last for last in TEXT if opens(handle[:-1] + last)]

    assert openable == [handle[-1]]


def opens(handle: str) -> bool:
    try:
        sealer().open(handle, "run", "shop", "ann")
    except Fault:
        return False
    return True


@given(st.text(max_size=120) | st.text(TEXT, max_size=120) | st.text(TEXT, max_size=90).map("run.0a1b2c3d.".__add__))
def test_garbage_is_unknown_or_some_other_poolers(handle: str) -> None:
    assert reason(handle) in (Reason.HANDLE_UNKNOWN, Reason.HANDLE_LOST)


@given(
    owner=st.tuples(names, names),
    other=st.tuples(names, names),
)
def test_nobody_but_its_caller_can_open_a_handle(owner: tuple[str, str], other: tuple[str, str]) -> None:
    if owner != other:
        handle = sealer().seal("run", b"x", *owner, NOW + 60)

        assert reason(handle, "run", *other) == Reason.HANDLE_UNKNOWN


@pytest.mark.parametrize("kind", sorted(REMEDIES.keys() - {"run"}))
def test_a_handle_is_good_for_its_own_kind_alone(kind: str) -> None:
    handle = sealer().seal("run", b"x", "shop", "ann", NOW + 60)

    assert reason(handle, kind) == Reason.HANDLE_UNKNOWN
    assert reason(handle.replace("run.", f"{kind}."), kind) == Reason.HANDLE_UNKNOWN


def test_all_that_is_unknown_is_unknown_in_the_same_words() -> None:
    handle = sealer().seal("run", b"x", "shop", "ann", NOW + 60)
    refused = [handle + "A", handle[:-4], "garbage", "run.0a1b2c3d.", handle.replace("run", "cursor")]

    said = set()
    for wrong, principal in [*((each, "ann") for each in refused), (handle, "bob")]:
        with pytest.raises(Fault) as raised:
            sealer().open(wrong, "run", "shop", principal)
        said.add((raised.value.reason, raised.value.message))

    assert len(said) == 1
    assert "pass it on as it came" in said.pop()[1]


def test_a_handle_expires_at_its_time() -> None:
    wall = Wall()
    seals = sealer(wall=wall)
    handle = seals.seal("session", b"x", "shop", "ann", NOW + 60)

    wall.now = NOW + 59.9
    assert seals.open(handle, "session", "shop", "ann") == b"x"
    wall.now = NOW + 60
    assert reason(handle, "session", by=seals) == Reason.HANDLE_EXPIRED


def test_only_its_caller_learns_that_a_handle_has_expired() -> None:
    handle = sealer().seal("run", b"x", "shop", "ann", NOW - 1)

    assert reason(handle) == Reason.HANDLE_EXPIRED
    assert reason(handle, principal="bob") == Reason.HANDLE_UNKNOWN


def test_a_handle_of_another_pooler_is_lost_here_even_under_the_same_key() -> None:
    handle = sealer("ffffffff").seal("run", b"x", "shop", "ann", NOW + 60)

    assert reason(handle) == Reason.HANDLE_LOST
    assert reason(handle.replace("ffffffff", "0a1b2c3d")) == Reason.HANDLE_UNKNOWN


def test_keys_are_rotated_without_a_handle_becoming_unknown() -> None:
    before = sealer(keys=(KEY,)).seal("run", b"before", "shop", "ann", NOW + 60)
    both = sealer(keys=(OTHER_KEY, KEY))
    during = both.seal("run", b"during", "shop", "ann", NOW + 60)
    after = sealer(keys=(OTHER_KEY,))

    assert both.open(before, "run", "shop", "ann") == b"before"
    assert after.open(during, "run", "shop", "ann") == b"during"
    assert reason(before, by=after) == Reason.HANDLE_UNKNOWN


def test_a_sealer_takes_other_keys_while_it_is_used() -> None:
    seals = sealer(keys=(KEY,))
    before = seals.seal("run", b"before", "shop", "ann", NOW + 60)

    seals.rekey((OTHER_KEY, KEY))

    assert seals.open(before, "run", "shop", "ann") == b"before"
    assert sealer(keys=(OTHER_KEY,)).open(seals.seal("run", b"x", "a", "b", NOW + 60), "run", "a", "b") == b"x"


@given(kinds, st.binary(max_size=100))
def test_a_handle_is_short_and_of_visible_characters(kind: str, payload: bytes) -> None:
    handle = sealer().seal(kind, payload, "tenant " * 30, "principal " * 20, NOW + 60)

    assert set(handle) <= set(VISIBLE)
    assert len(handle) <= len(f"{kind}.0a1b2c3d.") + (len(payload) + 34) * 4 / 3 + 1


def test_one_thing_sealed_twice_makes_two_handles_that_tell_nothing() -> None:
    seals = sealer()

    sealed = {seals.seal("run", b"the same", "shop", "ann", NOW + 60) for _ in range(1000)}

    assert len(sealed) == 1000
    assert len({handle[:40] for handle in sealed}) > 1
    assert KEY.hex() not in repr(seals)


def test_a_nonce_is_never_used_twice_by_one_sealer_nor_begun_alike_by_two() -> None:
    one, other = sealer(), sealer()
    # 12 bytes are 16 characters.
    nonces = [each.seal("run", b"", "a", "b", NOW)[-46:][:16] for each in (one, other) for _ in range(500)]

    assert len(set(nonces)) == 1000


def test_unix_time_is_read_once_and_goes_on_with_a_clock_that_cannot_be_set() -> None:
    monotonic = Wall()
    wall = anchored(NOW + 5, monotonic)

    monotonic.now += 7

    assert wall() == NOW + 12
