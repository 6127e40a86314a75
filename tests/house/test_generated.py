"""The generated modules beside the .proto files are what the sources give today."""

from protos.generate import stale


def test_the_generated_code_is_current() -> None:
    assert stale() == []
