"""Heads and chunks as bytes. Used by the edge towards visitors and by the forwarder towards the local service.
Rule: every item was checked before (by a parser or a check_*_items), so none holds CR or LF; one framing each."""

from typing import Final

NO_FRAMING: Final = b""
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
CLOSE: Final = b"Connection: close\r\n"
KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
UPGRADE: Final = b"Connection: Upgrade\r\n"
NO_BODY: Final = b"Content-Length: 0\r\n"

LAST_CHUNK: Final = b"0\r\n\r\n"
_CRLF: Final = b"\r\n"

_PAIRS: Final = 128  # more than the fields of any head within the default limits
_FIELD_GAPS: Final[list[bytes]] = [b"", b": ", b"", b"\r\n"] * _PAIRS
_REQUEST_GAPS: Final[list[bytes]] = [b"", b" ", b"", b" HTTP/1.1\r\n", *_FIELD_GAPS]
_RESPONSE_GAPS: Final[list[bytes]] = [b"", b" ", b"", b"\r\n", *_FIELD_GAPS]


def request_head(items: list[bytes], framing: bytes) -> bytes:
    """`[method, target, name, value, …]` and the one framing line as the head of a request."""
    return _join(_REQUEST_GAPS, items, framing)


def response_head(items: list[bytes], framing: bytes) -> bytes:
    """`[code, reason, name, value, …]` and the one framing line as the head of a response, always HTTP/1.1."""
    return b"HTTP/1.1 " + _join(_RESPONSE_GAPS, items, framing)


def chunk_parts(data: bytes) -> list[bytes]:
    """One chunk, for a gathered write. Nothing for no data: an empty chunk would end the body."""
    if not data:
        return []
    return [b"%x\r\n" % len(data), data, _CRLF]


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body with `[name, value, …]` after it."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + _join(_FIELD_GAPS, trailers, b"")


def _join(gaps: list[bytes], items: list[bytes], framing: bytes) -> bytes:
    """Each item, what stands after it, the framing and the empty line, in one join."""
    count = 2 * len(items)
    parts = gaps[:count]
    while len(parts) < count:
        parts += _FIELD_GAPS[:4]
    parts[::2] = items
    parts += (framing, _CRLF)
    return b"".join(parts)
