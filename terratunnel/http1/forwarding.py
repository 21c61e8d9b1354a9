"""What crosses the link: heads as flat lists of bytes. Used by the edge and the forwarder, each checking the other.
Rule: end-to-end fields pass in order, case and number; hop-by-hop ones stop here; nothing from the link is trusted."""

from typing import Final

from terratunnel.http1.bodies import Trailers
from terratunnel.http1.errors import bad_request
from terratunnel.http1.fields import (
    CONTENT_LENGTH,
    CONTROLS,
    FORWARDED,
    HOP_KINDS,
    HOST,
    UPGRADE,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_REQUEST_ID,
    framing_places,
    is_token,
    kind_of,
    length_of,
)
from terratunnel.http1.heads import RequestHead, ResponseHead, check_method, check_target
from terratunnel.http1.hosts import is_authority
from terratunnel.http1.sections import Section

_REPLACED: Final = X_FORWARDED_FOR | X_FORWARDED_HOST | X_FORWARDED_PROTO | FORWARDED | X_REQUEST_ID
_MAX_REQUEST_ID: Final = 128

# What is added for a visitor who sent none of these fields; a visitor asks for many things from one host.
_remembered: Final[dict[tuple[bytes, bytes, bytes], list[bytes]]] = {}
_MAX_REMEMBERED: Final = 1024

# RFC 9110 §7.6.1 forbids nominating a field meant for all recipients; someone who does wants us to drop a credential,
# a limit or a trace of himself on the way. Such nominations are passed over.
_NEVER_NOMINATED: Final = frozenset(
    b"host content-length content-type content-encoding content-language content-location content-range authorization "
    b"proxy-authorization www-authenticate proxy-authenticate cookie set-cookie cache-control pragma vary etag age "
    b"date expires last-modified location if-match if-none-match if-modified-since if-unmodified-since if-range range "
    b"accept-ranges accept accept-encoding accept-language expect max-forwards origin referer user-agent via trailer "
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip x-request-id sec-websocket-key "
    b"sec-websocket-accept sec-websocket-version sec-websocket-protocol sec-websocket-extensions".split()
)


class RequestMeta:
    """What the forwarder needs to know of a checked request."""

    __slots__ = ("content_length", "host", "method", "target", "upgrade")

    def __init__(self, method: bytes, target: bytes) -> None:
        self.method: bytes = method
        self.target: bytes = target
        self.host: bytes = b""
        self.content_length: int | None = None
        self.upgrade: bytes | None = None


class ResponseMeta:
    """What the edge needs to know of a checked response. `has_body`: one may follow, maybe an empty one."""

    __slots__ = ("content_length", "has_body", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes, has_body: bool) -> None:
        self.status: int = status
        self.reason: bytes = reason
        self.has_body: bool = has_body
        self.content_length: int | None = None
        self.upgrade: bytes | None = None


def request_items(head: RequestHead, client_ip: bytes, proto: bytes, request_id: bytes) -> list[bytes]:
    """`[method, target, name, value, …]` for the link. A sane request id of the visitor's own stays where it is and is
    `head.section.request_id` from now on; else the one given here comes last."""
    section = head.section
    forwarded = section.forwarded
    if forwarded is None or section.forwarded_for != client_ip or section.forwarded_proto != proto:
        forwarded = _forwarded(section, client_ip, proto)
        section.forwarded = forwarded
        section.forwarded_for = client_ip
        section.forwarded_proto = proto
    items = [head.method, head.target]
    items += forwarded
    if not section.request_id:
        items.append(request_id)
    return items


def response_items(head: ResponseHead) -> list[bytes]:
    """`[code, reason, name, value, …]` for the link."""
    section = head.section
    forwarded = section.forwarded
    if forwarded is None:
        stripped = HOP_KINDS if head.upgrade is not None else HOP_KINDS | UPGRADE
        if head.status < 200 or head.status == 204:
            stripped |= CONTENT_LENGTH  # RFC 9110 §8.6: must not be sent with these
        forwarded = _end_to_end(section, stripped)
        section.forwarded = forwarded
    items = [head.code, head.reason]
    items += forwarded
    return items


def trailer_items(trailers: Trailers) -> list[bytes]:
    """`[name, value, …]` for the link."""
    return [item for pair in trailers.fields for item in pair]


def check_request_items(items: list[bytes]) -> RequestMeta:
    """Check what the server sent as strictly as a request from a socket. Raises BadMessage."""
    _check_shape(items, 2)
    method = items[0]
    check_method(method)
    meta = RequestMeta(method, items[1])
    for place in framing_places(items, 2):
        _note_request(meta, kind_of(items[place]), items[place + 1])
    if not meta.host:
        raise bad_request("The request has no Host field.")
    if meta.upgrade is not None and meta.content_length:
        raise bad_request("A request that asks for a switch of protocols has a body.")
    check_target(method, meta.target, meta.host)
    return meta


def check_response_items(items: list[bytes], request_method: bytes) -> ResponseMeta:
    """Check what the agent sent as strictly as a response from a socket. Raises BadMessage."""
    _check_shape(items, 2)
    code = items[0]
    if len(code) != 3 or not code.isdigit() or code < b"100":
        raise bad_request("The status code is not a number from 100 to 999.")
    status = int(code)
    bodiless = status < 200 or status == 204 or status == 304 or request_method == b"HEAD"
    meta = ResponseMeta(status, items[1], not bodiless)
    for place in framing_places(items, 2):
        _note_response(meta, kind_of(items[place]), items[place + 1])
    if status == 101 and meta.upgrade is None:
        raise bad_request("A 101 response does not name the protocol it switches to.")
    return meta


def check_trailer_items(items: list[bytes]) -> None:
    """Check trailers that came over the link. Raises BadMessage."""
    _check_shape(items, 0)
    if framing_places(items, 0):
        raise bad_request("A trailer field would change the framing or route of its message.")


def _forwarded(section: Section, client_ip: bytes, proto: bytes) -> list[bytes]:
    stripped = HOP_KINDS | _REPLACED
    if section.upgrade is None:
        stripped |= UPGRADE
    if section.seen & _REPLACED:
        return _forwarded_anew(section, stripped, client_ip, proto)
    items = _end_to_end(section, stripped)
    key = (section.host, client_ip, proto)
    added = _remembered.get(key)
    if added is None:
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        added = _added(section.host, client_ip, proto, b"", b"")
        _remembered[key] = added
    items += added
    return items


def _forwarded_anew(section: Section, stripped: int, client_ip: bytes, proto: bytes) -> list[bytes]:
    """The same for a visitor who sent some of these fields: his own words come first, his request id stays."""
    section.request_id = _own_request_id(section)
    items = _end_to_end(section, stripped & ~X_REQUEST_ID if section.request_id else stripped)
    theirs = b", ".join(section.values(X_FORWARDED_FOR))
    items += _added(section.host, client_ip, proto, theirs, b", ".join(section.values(FORWARDED)))
    if section.request_id:
        del items[-1]
    return items


def _end_to_end(section: Section, stripped: int) -> list[bytes]:
    block = section.block
    items = block.items[:]
    if section.seen & stripped:
        for n in range(len(block.special) - 1, -1, -1):
            if block.special[n].kind & stripped:
                start, end = block.places[n], block.places[n] + 2
                del items[start:end]
    if section.nominated:
        return _without_nominated(items, section.nominated)
    return items


def _without_nominated(items: list[bytes], nominated: tuple[bytes, ...]) -> list[bytes]:
    kept: list[bytes] = []
    for name, value in zip(items[::2], items[1::2], strict=True):
        lower = name.lower()
        if lower not in nominated or lower in _NEVER_NOMINATED:
            kept += (name, value)
    return kept


def _added(host: bytes, client_ip: bytes, proto: bytes, their_for: bytes, their_forwarded: bytes) -> list[bytes]:
    """Our own fields, after what the visitor's proxies said. X-Request-Id comes last and awaits its value."""
    addresses = their_for + b", " + client_ip if their_for else client_ip
    items = [b"X-Forwarded-For", addresses, b"X-Forwarded-Host", host, b"X-Forwarded-Proto", proto]
    items += (b"Forwarded", _forwarded_value(host, client_ip, proto, their_forwarded), b"X-Request-Id")
    return items


def _forwarded_value(host: bytes, client_ip: bytes, proto: bytes, theirs: bytes) -> bytes:
    """RFC 7239: the visitor's elements, then ours. One whose quotes do not close would swallow ours: it is dropped."""
    quoted = host if is_token(host) else b'"' + host + b'"'
    node = b'"[' + client_ip + b']"' if b":" in client_ip else client_ip
    ours = b"for=" + node + b";host=" + quoted + b";proto=" + proto
    if not theirs or theirs.count(b'"') % 2 or b"\\" in theirs:
        return ours
    return theirs + b", " + ours


def _own_request_id(section: Section) -> bytes:
    values = section.values(X_REQUEST_ID)
    if len(values) == 1 and len(values[0]) <= _MAX_REQUEST_ID and is_token(values[0]):
        return values[0]
    return b""


def _check_shape(items: list[bytes], at_least: int) -> None:
    if len(items) < at_least or len(items) % 2:
        raise bad_request("The head does not consist of pairs.")
    joined = b"".join(items)
    if len(joined.translate(None, CONTROLS)) != len(joined):
        raise bad_request("The head holds a control character.")


def _note_request(meta: RequestMeta, kind: int, value: bytes) -> None:
    if kind == HOST:
        if meta.host:
            raise bad_request("The request has several Host fields.")
        if not is_authority(value):
            raise bad_request("The Host field is not host[:port].")
        meta.host = value
    elif kind == CONTENT_LENGTH:
        meta.content_length = _length(value, meta.content_length)
    elif kind == UPGRADE:
        meta.upgrade = _only(value, meta.upgrade)
    else:
        raise bad_request("A field of one hop came over the link.")


def _note_response(meta: ResponseMeta, kind: int, value: bytes) -> None:
    if kind == CONTENT_LENGTH:
        if meta.status < 200 or meta.status == 204:
            raise bad_request("This status allows no Content-Length.")
        meta.content_length = _length(value, meta.content_length)
        meta.has_body = meta.has_body and meta.content_length != 0
    elif kind == UPGRADE:
        if meta.status != 101:
            raise bad_request("A field of one hop came over the link.")
        meta.upgrade = _only(value, meta.upgrade)
    elif kind != HOST:
        raise bad_request("A field of one hop came over the link.")


def _length(value: bytes, earlier: int | None) -> int:
    length = length_of(value)
    if earlier is not None or length < 0:
        raise bad_request("Content-Length is not a single plain number.")
    return length


def _only(value: bytes, earlier: bytes | None) -> bytes:
    if not value or earlier is not None:
        raise bad_request("Upgrade does not name one protocol.")
    return value
