"""What crosses the link: heads as flat lists of bytes. Used by the edge and the forwarder, each checking the other.
Rule: end-to-end fields pass in order, case and number; hop-by-hop ones stop here; nothing from the link is trusted."""

from typing import Final

from terratunnel.http1.bodies import Trailers
from terratunnel.http1.errors import bad_request
from terratunnel.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    CONTROLS,
    FORWARDED,
    HOP_BY_HOP,
    HOST,
    KEEP_ALIVE,
    ORDINARY,
    TRANSFER_ENCODING,
    UPGRADE,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_REQUEST_ID,
    is_token,
    kind_of,
    length_of,
)
from terratunnel.http1.heads import RequestHead, ResponseHead, check_method, check_target
from terratunnel.http1.sections import Section

_HOP_FIELDS: Final = 1 << CONNECTION | 1 << KEEP_ALIVE | 1 << HOP_BY_HOP | 1 << TRANSFER_ENCODING
_REPLACED: Final = (
    1 << X_FORWARDED_FOR | 1 << X_FORWARDED_HOST | 1 << X_FORWARDED_PROTO | 1 << FORWARDED | 1 << X_REQUEST_ID
)
_MAX_REQUEST_ID: Final = 128

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
    """What the edge needs to know of a checked response. `has_body`: a body may follow (it may be empty)."""

    __slots__ = ("content_length", "has_body", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes, has_body: bool) -> None:
        self.status: int = status
        self.reason: bytes = reason
        self.has_body: bool = has_body
        self.content_length: int | None = None
        self.upgrade: bytes | None = None


def request_items(head: RequestHead, client_ip: bytes, proto: bytes, request_id: bytes) -> list[bytes]:
    """`[method, target, name, value, …]` for the link. The last item is the request id in use: the visitor's own when
    it is sane, else the one given here."""
    section = head.section
    forwarded = section.forwarded
    if forwarded is None or section.forwarded_for != client_ip or section.forwarded_proto != proto:
        forwarded = _forwarded(section, client_ip, proto)
        section.forwarded = forwarded
        section.forwarded_for = client_ip
        section.forwarded_proto = proto
    items = [head.method, head.target]
    items += forwarded
    items.append(section.request_id or request_id)
    return items


def response_items(head: ResponseHead) -> list[bytes]:
    """`[code, reason, name, value, …]` for the link."""
    section = head.section
    forwarded = section.forwarded
    if forwarded is None:
        stripped = _HOP_FIELDS if head.upgrade is not None else _HOP_FIELDS | 1 << UPGRADE
        if head.status < 200 or head.status == 204:
            stripped |= 1 << CONTENT_LENGTH  # RFC 9110 §8.6: must not be sent with these
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
    for index in range(2, len(items), 2):
        kind = kind_of(items[index])
        if kind:
            _note_request(meta, kind, items[index + 1])
    if not meta.host:
        raise bad_request("The request has no Host field.")
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
    for index in range(2, len(items), 2):
        kind = kind_of(items[index])
        if kind:
            _note_response(meta, kind, items[index + 1])
    if status == 101 and meta.upgrade is None:
        raise bad_request("A 101 response does not name the protocol it switches to.")
    return meta


def check_trailer_items(items: list[bytes]) -> None:
    """Check trailers that came over the link. Raises BadMessage."""
    _check_shape(items, 0)
    for index in range(0, len(items), 2):
        if kind_of(items[index]) != ORDINARY:
            raise bad_request("A trailer field would change the framing or route of its message.")


def _forwarded(section: Section, client_ip: bytes, proto: bytes) -> list[bytes]:
    stripped = _HOP_FIELDS | _REPLACED
    if section.upgrade is None:
        stripped |= 1 << UPGRADE
    items = _end_to_end(section, stripped)
    theirs = _values(section, X_FORWARDED_FOR)
    items += (b"X-Forwarded-For", b", ".join([*theirs, client_ip]))
    items += (b"X-Forwarded-Host", section.host, b"X-Forwarded-Proto", proto)
    items += (b"Forwarded", _forwarded_value(section, client_ip, proto), b"X-Request-Id")
    section.request_id = _own_request_id(section)
    return items


def _end_to_end(section: Section, stripped: int) -> list[bytes]:
    items: list[bytes] = []
    if not section.seen & stripped and not section.nominated:
        for line in section.lines:
            items += (line.name, line.value)
        return items
    nominated = [name for name in section.nominated if name not in _NEVER_NOMINATED]
    for line in section.lines:
        if stripped >> line.kind & 1 == 0 and not (nominated and line.name.lower() in nominated):
            items += (line.name, line.value)
    return items


def _values(section: Section, kind: int) -> list[bytes]:
    return [line.value for line in section.lines if line.kind == kind and line.value] if section.has(kind) else []


def _forwarded_value(section: Section, client_ip: bytes, proto: bytes) -> bytes:
    """RFC 7239: the visitor's elements, then ours. One whose quotes do not close would swallow ours: it is dropped."""
    theirs = b", ".join(_values(section, FORWARDED))
    host = section.host if is_token(section.host) else b'"' + section.host + b'"'
    node = b'"[' + client_ip + b']"' if b":" in client_ip else client_ip
    ours = b"for=" + node + b";host=" + host + b";proto=" + proto
    if not theirs or theirs.count(b'"') % 2 or b"\\" in theirs:
        return ours
    return theirs + b", " + ours


def _own_request_id(section: Section) -> bytes:
    values = _values(section, X_REQUEST_ID)
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
        meta.host = value
    elif kind == CONTENT_LENGTH:
        meta.content_length = _length(value, meta.content_length)
    elif kind == UPGRADE:
        meta.upgrade = value
    elif _HOP_FIELDS >> kind & 1:
        raise bad_request("A field of one hop came over the link.")


def _note_response(meta: ResponseMeta, kind: int, value: bytes) -> None:
    if kind == CONTENT_LENGTH:
        if meta.status < 200 or meta.status == 204:
            raise bad_request("This status allows no Content-Length.")
        meta.content_length = _length(value, meta.content_length)
    elif kind == UPGRADE:
        if meta.status != 101:
            raise bad_request("A field of one hop came over the link.")
        meta.upgrade = value
    elif _HOP_FIELDS >> kind & 1:
        raise bad_request("A field of one hop came over the link.")


def _length(value: bytes, earlier: int | None) -> int:
    length = length_of(value)
    if earlier is not None or length < 0:
        raise bad_request("Content-Length is not a single plain number.")
    return length
