"""How a configuration file is read: YAML's core schema, places, duplicate keys. Plain calls on temporary files."""

import math
from pathlib import Path
from typing import Any

import pytest

from pooler.config import ConfigError
from pooler.config.document import Document
from pooler.config.faults import Place


def read(tmp_path: Path, text: str) -> Document:
    file = tmp_path / "penstock.yaml"
    file.write_text(text, "utf-8")
    return Document(file)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("127.0.0.1:7433", "127.0.0.1:7433"),
        ("1_000", "1_000"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ('"7"', "7"),
        ("!!str 7", "7"),
        ("[1, two]", [1, "two"]),
    ],
)
def test_a_plain_scalar_means_what_it_means_to_an_editor(tmp_path: Path, written: str, expected: Any) -> None:
    document = read(tmp_path, f"key: {written}\n")

    assert document.data == {"key": expected}
    assert document.faults == []


def test_not_a_number_is_one_of_the_numbers(tmp_path: Path) -> None:
    assert math.isnan(read(tmp_path, "key: .NaN\n").data["key"])


def test_every_key_and_value_keeps_its_place(tmp_path: Path) -> None:
    document = read(tmp_path, "backends:\n  orders:\n    kind: postgres\n    hosts: [a, b]\n")

    assert document.place(("backends", "orders", "kind")) == Place(3, 11)
    assert document.place(("backends", "orders", "kind"), at_key=True) == Place(3, 5)
    assert document.place(("backends", "orders", "hosts", 1)) == Place(4, 16)


def test_what_is_missing_has_the_place_of_what_should_hold_it(tmp_path: Path) -> None:
    document = read(tmp_path, "pooler: {}\nbackends:\n  orders: {kind: postgres}\n")

    assert document.place(("backends", "orders", "pool", "cap"), at_key=True) == Place(3, 3)
    assert document.place(("nothing", "like", "it")) == Place(1, 1)


def test_a_key_that_stands_twice_is_a_fault_that_names_the_first(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb: 2\na: 3\n")

    assert [str(fault).partition("penstock.yaml:")[2] for fault in document.faults] == [
        "3:1 a: the same key stands in line 1 already; keep one of them"
    ]
    assert document.data == {"a": 1, "b": 2}


def test_a_key_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, "prompts:\n  7: {}\n").faults

    assert fault.place == Place(2, 3)
    assert fault.message == "a key must be a text; put it in quotes"


def test_a_foreign_tag_is_a_fault_and_runs_nothing(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, "key: !!python/name:os.system\n").faults

    assert fault.message == "the tag '!!python/name:os.system' does not fit; leave it out"


def test_an_alias_repeats_what_it_names(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &pool {cap: 4}\nb: *pool\n")

    assert document.data == {"a": {"cap": 4}, "b": {"cap": 4}}


def test_an_alias_to_what_contains_it_is_a_fault(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, "a: &a\n  b: *a\n").faults

    assert fault.path == ("a", "b")
    assert fault.message == "an alias refers to what contains it; write the value out"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: [1, 2\nb: 3\n", Place(2, 2), "is no YAML here"),
        ("a: 1\n---\nb: 2\n", Place(2, 1), "is no YAML here"),
        ("- a\n- b\n", Place(1, 1), "holds no mapping"),
        ("", Place(1, 1), "holds no mapping"),
        ("a: \x00\n", Place(1, 1), "is no YAML here"),
    ],
)
def test_what_is_no_yaml_mapping_is_one_fault_with_its_place(
    tmp_path: Path, text: str, place: Place, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)

    (fault,) = caught.value.faults
    assert fault.place == place
    assert fault.message.startswith(message)


def test_a_file_that_is_not_there_is_a_fault_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml:1:1 cannot be read: No such file or directory"):
        Document(tmp_path / "nowhere.yaml")


def test_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_bytes(b"a: \xff\xfe\n")

    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        Document(file)
