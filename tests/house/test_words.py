"""Committed files speak of the project alone: of no machine that it was made on, and of no place to download from."""

import re

from tests.house.tree import committed, name

# Put together here, so that this file does not match itself.
HOSTS = [".".join(parts) for parts in (
    ("pypi", "org"), ("python" + "hosted", "org"), ("registry", "npmjs", "org"), ("deb", "debian", "org"),
    ("docker", "io"), ("ghcr", "io"), ("quay", "io"), ("gcr", "io"),
)]  # fmt: skip
MACHINE = re.compile("|".join(rf"(?<![\w.-])/{folder}/" for folder in ("work", "root", "home")))


def texts() -> list[tuple[str, str]]:
    read = []
    for path in committed():
        try:
            read.append((name(path), path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return read


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert [(file, host) for file, text in texts() for host in HOSTS if host in text] == []


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    assert [(file, found[0]) for file, text in texts() if (found := MACHINE.search(text))] == []


def test_every_text_ends_with_one_line_end_and_has_no_trailing_blanks() -> None:
    untidy = [
        file
        for file, text in texts()
        if text and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+$", text, re.MULTILINE))
    ]

    assert [file for file in untidy if file != "LICENSE" and not file.startswith("protos/penstock/")] == []
