"""gRPC's framing on both sides: whatever way the bytes are cut, the same messages come out, or a clean refusal."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.pooler_client import framing as frontend_framing
from pooler.service import framing as pooler_framing

BYTES_MAX = 300
SIDES = pytest.mark.parametrize("side", [pooler_framing, frontend_framing], ids=["pooler", "frontend"])
MESSAGES = st.lists(st.binary(max_size=BYTES_MAX), max_size=8)
CUTS = st.lists(st.integers(1, 200), max_size=40)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut into pieces of these sizes and a rest."""
    cut, at = [], 0
    for size in cuts:
        cut.append(data[at : at + size])
        at += size
    return [*cut, data[at:]]


def fed(feed: Callable[[bytes], list[bytes]], data: bytes, cuts: list[int]) -> list[bytes]:
    return [message for piece in pieces(data, cuts) for message in feed(piece)]


@SIDES
@given(MESSAGES, CUTS)
def test_messages_come_out_whole_however_they_are_cut(side: Any, sent: list[bytes], cuts: list[int]) -> None:
    messages = side.Messages(BYTES_MAX)
    assert fed(messages.feed, b"".join(map(side.framed, sent)), cuts) == sent


@SIDES
@given(st.binary(max_size=2000), CUTS)
def test_garbage_gives_messages_within_the_bound_or_a_refusal_and_keeps_no_more_than_one(
    side: Any, garbage: bytes, cuts: list[int]
) -> None:
    messages = side.Messages(BYTES_MAX)
    for piece in pieces(garbage, cuts):
        try:
            assert all(len(message) <= BYTES_MAX for message in messages.feed(piece))
        except side.FramingError:
            return
        assert len(messages._partial) < side.PREFIX_BYTES + BYTES_MAX


@SIDES
@given(st.integers(BYTES_MAX + 1, 2**32 - 1))
def test_a_message_beyond_the_bound_is_refused_before_any_of_it_has_come(side: Any, size: int) -> None:
    with pytest.raises(side.FramingError):
        side.Messages(BYTES_MAX).feed(b"\0" + size.to_bytes(4, "big"))


@SIDES
@given(st.integers(1, 255))
def test_a_compressed_message_is_refused(side: Any, flag: int) -> None:
    with pytest.raises(side.FramingError):
        side.Messages(BYTES_MAX).feed(bytes([flag]) + side.framed(b"x")[1:])


def test_the_end_in_the_midst_of_a_message_can_be_told_from_one_between_two() -> None:
    messages = pooler_framing.Messages(BYTES_MAX)
    data = pooler_framing.framed(b"abc")
    messages.feed(data[:-1])
    assert not messages.empty
    messages.feed(data[-1:])
    assert messages.empty
