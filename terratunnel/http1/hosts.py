"""What a Host field names. Used by the field reader to check it and by the edge to find the tunnel.
Rule: only `host[:port]` passes; routing compares lower-case names without port and without the final dot."""

from typing import Final

_NAME: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
_IPV6: Final = b"ABCDEFabcdef0123456789:."


def is_authority(host: bytes) -> bool:
    """True for `host[:port]` where host is a name, an IPv4 address or a bracketed IPv6 address."""
    name = host
    if host.startswith(b"["):
        name, bracket, rest = host[1:].partition(b"]")
        allowed = _IPV6
        if not bracket or b":" not in name:
            return False
        colon, port = rest[:1], rest[1:]
    else:
        name, colon, port = host.partition(b":")
        allowed = _NAME
    if not name or name.translate(None, allowed):
        return False
    if not colon:
        return True
    return colon == b":" and port.isdigit() and len(port) <= 5


def hostname(host: bytes) -> str:
    """The name in a checked Host value: lower case, no port, no final dot; IPv6 keeps its brackets."""
    lower = host.lower()
    if lower.startswith(b"["):
        return (lower.partition(b"]")[0] + b"]").decode("ascii")
    return lower.partition(b":")[0].removesuffix(b".").decode("ascii")


def subdomain_of(name: str, domain: str) -> str | None:
    """The single label in front of the domain; None for the bare domain, deeper names and strangers."""
    if not name.endswith("." + domain):
        return None
    label = name.removesuffix("." + domain)
    return label if label and "." not in label else None


def is_apex(name: str, domain: str) -> bool:
    return name == domain
