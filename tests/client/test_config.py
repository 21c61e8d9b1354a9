"""What may be configured, and what is said about the rest."""

import dataclasses

import pytest

from terratunnel.client.config import ClientConfig, ConfigError, forwarding_target, parse_server_url
from terratunnel.forwarding.endpoint import EndpointError
from terratunnel.mux.handshake import ServerAddress

GOOD = ClientConfig("ws://localhost:8000", "http://localhost:3000", api_key="sesame", api_port=0)


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("ws://localhost:8000", "localhost", 8000, False),
        ("http://tunnel.example.com", "tunnel.example.com", 80, False),
        ("wss://tunnel.example.com", "tunnel.example.com", 443, True),
        ("https://tunnel.example.com/", "tunnel.example.com", 443, True),
        ("https://tunnel.example.com:8443/ws", "tunnel.example.com", 8443, True),
        ("WSS://Tunnel.Example.com", "tunnel.example.com", 443, True),
        ("ws://[::1]:8000", "::1", 8000, False),
        ("wss://tünnel.example", "tünnel.example", 443, True),
    ],
)
def test_a_server_url_says_where_and_whether_with_tls(text: str, host: str, port: int, tls: bool) -> None:
    assert parse_server_url(text) == ServerAddress(host, port, tls, "/ws")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tunnel.example.com",
        "tunnel.example.com:443",
        "ftp://tunnel.example.com",
        "wss://",
        "wss://tunnel.example.com/other",
        "wss://tunnel.example.com/?a=1",
        "wss://tunnel.example.com/#x",
        "wss://user:secret@tunnel.example.com",
        "wss://tunnel.example.com:0",
        "wss://tunnel.example.com:65536",
        "wss://tunnel.example.com:x",
        "wss://a b.example.com",
        "wss://[::1",
        "wss://" + "x" * 70 + "ü.example",
        "wss://" + "x" * 70 + ".example",
        "wss://tunnel..example",
    ],
)
def test_any_other_server_url_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^The server URL .*\.$") as refused:
        parse_server_url(text)
    assert "wss://" in str(refused.value)


def test_the_refusal_suggests_what_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"wss://box\.example"):
        parse_server_url("box.example")


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("box:3000", "http://box:3000"),
        ("https://box:8443", "https://box:8443"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
    ],
)
def test_a_target_is_what_people_type(target: str, endpoint: str) -> None:
    assert forwarding_target(target) == endpoint


def test_a_good_configuration_passes_and_has_its_parts() -> None:
    GOOD.check()
    assert GOOD.address.port == 8000
    assert str(GOOD.endpoint) == "http://localhost:3000"
    assert dataclasses.replace(GOOD, chunk_size=4096).link.chunk_size == 4096


@pytest.mark.parametrize("key", ["with space", "line\r\nInjected: 1", "schlüssel", "\x1b"])
def test_a_key_that_no_server_made_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError, match="API key") as refused:
        dataclasses.replace(GOOD, api_key=key).check()
    assert key not in str(refused.value)


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="65536"):
        dataclasses.replace(GOOD, api_port=65536).check()


def test_a_bad_local_endpoint_is_refused() -> None:
    with pytest.raises(EndpointError, match="http://host:port"):
        dataclasses.replace(GOOD, local_endpoint="localhost:3000").check()


def test_the_key_is_not_in_the_representation() -> None:
    assert "sesame" not in repr(GOOD)
