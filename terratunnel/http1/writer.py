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
_REQUEST_LINE: Final = b"%b %b HTTP/1.1\r\n"
_STATUS_LINE: Final = b"HTTP/1.1 %b %b\r\n"
_FIELD: Final = b"%b: %b\r\n"

# One format for each number of fields that heads usually have: one call in C writes the whole head.
_READY: Final = 64
_REQUESTS: Final[list[bytes]] = [_REQUEST_LINE + _FIELD * count for count in range(_READY)]
_RESPONSES: Final[list[bytes]] = [_STATUS_LINE + _FIELD * count for count in range(_READY)]


def request_head(items: list[bytes], framing: bytes) -> bytes:
    """`[method, target, name, value, …]` and the one framing line as the head of a request."""
    count = len(items) // 2 - 1
    template = _REQUESTS[count] if count < _READY else _REQUEST_LINE + _FIELD * count
    return template % tuple(items) + framing + _CRLF


def response_head(items: list[bytes], framing: bytes) -> bytes:
    """`[code, reason, name, value, …]` and the one framing line as the head of a response, always HTTP/1.1."""
    count = len(items) // 2 - 1
    template = _RESPONSES[count] if count < _READY else _STATUS_LINE + _FIELD * count
    return template % tuple(items) + framing + _CRLF


def chunk_parts(data: bytes | memoryview) -> list[bytes | memoryview]:
    """One chunk, for a gathered write. Nothing for no data: an empty chunk would end the body."""
    if not data:
        return []
    return [b"%x\r\n" % len(data), data, _CRLF]


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body with `[name, value, …]` after it."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + _FIELD * (len(trailers) // 2) % tuple(trailers) + _CRLF
