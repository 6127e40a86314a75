"""Who may administer a pooler: what is configured and refused, what a reload changes; no token is shown."""

from pathlib import Path

import pytest

from pooler.config import Config, ConfigError, load
from pooler.config.changes import changes
from pooler.config.document import Document
from pooler.config.show import shown

CONFIG = """\
pooler:
  admin:
    listen: unix:admin.sock
    tokens:
      - {name: anna, token: "${ANNA}"}
      - {name: monitor, token: "${MONITOR}", may: look}
backends:
  legacy: {kind: simulated, pool: {cap: 2}}
"""
TOKENS = {"ANNA": "annas-token-0123456789", "MONITOR": "monitors-token-0123456789"}


@pytest.fixture(autouse=True)
def _tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)


def loaded(tmp_path: Path, text: str = CONFIG) -> Config:
    file = tmp_path / "penstock.yaml"
    file.write_text(text, "utf-8")
    return load(file)


def refused(tmp_path: Path, old: str, new: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, CONFIG.replace(old, new))
    return str(caught.value)


def test_administrators_have_names_tokens_and_what_they_may(tmp_path: Path) -> None:
    admin = loaded(tmp_path).pooler.admin

    assert admin.listen == "unix:admin.sock"
    assert [(each.name, each.may) for each in admin.tokens] == [("anna", "order"), ("monitor", "look")]
    assert [each.token.get_secret_value() for each in admin.tokens] == [*TOKENS.values()]


def test_without_the_section_there_is_no_address_of_its_own_and_nobody_is_asked_for_a_token(tmp_path: Path) -> None:
    admin = loaded(tmp_path, CONFIG[CONFIG.index("backends") :]).pooler.admin

    assert (admin.listen, admin.tokens) == (None, ())


def test_no_token_is_shown_anywhere(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    whole = f"{shown(config, Document(tmp_path / 'penstock.yaml'))} {config!r} {config.pooler!r}"

    assert [token for token in TOKENS.values() if token in whole] == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"${ANNA}"', "in-the-file-0123456789", "penstock.yaml:5:29 pooler.admin.tokens.0.token: a secret stands in"),
        ("may: look", "may: everything", "pooler.admin.tokens.1.may: must be 'order' or 'look'"),
        ('"${MONITOR}"', '"${ANNA}"', "'anna' and 'monitor' have the same token"),
        ("unix:admin.sock", "nowhere", "pooler.admin.listen: must be HOST:PORT"),
        ("name: anna, ", "", "pooler.admin.tokens.0.name: is missing"),
        ("tokens:", "token:", "pooler.admin.token: unknown key; did you mean 'tokens'?"),
    ],
)
def test_a_fault_is_told_with_its_place_and_never_with_a_token(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    said = refused(tmp_path, old, new)

    assert expected in said
    assert [token for token in TOKENS.values() if token in said] == []


def test_a_short_token_is_refused_without_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNA", "s3cret")

    said = refused(tmp_path, "anna", "anna")

    assert "must be 16 or more visible ASCII characters" in said
    assert "s3cret" not in said


def test_another_address_holds_after_a_restart_only(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    after = loaded(tmp_path, CONFIG.replace("admin.sock", "other.sock"))

    assert changes(before, after, {"legacy": 2}).restart_needed == ("admin.listen",)
