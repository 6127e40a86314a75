"""Cutting a stream into lines, strictly for a conversation and forgivingly for a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.runtime.lines import Excerpts, Lines, LineTooLongError


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_come_out_whole_wherever_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    reader, seen = Lines(100), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        seen += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert seen == lines


def test_a_line_that_just_fits_is_taken() -> None:
    assert Lines(5).feed(b"12345\n") == [b"12345"]


@pytest.mark.parametrize("pieces", [[b"123456\n"], [b"123", b"456"], [b"ok\n123456"]])
def test_a_line_that_is_too_long_is_refused_before_its_end(pieces: list[bytes]) -> None:
    reader = Lines(5)
    *fitting, last = pieces
    for piece in fitting:
        assert reader.feed(piece) == []
    with pytest.raises(LineTooLongError, match="more than 5 bytes"):
        reader.feed(last)


def test_an_excerpt_keeps_the_beginning_of_a_long_line_and_shows_that_it_was_cut() -> None:
    excerpts = Excerpts(5)
    assert excerpts.feed(b"1234567890" * 1000 + b"\nnext\n") == ["12345…", "next"]


def test_a_line_of_any_length_in_one_character_pieces_needs_bounded_memory() -> None:
    excerpts = Excerpts(5)
    for _ in range(1000):
        assert excerpts.feed(b"x") == []
    assert len(excerpts._line) == 4 * (5 + 1)
    assert excerpts.flush() == ["xxxxx…"]


def test_an_excerpt_of_what_is_no_text_is_still_a_text() -> None:
    assert Excerpts(9).feed(b"\xff\xfe ok\n\n   \n") == ["\ufffd\ufffd ok"]
