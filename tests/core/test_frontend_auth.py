"""Who a request is from."""

import orjson
import pytest

from frontend.auth import Caller, Gatekeeper
from frontend.config import Settings

ANA = {"token": "token-of-ana-0123456789", "tenant": "acme", "principal": "ana"}
BEN = {"token": "token-of-ben-0123456789", "tenant": "bolt"}


def gate(*tokens: dict[str, str]) -> Gatekeeper:
    return Gatekeeper(Settings.model_validate({"tokens": orjson.dumps(tokens).decode()}))


def bearing(token: str, scheme: str = "Bearer") -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), (b"authorization", f"{scheme} {token}".encode())]


def test_without_tokens_everybody_is_the_default_caller() -> None:
    settings = Settings(tenant="acme", principal="desk")
    assert Gatekeeper(settings).admit([]) == Caller("acme", "desk")


def test_a_token_says_who_its_bearer_is() -> None:
    keeper = gate(ANA, BEN)
    assert keeper.admit(bearing(ANA["token"])) == Caller("acme", "ana")
    assert keeper.admit(bearing(BEN["token"])) == Caller("bolt", "anonymous")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_has_no_case(scheme: str) -> None:
    assert gate(ANA).admit(bearing(ANA["token"], scheme)) == Caller("acme", "ana")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearing(""),
        bearing(ANA["token"][:-1]),
        bearing(ANA["token"] + "x"),
        bearing(ANA["token"].upper()),
        bearing(ANA["token"], "Basic"),
        bearing(ANA["token"]) + bearing(ANA["token"]),
        [(b"x-authorization", b"Bearer " + ANA["token"].encode())],
    ],
)
def test_whoever_shows_no_known_token_is_nobody(headers: list[tuple[bytes, bytes]]) -> None:
    assert gate(ANA).admit(headers) is None


def test_a_gatekeeper_shows_no_token() -> None:
    keeper = gate(ANA)
    assert ANA["token"] not in repr(vars(keeper))
