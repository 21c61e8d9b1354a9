"""The one reading of HTTP/1.1: requests at the edge, responses of the local service. Used by both ends of a tunnel.
Rule: whatever could be read in two ways is refused (RFC 9112 §11); after an error nothing more comes out."""

from typing import Final

from terratunnel.errors import LocalProtocolError
from terratunnel.http1.bodies import Body, ChunkedBody, Trailers, UntilCloseBody
from terratunnel.http1.errors import BadMessage, bad_request
from terratunnel.http1.fields import CRLF, read_block
from terratunnel.http1.heads import (
    RequestHead,
    ResponseHead,
    StatusLine,
    check_method,
    check_target,
    minor_version_of,
    read_status_line,
)
from terratunnel.http1.messages import BODY, HEAD, HEAD_END, IDLE, OPAQUE, HeadLimits, MessageParser
from terratunnel.http1.sections import Section

__all__ = ["BadMessage", "HeadLimits", "RequestHead", "RequestParser", "ResponseHead", "ResponseParser", "Trailers"]

_MAX_REMEMBERED_HEAD: Final = 2048  # per connection: a browser's head with its cookies
_MAX_INTERIM: Final = 32  # 1xx heads before one final response; a service sends one or two


class RequestParser(MessageParser):
    """Requests of one visitor connection, one after the other."""

    __slots__ = ("_last", "_last_section")

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits, HEAD)
        self._last: bytes = b""
        self._last_section: Section | None = None

    def next_event(self) -> RequestHead | bytes | Trailers | None:
        """The next part of the message; None: more bytes are needed, or the message is complete."""
        try:
            if self._state == HEAD:
                return self._next_head()
            if self._state == BODY:
                return self._next_of_body()
        except BadMessage:
            self._fail()
            raise
        return None

    def start_next(self) -> None:
        """Go on to the next request of this connection."""
        if not self.complete:
            raise LocalProtocolError("the request is not complete")
        self.complete = False
        self._state = HEAD

    def _next_head(self) -> RequestHead | None:
        raw = self._buffer.take_until(HEAD_END, self._limits.max_head_bytes)
        if raw is None:
            self._check_half_head()
            return None
        head = self._read_head(raw)
        if head.chunked:
            self._body = ChunkedBody(self._limits.max_head_bytes, self._limits.max_fields)
            self._state = BODY
        elif head.has_body:
            self._body = Body(head.content_length or 0)
            self._state = BODY
        else:
            self._end_message()
        return head

    def _read_head(self, raw: bytes) -> RequestHead:
        # RFC 9112 §2.2: one empty line before a request line is passed over.
        parts = raw.split(b" ", 2) if not raw.startswith(CRLF) else raw[2:].split(b" ", 2)
        try:
            if len(parts) != 3:
                raise bad_request("The request line is not 'method target version'.")
            method, target, rest = parts
            section = self._last_section
            if section is None or rest != self._last:
                section = self._read_section(rest)
            check_method(method)
            check_target(method, target, section.host)
        except BadMessage:
            self._check_newlines(raw)
            raise
        return RequestHead(method, target, section)

    def _read_section(self, rest: bytes) -> Section:
        """Everything after the target. Clients repeat it, so the last one is remembered for its connection."""
        version, _, block = rest.partition(CRLF)
        minor_version = minor_version_of(version)
        section = Section(read_block(block, self._limits.max_fields), minor_version)
        if not section.host:
            section.require_host()
        if len(rest) <= _MAX_REMEMBERED_HEAD:
            self._last = rest
            self._last_section = section
        return section


class ResponseParser(MessageParser):
    """Responses on one upstream connection. Each is announced with expect(), because the method decides its framing."""

    __slots__ = ("_eof", "_interim", "_last", "_last_line", "_last_section", "_method", "upgraded")

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits, IDLE)
        self._method: bytes = b""
        self._interim: int = 0
        self._eof: bool = False
        self._last: bytes = b""
        self._last_line: StatusLine | None = None
        self._last_section: Section | None = None
        self.upgraded: bool = False

    @property
    def unexpected_data(self) -> bool:
        """Whether bytes came that answer no request: the connection must not be used again."""
        return self._state == IDLE and len(self._buffer) > 0

    def expect(self, method: bytes) -> None:
        """Get ready for the answer to a request with this method."""
        if self._state != IDLE or self.unexpected_data:
            raise LocalProtocolError("the connection is not ready for another response")
        self._method = method
        self._interim = 0
        self._state = HEAD
        self._starved = True
        self.complete = False

    def next_event(self) -> ResponseHead | bytes | Trailers | None:
        """The next part of the response; None: more bytes are needed, or the response is complete.
        Raises BadMessage also when more would be needed and the connection has ended."""
        event: ResponseHead | bytes | Trailers | None = None
        try:
            if self._state == BODY:
                event = self._next_of_body()
            elif self._state == HEAD:
                event = self._next_head()
            elif self._state == OPAQUE:
                event = self._buffer.take_all() or None
        except BadMessage:
            self._fail()
            raise
        if event is None:
            self._starved = True
            if self._eof:
                self._check_end()
        return event

    def receive_eof(self) -> None:
        """The upstream closed: ends a body that only this can end. Raises BadMessage for half a response; when
        events are still to be fetched, next_event does so after the last one."""
        self._eof = True
        if self._body is not None:
            self._body.receive_eof()
        if self._starved:
            self._check_end()

    def _check_end(self) -> None:
        if self._state == HEAD or (self._body is not None and not self._body.is_whole()):
            self._fail()
            raise BadMessage(502, "The response was cut short.")

    def _next_head(self) -> ResponseHead | None:
        head = self._read_repeated() if self._last else None
        if head is None:
            raw = self._buffer.take_until(HEAD_END, self._limits.max_head_bytes)
            if raw is None:
                self._check_half_head()
                return None
            head = self._read_head(raw)
        if head.status < 200:
            self._note_interim(head)
        elif head.has_body:
            self._begin_body(self._body_of(head))
        else:
            self._end_message()
        return head

    def _read_repeated(self) -> ResponseHead | None:
        """Services repeat themselves: a head that is the last one again need not be read again."""
        line = self._last_line
        section = self._last_section
        if line is None or section is None or not self._buffer.skip(self._last):
            return None
        return ResponseHead(line, section, self._method)

    def _read_head(self, raw: bytes) -> ResponseHead:
        try:
            first, _, block = raw.partition(CRLF)
            line = self._last_line
            if line is None or line.raw != first:
                line = read_status_line(first)
            section = Section(read_block(block, self._limits.max_fields), line.minor_version)
        except BadMessage:
            self._check_newlines(raw)
            raise
        if len(raw) <= _MAX_REMEMBERED_HEAD:
            self._last = raw + HEAD_END
            self._last_line = line
            self._last_section = section
        return ResponseHead(line, section, self._method)

    def _note_interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._switch(head)
            return
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise bad_request(f"More than {_MAX_INTERIM} interim responses came.")

    def _switch(self, head: ResponseHead) -> None:
        if head.upgrade is None:
            raise bad_request("A 101 response does not name the protocol it switches to.")
        self._state = OPAQUE
        self.upgraded = True
        self.complete = True

    def _begin_body(self, body: Body) -> None:
        self._body = body
        self._state = BODY
        if self._eof:
            body.receive_eof()

    def _body_of(self, head: ResponseHead) -> Body:
        if head.chunked:
            return ChunkedBody(self._limits.max_head_bytes, self._limits.max_fields)
        return UntilCloseBody() if head.content_length is None else Body(head.content_length)
