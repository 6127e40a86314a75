"""References into the environment and into files: filled in, missing, escaped, and never shown."""

from pathlib import Path

import pytest
import yaml

from pooler.config import ConfigError, load, load_frontend
from pooler.config.document import Document
from pooler.config.load import build
from pooler.config.references import SECRET_BYTES_MAX, ReferenceFault, References
from pooler.config.show import masked_text, shown

SECRET = "hunter2-of-the-orders"


def references(tmp_path: Path, **environment: str) -> References:
    return References(tmp_path, environment)


def test_variables_and_files_are_filled_in_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")

    filled = references(tmp_path, HOST="db.example").fill("postgresql://app:${file:password}@${HOST}/orders")

    assert filled == (f"postgresql://app:{SECRET}@db.example/orders", [SECRET, "db.example"])


def test_a_file_loses_its_last_line_end_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"one\ntwo\r\n")

    assert references(tmp_path).fill("${file:key}") == ("one\ntwo", ["one\ntwo"])


def test_a_doubled_dollar_is_a_plain_brace(tmp_path: Path) -> None:
    assert references(tmp_path).fill("$${HOME} costs $5, $$body$$") == ("${HOME} costs $5, $$body$$", [])


def test_what_was_filled_in_is_not_looked_at_again(tmp_path: Path) -> None:
    assert references(tmp_path, A="${B}", B="b").fill("${A}") == ("${B}", ["${B}"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("${NOWHERE}", "the environment has no NOWHERE; set it before starting"),
        ("${}", "names no variable"),
        ("${NAME:-default}", "names no variable"),
        ("${file:nowhere}", "nowhere: No such file or directory; create it or correct the path"),
        ("${file:.}", "Is a directory"),
        ("${file:large}", f"has more than {SECRET_BYTES_MAX} bytes"),
        ("${file:binary}", "is no UTF-8 text"),
    ],
)
def test_what_cannot_be_filled_in_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "large").write_bytes(b"x" * (SECRET_BYTES_MAX + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(ReferenceFault) as caught:
        references(tmp_path).fill(text)

    assert sentence in str(caught.value)


CONFIG = """\
pooler: {calls_max: "${CALLS}", listen: 127.0.0.1:0}
frontend: {tokens: [{token: "${TOKEN}", tenant: shop}]}
backends:
  loans:
    kind: process
    command: [./loans-worker, --user, "app:${PASSWORD}"]
    environment: {LOANS_PASSWORD: "${PASSWORD}", MODE: quick}
    pool: {cap: 2}
operations:
  balance: {backend: loans, method: balance, effect: read}
"""


def written(tmp_path: Path, text: str = CONFIG) -> Path:
    file = tmp_path / "penstock.yaml"
    file.write_text(text, "utf-8")
    return file


def test_a_number_may_come_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLS", "77")
    monkeypatch.setenv("PASSWORD", SECRET)

    assert load(written(tmp_path)).pooler.calls_max == 77


def test_a_missing_variable_is_one_fault_at_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLS", raising=False)
    monkeypatch.setenv("PASSWORD", SECRET)

    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path))

    (fault,) = caught.value.faults
    assert str(fault).endswith(
        "penstock.yaml:1:21 pooler.calls_max: the environment has no CALLS; set it before starting"
    )


def test_the_pooler_needs_none_of_the_frontends_secrets_and_the_frontend_none_of_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path)
    for name in ("CALLS", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(name, raising=False)

    monkeypatch.setenv("TOKEN", "a-token-for-the-shop")
    assert load_frontend(file) == {"tokens": [{"token": "a-token-for-the-shop", "tenant": "shop"}]}

    monkeypatch.delenv("TOKEN")
    monkeypatch.setenv("CALLS", "77")
    monkeypatch.setenv("PASSWORD", SECRET)
    assert load(file).frontend == {"tokens": [{"token": "${TOKEN}", "tenant": "shop"}]}


def test_a_configuration_shows_references_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLS", "77")
    monkeypatch.setenv("PASSWORD", SECRET)
    monkeypatch.setenv("TOKEN", "a-token-for-the-shop")
    document = Document(written(tmp_path))
    config = build(document)
    assert config is not None

    plain = shown(config, document)

    assert plain["backends"]["loans"]["command"] == ["./loans-worker", "--user", "app:${PASSWORD}"]
    assert plain["backends"]["loans"]["environment"] == {"LOANS_PASSWORD": "${PASSWORD}", "MODE": "***"}
    assert plain["backends"]["loans"]["pool"]["queue_timeout_seconds"] == 70.0
    assert plain["frontend"]["tokens"] == [{"token": "${TOKEN}", "tenant": "shop"}]
    for text in (yaml.safe_dump(plain), repr(config), repr(config.backends)):
        assert SECRET not in text
        assert "a-token-for-the-shop" not in text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://app:s3cr@t@db/orders", "postgresql://app:***@db/orders"),
        ("postgresql://app@db/orders", "postgresql://app@db/orders"),
        ("mysql://app:pw@db/o?ssl_password=x&charset=utf8", "mysql://app:***@db/o?ssl_password=***&charset=utf8"),
        ("host=db password=pw user=app", "host=db password=*** user=app"),
        ("sqlite:///orders.db", "sqlite:///orders.db"),
    ],
)
def test_passwords_in_addresses_are_masked(text: str, masked: str) -> None:
    assert masked_text(text) == masked
