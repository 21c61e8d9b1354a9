"""What all fields of one head say together: framing, connection, host. Used by the parsers and by forwarding.
Rule: a section that could be read in two ways is refused here, before anyone acts on it."""

from typing import Final

from terratunnel.http1.errors import bad_request
from terratunnel.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    KEEP_ALIVE,
    TRANSFER_ENCODING,
    UPGRADE,
    FieldLine,
    Fields,
)

_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


class Section:
    """Immutable once made, so that equal heads on one connection share it. `forwarded` is forwarding's own memo."""

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "forwarded",
        "forwarded_for",
        "forwarded_proto",
        "host",
        "hosts",
        "keep_alive",
        "keep_alive_timeout_s",
        "lines",
        "minor_version",
        "nominated",
        "options",
        "request_id",
        "seen",
        "upgrade",
    )

    def __init__(self, lines: list[FieldLine], minor_version: int) -> None:
        self.lines: list[FieldLine] = lines
        self.minor_version: int = minor_version
        self.seen: int = 0  # bit n: a field of kind n is there
        self.host: bytes = b""
        self.hosts: int = 0
        self.content_length: int | None = None
        self.chunked: bool = False
        self.options: tuple[bytes, ...] = ()
        self.nominated: tuple[bytes, ...] = ()
        self.upgrade: bytes | None = None
        self.expect_continue: bool = False
        self.keep_alive: bool = minor_version == 1
        self.keep_alive_timeout_s: int | None = None
        self.request_id: bytes = b""
        self.forwarded: list[bytes] | None = None
        self.forwarded_for: bytes = b""
        self.forwarded_proto: bytes = b""
        for line in lines:
            if line.kind:
                self._note(line)
        self._conclude()

    @property
    def fields(self) -> Fields:
        return [(line.name, line.value) for line in self.lines]

    def has(self, kind: int) -> bool:
        return self.seen & (1 << kind) != 0

    def require_host(self) -> None:
        """RFC 9112 §3.2: exactly one Host; we route on it, so HTTP/1.0 needs one as well."""
        if self.hosts == 0:
            raise bad_request("The request has no Host field.")
        if self.hosts > 1:
            raise bad_request("The request has several Host fields.")
        if not self.host:
            raise bad_request("The Host field is not host[:port].")

    def _note(self, line: FieldLine) -> None:
        kind = line.kind
        repeated = self.has(kind)
        self.seen |= 1 << kind
        if kind == HOST:
            self.hosts += 1
            self.host = line.value if line.number == 0 else b""
        elif kind == CONNECTION:
            self.options += line.tokens
        elif kind in (CONTENT_LENGTH, TRANSFER_ENCODING):
            self._note_framing(line, repeated)
        elif kind == UPGRADE:
            self.upgrade = line.value if self.upgrade is None else self.upgrade + b", " + line.value
        elif kind == EXPECT:
            self.expect_continue = b"100-continue" in line.tokens
        elif kind == KEEP_ALIVE and line.number >= 0:
            self.keep_alive_timeout_s = line.number

    def _note_framing(self, line: FieldLine, repeated: bool) -> None:
        if line.kind == CONTENT_LENGTH:
            if repeated:
                raise bad_request("Content-Length appears twice.")
            if line.number < 0:
                raise bad_request("Content-Length is not a plain number.")
            self.content_length = line.number
        else:
            if repeated or line.number < 0:
                raise bad_request("Transfer-Encoding is not a single 'chunked'.")
            self.chunked = True

    def _conclude(self) -> None:
        if self.chunked:
            if self.content_length is not None:
                raise bad_request("Content-Length and Transfer-Encoding appear together.")
            if self.minor_version == 0:
                raise bad_request("Transfer-Encoding appears in an HTTP/1.0 message.")
        options = self.options
        if options:
            if self.minor_version == 0:
                self.keep_alive = b"keep-alive" in options
            if b"close" in options:
                self.keep_alive = False
            self.nominated = tuple([option for option in options if option not in _OPTIONS])
        if self.upgrade is not None and (self.minor_version == 0 or b"upgrade" not in options):
            self.upgrade = None
