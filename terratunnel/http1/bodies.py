"""Bodies, one reader per framing. Used by the parsers, one reader per message.
Rule: data is handed on as it came, never gathered; only a whole, well-formed end yields Trailers."""

from typing import Final

from terratunnel.http1.buffer import Buffer
from terratunnel.http1.errors import BadMessage, bad_request
from terratunnel.http1.fields import CRLF, ORDINARY, Fields, split_line

_MAX_SIZE_DIGITS: Final = 15  # below 2**60
_HEX: Final = b"0123456789ABCDEFabcdef"
_EVERYTHING: Final = 1 << 62

# RFC 9110 §6.5.1: fields that frame, route, authenticate or steer a message mean nothing after it.
_NOT_IN_TRAILERS: Final = frozenset(
    b"authorization proxy-authorization www-authenticate proxy-authenticate cookie set-cookie trailer content-encoding "
    b"content-type content-range cache-control max-forwards range age date expires location retry-after vary".split()
)


class Trailers:
    """The end of a body, with the fields that came after it."""

    __slots__ = ("fields",)

    def __init__(self, fields: Fields) -> None:
        self.fields: Fields = fields

    def __repr__(self) -> str:
        return f"<Trailers {self.fields!r}>"


NO_TRAILERS: Final = Trailers([])  # the usual end of a body; shared, so never changed


class Body:
    """A body of known length; the base of the other two."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left: int = length

    def next_event(self, buffer: Buffer) -> "bytes | Trailers | None":
        """A slice of the body, its end, or None: more bytes are needed."""
        if self._left == 0:
            return NO_TRAILERS
        data = buffer.take(self._left)
        self._left -= len(data)
        return data or None

    def receive_eof(self) -> None:
        """The connection ended: no more bytes will come."""

    def is_whole(self) -> bool:
        """Whether all data has come, so that only the end is still to be told."""
        return self._left == 0


class UntilCloseBody(Body):
    """A response body that the end of the connection ends (RFC 9112 §6.3 rule 8)."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_EVERYTHING)

    def next_event(self, buffer: Buffer) -> "bytes | Trailers | None":
        return buffer.take(_EVERYTHING) or (NO_TRAILERS if self._left == 0 else None)

    def receive_eof(self) -> None:
        self._left = 0


class ChunkedBody(Body):
    """RFC 9112 §7.1 without chunk extensions, which nobody needs and smugglers use."""

    __slots__ = (
        "_after_data",
        "_in_trailers",
        "_max_bytes",
        "_max_fields",
        "_trailer_bytes",
        "_trailer_lines",
        "_trailers",
    )

    def __init__(self, max_bytes: int, max_fields: int) -> None:
        super().__init__(0)
        self._after_data: bool = False
        self._in_trailers: bool = False
        self._trailers: Fields = []
        self._trailer_lines: int = 0
        self._trailer_bytes: int = 0
        self._max_bytes: int = max_bytes
        self._max_fields: int = max_fields

    def next_event(self, buffer: Buffer) -> "bytes | Trailers | None":
        if self._left == 0 and not self._in_trailers and not self._read_size(buffer):
            return None
        if self._in_trailers:
            return self._read_trailers(buffer)
        data = buffer.take(self._left)
        self._left -= len(data)
        self._after_data = self._left == 0
        return data or None

    def is_whole(self) -> bool:
        return False

    def _read_size(self, buffer: Buffer) -> bool:
        if self._after_data:
            if not buffer.skip(CRLF) and _take_line(buffer, len(CRLF)) is None:
                return False
            self._after_data = False
        line = _take_line(buffer, _MAX_SIZE_DIGITS + len(CRLF))
        if line is None:
            return False
        if not line or line.translate(None, _HEX):
            raise bad_request("A chunk size is not a plain hexadecimal number.")
        self._left = int(line, 16)
        self._in_trailers = self._left == 0
        return True

    def _read_trailers(self, buffer: Buffer) -> Trailers | None:
        while True:
            line = buffer.take_until(CRLF, self._max_bytes - self._trailer_bytes)
            if line is None:
                if self._trailer_bytes + buffer.waiting() >= self._max_bytes:
                    raise BadMessage(431, f"The trailers are longer than {self._max_bytes} bytes.")
                return None
            if not line:
                return Trailers(self._trailers)
            self._keep_trailer(line)

    def _keep_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + len(CRLF)
        self._trailer_lines += 1
        if self._trailer_lines > self._max_fields:
            raise BadMessage(431, f"The trailers have more than {self._max_fields} fields.")
        name, value, kind = split_line(line)
        if kind == ORDINARY and name.lower() not in _NOT_IN_TRAILERS:
            self._trailers.append((name, value))


def _take_line(buffer: Buffer, limit: int) -> bytes | None:
    line = buffer.take_until(CRLF, limit)
    if line is None and buffer.waiting() >= limit:
        raise bad_request("A chunk does not end where it says, or has extensions.")
    return line
