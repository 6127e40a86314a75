"""The frontend's settings: what is taken, and how everything that is wrong is said at once."""

import pytest

from frontend.config import PREFIX, Fault, Settings, SettingsInvalid, load


def environment(**values: str) -> dict[str, str]:
    return {PREFIX + key.upper(): value for key, value in values.items()}


def faults(**values: str) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(SettingsInvalid) as caught:
        load(environment(**values))
    return {fault.loc: fault.message for fault in caught.value.faults}


def test_without_any_variable_everything_is_bound_to_loopback() -> None:
    settings = load({"PATH": "/bin"})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.pooler == "127.0.0.1:7433"
    assert all(host.split(":*")[0] in ("127.0.0.1", "localhost", "[::1]") for host in settings.allowed_hosts)


def test_structured_values_are_json() -> None:
    token = '[{"token": "0123456789abcdef", "tenant": "acme", "principal": "ana"}]'
    settings = load(environment(tokens=token, allowed_hosts='["mcp.example.com"]', calls_max="7"))
    assert settings.tokens[0].tenant == "acme"
    assert settings.allowed_hosts == ("mcp.example.com",)
    assert settings.calls_max == 7


def test_all_faults_are_said_at_once_each_with_its_place() -> None:
    found = faults(listen="8080", tokens='[{"token": "0123456789abcdef"}, {"tenant": "acme"}]', calls_max="0")
    assert found.keys() == {("listen",), ("tokens", 1, "token"), ("calls_max",)}


def test_an_unknown_variable_is_refused_with_the_nearest_known_key() -> None:
    assert faults(listn="127.0.0.1:1") == {("listn",): "there is no such key; did you mean 'listen'?"}


def test_broken_json_is_a_fault_beside_the_others() -> None:
    assert faults(allowed_hosts="[", listen="x").keys() == {("allowed_hosts",), ("listen",)}


@pytest.mark.parametrize("address", ["8080", ":8080", "host:", "host:65536", "host:80x", "http://host:80"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    assert faults(listen=address)[("listen",)].startswith("must be HOST:PORT")


@pytest.mark.parametrize("address", ["127.0.0.1:7433", "[::1]:7433", "pooler.local:7433", "unix:/run/penstock.sock"])
def test_a_pooler_is_reached_over_tcp_or_a_socket_file(address: str) -> None:
    assert load(environment(pooler=address)).pooler == address


def test_a_pooler_has_no_free_port() -> None:
    assert faults(pooler="127.0.0.1:0").keys() == {("pooler",)}


def test_an_ipv6_address_is_bound_without_its_brackets() -> None:
    assert load(environment(listen="[::1]:0")).host == "::1"


def test_a_star_does_not_switch_the_host_check_off() -> None:
    assert "name the hosts" in faults(allowed_hosts='["*"]')[("allowed_hosts",)]


def test_a_token_that_can_be_guessed_is_refused() -> None:
    assert "16 characters" in faults(tokens='[{"token": "short"}]')[("tokens", 0, "token")]


def test_two_bearers_cannot_share_a_token() -> None:
    twice = '[{"token": "0123456789abcdef"}, {"token": "0123456789abcdef", "tenant": "b"}]'
    assert faults(tokens=twice)[("tokens",)].startswith("tokens 0 and 1 are the same")


def test_a_secret_is_in_no_fault_and_in_no_repr() -> None:
    secret = "0123456789abcdef-secret"
    settings = load(environment(tokens=f'[{{"token": "{secret}"}}]'))
    assert secret not in repr(settings)
    with pytest.raises(SettingsInvalid) as caught:
        load(environment(tokens=f'[{{"token": "{secret}", "surplus": 1}}]'))
    assert secret not in str(caught.value)
    assert secret not in repr(caught.value.faults)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load({}).listen = "127.0.0.1:1"  # type: ignore[misc]


def test_the_schema_names_every_key_and_what_it_is_for() -> None:
    properties = Settings.model_json_schema()["properties"]
    assert properties.keys() == Settings.model_fields.keys()
    assert [key for key, schema in properties.items() if not schema.get("description")] == []


def test_a_fault_is_a_plain_value() -> None:
    assert Fault(("a", 0), "b") == Fault(("a", 0), "b")
