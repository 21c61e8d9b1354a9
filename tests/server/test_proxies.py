"""Addresses behind proxies: those that a trusted one has written, and no others."""

import re

import pytest

from terratunnel.server.proxies import networks_in, visitor_of

TRUSTED = networks_in("10.0.0.0/8, 192.0.2.1 ,fd00::/8")


@pytest.mark.parametrize(
    ("addresses", "visitor"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("203.0.113.7,10.0.0.1,192.0.2.1", "203.0.113.7"),
        ("2001:db8::7, fd00::1", "2001:db8::7"),
        ("10.0.0.9, 10.0.0.1", "10.0.0.9"),  # somebody in the house
        ("10.0.0.1", "10.0.0.1"),
        # What a visitor writes before is no proxy's word.
        ("198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("10.0.0.2, 203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, nonsense, 10.0.0.1", "10.0.0.1"),
        ("198.51.100.1, , 10.0.0.1", "10.0.0.1"),
        ("203.0.113.7:4711, 10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("203.0.113.7, ", ""),  # a peer without an address
    ],
)
def test_an_address_counts_when_a_trusted_proxy_has_written_it(addresses: str, visitor: str) -> None:
    assert visitor_of(addresses, TRUSTED) == visitor


def test_where_no_proxy_is_trusted_the_peer_is_the_visitor() -> None:
    assert visitor_of("203.0.113.7, 10.0.0.1", networks_in("")) == "10.0.0.1"


@pytest.mark.parametrize("text", ["proxy.example.com", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        networks_in(text)
