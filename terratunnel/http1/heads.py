"""The two kinds of head and how their first lines are read. Used by the parsers, read by everyone behind them.
Rule: method, target and version are checked here, once; the target stays the bytes that came."""

from typing import Final

from terratunnel.http1.errors import BadMessage, bad_request
from terratunnel.http1.fields import CONTROLS, Fields, is_token
from terratunnel.http1.sections import Section

_METHODS: Final = frozenset((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"))
# RFC 9112 §3.2: no white space, no fragment. Bytes above 0x7F are obsolete, harmless and kept.
_NOT_IN_TARGET: Final = CONTROLS + b"\t #"


class RequestHead:
    """A checked request head. Its `section` is shared between equal heads: do not change it."""

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "has_body",
        "host",
        "keep_alive",
        "method",
        "minor_version",
        "section",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, section: Section) -> None:
        length = section.content_length
        self.method: bytes = method
        self.target: bytes = target
        self.section: Section = section
        self.minor_version: int = section.minor_version
        self.host: bytes = section.host
        self.content_length: int | None = length
        self.chunked: bool = section.chunked
        self.has_body: bool = section.chunked or (length is not None and length > 0)
        self.keep_alive: bool = section.keep_alive
        self.upgrade: bytes | None = section.upgrade
        self.expect_continue: bool = section.expect_continue

    @property
    def fields(self) -> Fields:
        """All fields as received, in order."""
        return self.section.fields

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} HTTP/1.{self.minor_version}>"


class StatusLine:
    """The first line of a response, checked."""

    __slots__ = ("code", "minor_version", "raw", "reason", "status")

    def __init__(self, raw: bytes, code: bytes, reason: bytes, minor_version: int) -> None:
        self.raw: bytes = raw
        self.code: bytes = code
        self.status: int = int(code)
        self.reason: bytes = reason
        self.minor_version: int = minor_version


class ResponseHead:
    """A checked response head: final, interim (1xx) or a switch of protocols (101)."""

    __slots__ = (
        "chunked",
        "code",
        "content_length",
        "has_body",
        "keep_alive",
        "minor_version",
        "reason",
        "section",
        "status",
        "until_close",
        "upgrade",
    )

    def __init__(self, line: StatusLine, section: Section, method: bytes) -> None:
        status = line.status
        length = section.content_length
        # RFC 9112 §6.3 rule 1: these end with the head, whatever their fields say.
        bodiless = status < 200 or status == 204 or status == 304 or method == b"HEAD"
        self.code: bytes = line.code
        self.status: int = status
        self.reason: bytes = line.reason
        self.section: Section = section
        self.minor_version: int = section.minor_version
        self.content_length: int | None = length
        self.chunked: bool = section.chunked
        self.until_close: bool = not bodiless and length is None and not section.chunked
        self.has_body: bool = not bodiless and length != 0
        self.keep_alive: bool = section.keep_alive and not self.until_close
        self.upgrade: bytes | None = section.upgrade if status == 101 else None

    @property
    def fields(self) -> Fields:
        """All fields as received, in order."""
        return self.section.fields

    @property
    def keep_alive_timeout_s(self) -> int | None:
        """What `Keep-Alive: timeout=5` says."""
        return self.section.keep_alive_timeout_s

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} HTTP/1.{self.minor_version}>"


def minor_version_of(version: bytes) -> int:
    if version == b"HTTP/1.1":
        return 1
    if version == b"HTTP/1.0":
        return 0
    name, _, number = version.partition(b"/")
    if name == b"HTTP" and len(number) == 3 and number[1:2] == b"." and (number[:1] + number[2:]).isdigit():
        raise BadMessage(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    raise bad_request("The first line is not that of an HTTP/1.1 message.")


def check_method(method: bytes) -> None:
    if method in _METHODS:
        return
    if not is_token(method):
        raise bad_request("The method is not a token.")
    if method == b"CONNECT":
        raise BadMessage(501, "CONNECT asks for a proxy; this is not one.")


def check_target(method: bytes, target: bytes, host: bytes) -> None:
    """RFC 9112 §3.2: origin form, `*` for OPTIONS, or an absolute form that names the same host as Host."""
    if len(target.translate(None, _NOT_IN_TARGET)) != len(target):
        raise bad_request("The request target holds a character that must be percent-encoded.")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise bad_request("The request target has no form that this method allows.")
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    if authority.lower() != host.lower():
        raise bad_request("The authority of the request target is not the one in Host.")


def read_status_line(line: bytes) -> StatusLine:
    version, _, rest = line.partition(b" ")
    code, _, reason = rest.partition(b" ")
    minor_version = minor_version_of(version)
    if len(code) != 3 or not code.isdigit() or code < b"100":
        raise bad_request("The status code is not a number from 100 to 999.")
    if len(reason.translate(None, CONTROLS)) != len(reason):
        raise bad_request("The reason phrase holds a control character.")
    return StatusLine(line, code, reason, minor_version)
