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
    FieldBlock,
    FieldLine,
    Fields,
)

_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


class Section:
    """Never changed once made, so that equal heads on one connection share it. `forwarded…` is forwarding's memo."""

    __slots__ = (
        "block",
        "chunked",
        "content_length",
        "expect_continue",
        "forwarded",
        "forwarded_for",
        "forwarded_proto",
        "host",
        "keep_alive",
        "keep_alive_timeout_s",
        "minor_version",
        "nominated",
        "options",
        "request_id",
        "seen",
        "upgrade",
    )

    def __init__(self, block: FieldBlock, minor_version: int) -> None:
        self.block: FieldBlock = block
        self.minor_version: int = minor_version
        self.seen: int = 0  # the kinds that are there
        self.host: bytes = b""
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
        for line in block.special:
            self._note(line, line.kind)
        if self.chunked:
            self._check_chunked()
        if self.seen & CONNECTION:
            self._read_options()

    @property
    def fields(self) -> Fields:
        items = self.block.items
        return list(zip(items[::2], items[1::2], strict=True))

    def values(self, kind: int) -> list[bytes]:
        """The values of every field of a kind, in order, empty ones left out."""
        return [line.value for line in self.block.special if line.kind == kind and line.value]

    def require_host(self) -> None:
        """RFC 9112 §3.2: exactly one Host; we route on it, so HTTP/1.0 needs one as well."""
        if not self.seen & HOST:
            raise bad_request("The request has no Host field.")
        if len(self.values(HOST)) > 1:
            raise bad_request("The request has several Host fields.")
        if not self.host:
            raise bad_request("The Host field is not host[:port].")

    def _note(self, line: FieldLine, kind: int) -> None:
        if kind == HOST:
            # A second one, even an equal one, leaves no host; require_host says why.
            self.host = line.value if line.number == 0 and not self.seen & HOST else b""
        elif kind == CONTENT_LENGTH:
            if line.number < 0 or self.seen & CONTENT_LENGTH:
                raise bad_request("Content-Length is not a single plain number.")
            self.content_length = line.number
        elif kind == TRANSFER_ENCODING:
            if line.number < 0 or self.seen & TRANSFER_ENCODING:
                raise bad_request("Transfer-Encoding is not a single 'chunked'.")
            self.chunked = True
        elif kind == CONNECTION:
            self.options += line.tokens
        elif kind == EXPECT:
            self.expect_continue = self.minor_version == 1 and b"100-continue" in line.tokens
        elif kind == KEEP_ALIVE and line.number >= 0:
            self.keep_alive_timeout_s = line.number
        self.seen |= kind

    def _check_chunked(self) -> None:
        if self.content_length is not None:
            raise bad_request("Content-Length and Transfer-Encoding appear together.")
        if self.minor_version == 0:
            raise bad_request("Transfer-Encoding appears in an HTTP/1.0 message.")

    def _read_options(self) -> None:
        options = self.options
        if self.minor_version == 0:
            self.keep_alive = b"keep-alive" in options
        if b"close" in options:
            self.keep_alive = False
        if len(options) != 1 or options[0] not in _OPTIONS:
            self.nominated = tuple([option for option in options if option not in _OPTIONS])
        if b"upgrade" in options and self.seen & UPGRADE:
            self._read_upgrade()

    def _read_upgrade(self) -> None:
        """A switch needs one offer, HTTP/1.1 and no body. One to HTTP/2 would carry requests past this reading of HTTP,
        so it is passed over, as RFC 9110 §7.8 allows."""
        offers = [line for line in self.block.special if line.kind == UPGRADE]
        if len(offers) > 1 or self.minor_version == 0 or self.chunked or self.content_length:
            return
        to_http = [protocol for protocol in offers[0].tokens if protocol == b"h2c" or protocol.startswith(b"http/")]
        if not to_http:
            self.upgrade = offers[0].value or None
