"""Who a visitor is, behind proxies that the operator trusts. Used by the acceptor and the pages.

Rule: an address counts when our peer is it, or a trusted proxy has written it; all before that is a stranger's word.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def networks_in(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list, each like 10.0.0.0/8 or one address. Raises ValueError."""
    return tuple(ip_network(item.strip()) for item in text.split(",") if item.strip())


def visitor_of(addresses: str, trusted: Sequence[Network]) -> str:
    """Return the visitor's address from an X-Forwarded-For that ends with the address of our own peer."""
    *before, nearest = (address.strip() for address in addresses.split(","))
    for address in reversed(before):
        if not _is_in(nearest, trusted) or not _is_address(address):
            break
        nearest = address
    return nearest


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
