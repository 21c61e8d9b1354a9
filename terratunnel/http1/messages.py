"""What both directions of reading share: limits, state, the wait for a head, the body. Base of the two parsers.
Rule: half a message is watched as it grows; what can never become a good one is refused at once and holds no memory."""

from typing import Final

from terratunnel.http1.bodies import Body, Trailers
from terratunnel.http1.buffer import Buffer
from terratunnel.http1.errors import BadMessage, bad_request
from terratunnel.http1.fields import CRLF

HEAD_END: Final = b"\r\n\r\n"

# What the next byte belongs to.
IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
OPAQUE: Final = 3
FAILED: Final = 4


class HeadLimits:
    """16 KiB and 100 fields: where nginx (4 of 8 KiB), HAProxy (16 KiB, 101 fields) and Envoy (100 fields) stand."""

    __slots__ = ("max_fields", "max_head_bytes")

    def __init__(self, max_head_bytes: int = 16384, max_fields: int = 100) -> None:
        self.max_head_bytes: int = max_head_bytes
        self.max_fields: int = max_fields


class MessageParser:
    """What both directions share: the buffer, the body and the one failure."""

    __slots__ = ("_body", "_buffer", "_limits", "_starved", "_state", "complete")

    def __init__(self, limits: HeadLimits, state: int) -> None:
        self._limits: HeadLimits = limits
        self._buffer: Buffer = Buffer()
        self._state: int = state
        self._body: Body | None = None
        self._starved: bool = False  # everything received was looked at and more is needed
        self.complete: bool = False

    @property
    def buffered(self) -> int:
        """Bytes held that no event has given out."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes in; call next_event until it gives None."""
        if self._state != FAILED:
            self._buffer.feed(data)
            self._starved = False

    def take_buffered(self) -> bytes:
        """All bytes not given out: what follows a head that switched protocols."""
        return self._buffer.take_all()

    def _check_half_head(self) -> None:
        """What has come of a head so far must still be able to become one."""
        limit = self._limits.max_head_bytes
        if self._buffer.has_bare_newline(limit):
            raise _bare_newline()
        if self._buffer.waiting() < limit:
            return
        if CRLF in self._buffer.take_all()[2:limit]:
            raise BadMessage(431, f"The head is longer than {limit} bytes.")
        raise BadMessage(414, f"The first line is longer than {limit} bytes.")

    def _check_newlines(self, head: bytes) -> None:
        """Of a refused head a bare newline is told first, because in parts it would have been seen first."""
        if head.count(b"\n") != head.count(CRLF):
            raise _bare_newline()

    def _next_of_body(self) -> bytes | Trailers | None:
        assert self._body is not None
        event = self._body.next_event(self._buffer)
        if isinstance(event, Trailers):
            self._body = None
            self._end_message()
        return event

    def _end_message(self) -> None:
        self._state = IDLE
        self.complete = True

    def _fail(self) -> None:
        self._state = FAILED
        self._body = None
        self._buffer.take_all()


def _bare_newline() -> BadMessage:
    return bad_request("A line of the head does not end in CR LF.")
