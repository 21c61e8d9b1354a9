"""What a Host field names. Used by the field reader to check it and by the edge to find the tunnel.
Rule: only `host[:port]` passes; routing compares lower-case names without port and without the final dot."""

from typing import Final

_NAME: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
_IPV6: Final = b"ABCDEFabcdef0123456789:."
_MAX_PORT_DIGITS: Final = 5

_hostnames: Final[dict[bytes, str]] = {}
_MAX_REMEMBERED: Final = 1024
_MAX_LENGTH: Final = 261  # 255 for a name in DNS, and a port; what is longer names nothing, and nobody remembers it


def is_authority(host: bytes) -> bool:
    """True for `host[:port]` where host is a name, an IPv4 address or a bracketed IPv6 address."""
    return hostname(host) != ""


def hostname(host: bytes) -> str:
    """The name in a Host value: lower case, no port, no final dot; IPv6 keeps its brackets. Empty: no `host[:port]`."""
    name = _hostnames.get(host)
    if name is None:
        if len(host) > _MAX_LENGTH:
            return ""
        name = _read(host)
        if len(_hostnames) >= _MAX_REMEMBERED:
            _hostnames.clear()
        _hostnames[host] = name
    return name


def _read(host: bytes) -> str:
    if host.startswith(b"["):
        address, bracket, port = host[1:].partition(b"]")
        if not bracket or b":" not in address or address.translate(None, _IPV6):
            return ""
        name = b"[" + address + bracket
    else:
        name = host.partition(b":")[0]
        port = host.removeprefix(name)
        if name.translate(None, _NAME):
            return ""
    if port and not _is_port(port):
        return ""
    return name.lower().removesuffix(b".").decode("ascii")


def _is_port(port: bytes) -> bool:
    digits = port.removeprefix(b":")
    return port.startswith(b":") and digits.isdigit() and len(digits) <= _MAX_PORT_DIGITS
